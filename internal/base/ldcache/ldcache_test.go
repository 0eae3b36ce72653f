package ldcache

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/testbed"
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

// listing gives what ldconfig prints of a cache, without the line about its writer.
func listing(t *testing.T, cache string) string {
	t.Helper()
	out, err := exec.Command(testbed.Tool(t, "ldconfig"), "-p", "-C", cache).CombinedOutput()
	if err != nil {
		t.Fatalf("ldconfig -p: %v\n%s", err, out)
	}
	var lines []string
	for line := range strings.Lines(string(out)) {
		if strings.HasPrefix(line, "\t") {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "")
}

func TestAgreesWithLdconfig(t *testing.T) {
	root := t.TempDir()
	hostTree(t, root)
	oddTree(t, root)
	result, ours := build(t, root)

	if out, err := exec.Command(testbed.Tool(t, "ldconfig"), "-r", root).CombinedOutput(); err != nil {
		t.Fatalf("ldconfig: %v\n%s", err, out)
	}
	theirFile := filepath.Join(root, CachePath)
	theirs, err := os.ReadFile(theirFile)
	if err != nil {
		t.Fatal(err)
	}
	ourFile := filepath.Join(t.TempDir(), "ld.so.cache")
	if err := os.WriteFile(ourFile, ours, 0o644); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.SplitAfter(listing(t, theirFile), "\n"), strings.SplitAfter(listing(t, ourFile), "\n")); diff != "" {
		t.Errorf("listing (-ldconfig +ours):\n%s", diff)
	}
	const extensionField = 32
	end := binary.LittleEndian.Uint32(theirs[extensionField:])
	if int(end) > len(ours) || !bytes.Equal(theirs[:end], ours[:end]) {
		t.Errorf("the %d bytes before the extension are not ldconfig's", end)
	}
	for _, l := range result.Links {
		target, err := os.Readlink(filepath.Join(root, l.Path))
		if err != nil || target != l.Target {
			t.Errorf("link %s -> %s: ldconfig made %q, %v", l.Path, l.Target, target, err)
		}
	}
	if len(result.Libraries) < 100 {
		t.Errorf("only %d libraries", len(result.Libraries))
	}
}

func TestLinksAreLdconfigs(t *testing.T) {
	root := t.TempDir()
	write(t, root, ConfPath, []byte("/opt/vendor/lib\n"))
	oddTree(t, root)
	result, _ := build(t, root)
	before := linksBelow(t, root)
	if out, err := exec.Command(testbed.Tool(t, "ldconfig"), "-r", root).CombinedOutput(); err != nil {
		t.Fatalf("ldconfig: %v\n%s", err, out)
	}
	var want []Link
	for _, l := range linksBelow(t, root) {
		if !slices.Contains(before, l) {
			want = append(want, l)
		}
	}
	if diff := cmp.Diff(want, result.Links); diff != "" || len(want) == 0 {
		t.Errorf("links (-ldconfig +ours):\n%s", diff)
	}
}

func linksBelow(t *testing.T, root string) []Link {
	t.Helper()
	files, _ := read(t, root)
	var links []Link
	for _, f := range files {
		if f.Target != "" {
			links = append(links, Link{Path: f.Path, Target: f.Target})
		}
	}
	return links
}

// TestLinkerUsesTheCache moves every library of a real program into a folder that the
// dynamic linker finds through the cache alone.
func TestLinkerUsesTheCache(t *testing.T) {
	bwrap, program := testbed.Tool(t, "bwrap"), testbed.Tool(t, "openssl")
	root := t.TempDir()
	out, err := exec.Command(testbed.Tool(t, "ldd"), program).Output()
	if err != nil {
		t.Fatal(err)
	}
	copyTo := func(from, to string) {
		data, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		write(t, root, to, data)
	}
	copyTo(program, "/usr/bin/openssl")
	for line := range strings.Lines(string(out)) {
		fields := strings.Fields(line)
		switch {
		case len(fields) > 2 && fields[1] == "=>":
			copyTo(fields[2], "/opt/odd/"+fields[0])
		case strings.HasPrefix(fields[0], "/"):
			copyTo(fields[0], fields[0])
		}
	}
	write(t, root, ConfPath, []byte("/opt/odd\n"))
	run := func() (string, error) {
		out, err := exec.Command(bwrap, "--bind", root, "/", "/usr/bin/openssl", "version").CombinedOutput()
		return string(out), err
	}
	if out, err := run(); err == nil || !strings.Contains(out, "error while loading shared libraries") {
		t.Fatalf("without a cache: %v %s", err, out)
	}
	_, cache := build(t, root)
	write(t, root, "/"+CachePath, cache)
	if out, err := run(); err != nil || !strings.HasPrefix(out, "OpenSSL ") {
		t.Errorf("with the cache: %v %s", err, out)
	}
}

func TestArm64(t *testing.T) {
	data := library(elf.EM_AARCH64, "libx.so.1", 0)
	info, err := Scan(bytes.NewReader(data), "arm64")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(Info{Soname: "libx.so.1", Flags: 0x0a03}, info); diff != "" {
		t.Error(diff)
	}
	file := filepath.Join(t.TempDir(), "ld.so.cache")
	if err := os.WriteFile(file, Build([]Library{{Soname: "libx.so.1", Path: "/usr/lib/aarch64-linux-gnu/libx.so.1", Flags: info.Flags}}), 0o644); err != nil {
		t.Fatal(err)
	}
	want := "\tlibx.so.1 (libc6,AArch64) => /usr/lib/aarch64-linux-gnu/libx.so.1\n"
	if diff := cmp.Diff(want, listing(t, file)); diff != "" {
		t.Error(diff)
	}
	if other, err := Scan(bytes.NewReader(data), "amd64"); err != nil || other.IsLibrary() {
		t.Errorf("on amd64: %+v, %v", other, err)
	}
	_, err = Scan(bytes.NewReader(data), "sparc")
	if fault.KindOf(err) != fault.Usage {
		t.Errorf("unknown architecture: %v", err)
	}
}

func TestScanPassesReadErrorsOn(t *testing.T) {
	_, err := Scan(brokenDisk{}, "amd64")
	if !errors.Is(err, errBroken) {
		t.Errorf("error = %v", err)
	}
}

var errBroken = errors.New("broken disk")

type brokenDisk struct{}

func (brokenDisk) ReadAt([]byte, int64) (int, error) { return 0, errBroken }

func TestInfoIsPlainData(t *testing.T) {
	want := Info{Soname: "libx.so.1", Flags: 0x0303, ISALevel: 2}
	b, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	var got Info
	if err := json.Unmarshal(b, &got); err != nil || got != want {
		t.Errorf("%s gives %+v, %v", b, got, err)
	}
}

func TestDirectories(t *testing.T) {
	builtin := []string{"/lib/aarch64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/lib", "/usr/lib"}
	for _, tt := range []struct {
		name string
		conf map[string][]byte
		want []string
	}{
		{"none", nil, nil},
		{"plain", map[string][]byte{ConfPath: []byte("  /a/ # x\n\n#/b\n/c=libc6\nrelative\nhwcap 0 nosegneg\n")}, []string{"/a", "/c"}},
		{"sorted includes", map[string][]byte{ConfPath: []byte("include ld.so.conf.d/*.conf /etc/extra\n/z"),
			"/etc/ld.so.conf.d/2.conf": []byte("/two"), "/etc/ld.so.conf.d/1.conf": []byte("/one"), "/etc/extra": []byte("/extra")},
			[]string{"/one", "/two", "/extra", "/z"}},
		{"circle", map[string][]byte{ConfPath: []byte("include /etc/*\n/a\n/a\n")}, []string{"/a"}},
		{"bad pattern", map[string][]byte{ConfPath: []byte("include [\n/a\n")}, []string{"/a"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := Directories(tt.conf, "arm64")
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(append(tt.want, builtin...), got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestLibcmp(t *testing.T) {
	for _, tt := range []struct {
		a, b string
		want int
	}{
		{"libz.so.1", "libz.so.1", 0}, {"libz.so.9", "libz.so.10", -1}, {"libz.so.010", "libz.so.10", 0},
		{"lib1", "liba", 1}, {"liba", "lib1", -1}, {"liba", "libb", -1}, {"lib", "liba", -1}, {"liba", "lib", 1},
		{"lib", "lib1", -1}, {"", "", 0},
	} {
		if got := libcmp(tt.a, tt.b); got != tt.want {
			t.Errorf("libcmp(%q, %q) = %d, want %d", tt.a, tt.b, got, tt.want)
		}
	}
}

// FuzzScan holds that any file is read or passed over, and fits a cache if it is read.
func FuzzScan(f *testing.F) {
	f.Add(library(elf.EM_X86_64, "libx.so.1", 2))
	f.Add(library(elf.EM_X86_64, "", 0))
	f.Add(library(elf.EM_AARCH64, "libx.so.1", 0))
	f.Add([]byte("\x7fELF"))
	f.Fuzz(func(t *testing.T, data []byte) {
		info, err := Scan(bytes.NewReader(data), "amd64")
		if err != nil {
			t.Fatal(err)
		}
		if !info.IsLibrary() {
			return
		}
		result := Collect([]File{{Path: "/lib/libx.so", Info: info}}, []string{"/lib"})
		if cache := Build(result.Libraries); !bytes.HasPrefix(cache, []byte(magic)) {
			t.Fatal("no cache")
		}
	})
}

// FuzzDirectories holds that any configuration gives absolute directories.
func FuzzDirectories(f *testing.F) {
	f.Add("/a\ninclude /etc/*.conf\n", "/b #c\n")
	f.Fuzz(func(t *testing.T, first, second string) {
		dirs, err := Directories(map[string][]byte{ConfPath: []byte(first), "/etc/x.conf": []byte(second)}, "amd64")
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range dirs {
			if !strings.HasPrefix(d, "/") {
				t.Fatalf("%q is not absolute", d)
			}
		}
	})
}
