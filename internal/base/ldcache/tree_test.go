package ldcache

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// library makes a small ELF library: headers, one loaded segment, a dynamic section, and
// for isa > 0 the property that asks for the instruction sets up to that bit.
func library(machine elf.Machine, soname string, isa uint32) []byte {
	const headers, dynamicAt, notesAt, stringsAt = 64 + 3*56, 256, 320, 368
	size := stringsAt + 1 + len(soname) + 1
	var b bytes.Buffer
	put := func(v any) {
		if err := binary.Write(&b, binary.LittleEndian, v); err != nil {
			panic(err)
		}
	}
	h := elf.Header64{Type: uint16(elf.ET_DYN), Machine: uint16(machine), Version: 1,
		Phoff: 64, Ehsize: 64, Phentsize: 56, Phnum: 3}
	copy(h.Ident[:], elf.ELFMAG+"\x02\x01\x01")
	put(h)
	put(elf.Prog64{Type: uint32(elf.PT_LOAD), Flags: 4, Filesz: uint64(size), Memsz: uint64(size), Align: 4096})
	put(elf.Prog64{Type: uint32(elf.PT_DYNAMIC), Flags: 4, Off: dynamicAt, Vaddr: dynamicAt, Filesz: 64, Memsz: 64, Align: 8})
	if isa > 0 {
		put(elf.Prog64{Type: uint32(elf.PT_GNU_PROPERTY), Flags: 4, Off: notesAt, Vaddr: notesAt, Filesz: 32, Memsz: 32, Align: 8})
	} else {
		put(elf.Prog64{})
	}
	b.Write(make([]byte, dynamicAt-headers))
	put([]elf.Dyn64{{Tag: int64(elf.DT_STRTAB), Val: stringsAt}, {Tag: int64(elf.DT_STRSZ), Val: uint64(len(soname) + 2)}})
	if soname != "" {
		put(elf.Dyn64{Tag: int64(elf.DT_SONAME), Val: 1})
	} else {
		put(elf.Dyn64{})
	}
	put(elf.Dyn64{})
	put([]uint32{4, 16, noteGNUProperty, 0x00554e47, propertyISANeeded, 4, 1<<(isa+1) - 1, 0})
	b.Write(make([]byte, stringsAt-b.Len()))
	b.WriteString("\x00" + soname + "\x00")
	return b.Bytes()
}

// write puts a file into the tree below root.
func write(t *testing.T, root, name string, data []byte) {
	t.Helper()
	full := filepath.Join(root, name)
	if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(full, data, 0o755); err != nil {
		t.Fatal(err)
	}
}

func link(t *testing.T, root, target, name string) {
	t.Helper()
	full := filepath.Join(root, name)
	if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(target, full); err != nil {
		t.Fatal(err)
	}
}

// read gives the files and the configuration of the tree below root, as a caller would.
func read(t *testing.T, root string) ([]File, map[string][]byte) {
	t.Helper()
	var files []File
	conf := map[string][]byte{}
	err := filepath.WalkDir(root, func(full string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name := strings.TrimPrefix(full, root)
		switch {
		case d.Type()&fs.ModeSymlink != 0:
			target, err := os.Readlink(full)
			files = append(files, File{Path: name, Target: target})
			return err
		case strings.HasPrefix(name, ConfPath):
			conf[name], err = os.ReadFile(full)
			return err
		case Candidate(name):
			f, err := os.Open(full)
			if err != nil {
				return err
			}
			defer f.Close()
			info, err := Scan(f, "amd64")
			files = append(files, File{Path: name, Info: info})
			return err
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files, conf
}

func build(t *testing.T, root string) (Result, []byte) {
	t.Helper()
	files, conf := read(t, root)
	dirs, err := Directories(conf, "amd64")
	if err != nil {
		t.Fatal(err)
	}
	result := Collect(files, dirs)
	slices.Reverse(files)
	if diff := cmp.Diff(result, Collect(files, dirs)); diff != "" {
		t.Errorf("the order of the files matters:\n%s", diff)
	}
	return result, Build(result.Libraries)
}

// hostTree copies the machine's libraries, links and configuration into a tree with a
// merged /usr.
func hostTree(t *testing.T, root string) {
	t.Helper()
	link(t, root, "usr/lib", "lib")
	const libs = "/usr/lib/x86_64-linux-gnu"
	entries, err := os.ReadDir(libs)
	if err != nil {
		t.Fatal(err)
	}
	copied := 0
	for _, e := range entries {
		full := filepath.Join(libs, e.Name())
		info, err := e.Info()
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case !Candidate(e.Name()) && !strings.HasSuffix(e.Name(), ".so"):
		case info.Mode()&fs.ModeSymlink != 0:
			target, err := os.Readlink(full)
			if err != nil {
				t.Fatal(err)
			}
			link(t, root, target, full)
		case info.Mode().IsRegular() && info.Size() < 4<<20:
			data, err := os.ReadFile(full)
			if err != nil {
				t.Fatal(err)
			}
			write(t, root, full, data)
			copied++
		}
	}
	if copied < 50 {
		t.Fatalf("only %d libraries in %s", copied, libs)
	}
	write(t, root, ConfPath, []byte("include /etc/ld.so.conf.d/*.conf\n"))
	write(t, root, ConfPath+".d/b.conf", []byte("# multiarch\n/usr/local/lib/x86_64-linux-gnu\n/lib/x86_64-linux-gnu # same\n/usr/lib/x86_64-linux-gnu\n"))
	write(t, root, ConfPath+".d/a.conf", []byte("/opt/vendor/lib/\n/opt/none\n"))
	write(t, root, ConfPath+".d/.hidden.conf", []byte("/opt/hidden\n"))
}

// oddTree adds what Debian's packages seldom or never do.
func oddTree(t *testing.T, root string) {
	t.Helper()
	elf64 := func(soname string, isa uint32) []byte { return library(elf.EM_X86_64, soname, isa) }
	const vendor = "/opt/vendor/lib/"
	write(t, root, vendor+"libdup.so.1.9", elf64("libdup.so.1", 0))
	write(t, root, vendor+"libdup.so.1.10", elf64("libdup.so.1", 0))
	write(t, root, vendor+"libdup.so.1.x", elf64("libdup.so.1", 0))
	write(t, root, vendor+"libnoname.so", elf64("", 0))
	write(t, root, vendor+"libself.so.1", elf64("libself.so.1", 0))
	link(t, root, "libself.so.1", vendor+"libself.so")
	write(t, root, vendor+"libimp.so.9.99", elf64("libimp.so.9", 0))
	link(t, root, "libimp.so.9.99", vendor+"libother.so")
	link(t, root, "/opt/far/libfar-real.so.2.5", vendor+"libfar.so.2")
	write(t, root, "/opt/far/libfar-real.so.2.5", elf64("libfar.so.2", 0))
	link(t, root, "nowhere", vendor+"libgone.so")
	link(t, root, "libloop.so", vendor+"libloop.so")
	write(t, root, vendor+"libtext.so", []byte("/* GNU ld script */\n"))
	write(t, root, vendor+"libempty.so", nil)
	write(t, root, vendor+"libarm.so.1", library(elf.EM_AARCH64, "libarm.so.1", 0))
	write(t, root, vendor+"plugin.so", elf64("plugin.so", 0))
	write(t, root, vendor+"libz.so.1", elf64("libz.so.1", 0)) // wins over the distribution's
	write(t, root, "/opt/hidden/libhidden.so.1", elf64("libhidden.so.1", 0))
	const multiarch = "/usr/lib/x86_64-linux-gnu/glibc-hwcaps/"
	write(t, root, multiarch+"x86-64-v2/libz.so.1.9", elf64("libz.so.1", 1))
	write(t, root, multiarch+"x86-64-v3/libz.so.1.9", elf64("libz.so.1", 2))
	write(t, root, multiarch+"x86-64-v3/libz.so.1.10", elf64("libz.so.1", 3))
	write(t, root, multiarch+"x86-64-v3/libonly.so.1", elf64("libonly.so.1", 0))
	write(t, root, vendor+"libv3.so.1", elf64("libv3.so.1", 2))
}
