package ldcache

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"encoding/json"
	"errors"
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
