package index_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"plimsoll.dev/plimsoll/internal/debian/index"
	"plimsoll.dev/plimsoll/internal/fault"
)

const (
	hashA = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	hashB = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
)

const small = `Package: mawk
Source: mawk-src (1.3.4-0)
Version: 1.3.4-1
Architecture: amd64
Multi-Arch: foreign
Essential: yes
Protected: yes
Installed-Size: 293
Pre-Depends: libc6 (>= 2.38)
Depends: debconf (>= 0.5) | debconf-2.0,
 libm-thing
Conflicts: oawk
Breaks: busybox (<< 1)
Replaces: oawk
Provides: awk, awk-any (= 2)
Recommends: less
Description: fast awk
 and what it is good for.
 .
 More: of it
Section: interpreters
Priority: required
Filename: pool/main/m/mawk/mawk_1.3.4-1_amd64.deb
Size: 134160
SHA256: ` + hashA + `


Package: gawk
Version: 1:5.2
Architecture: amd64
Provides: awk
Filename: ./gawk.deb
Size: 7
SHA256: ` + "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"

func build(t testing.TB, packages string) []byte {
	t.Helper()
	var file bytes.Buffer
	if err := index.Build(t.Context(), strings.NewReader(packages), &file); err != nil {
		t.Fatal(err)
	}
	return file.Bytes()
}

func open(t testing.TB, suite string, file []byte) *index.Index {
	t.Helper()
	path := filepath.Join(t.TempDir(), "index")
	if err := os.WriteFile(path, file, 0o644); err != nil {
		t.Fatal(err)
	}
	x, err := index.Open(path, suite)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { x.Close() })
	return x
}

var wantMawk = &index.Package{
	Name: "mawk", Version: "1.3.4-1", Architecture: "amd64", MultiArch: "foreign",
	Source: "mawk-src", SourceVersion: "1.3.4-0", Section: "interpreters", Priority: "required",
	Filename: "pool/main/m/mawk/mawk_1.3.4-1_amd64.deb", SHA256: hashA, Suite: "trixie",
	Size: 134160, InstalledSize: 293, Essential: true, Important: true,
	PreDepends: "libc6 (>= 2.38)", Depends: "debconf (>= 0.5) | debconf-2.0,\n libm-thing", Conflicts: "oawk",
	Breaks: "busybox (<< 1)", Replaces: "oawk", Provides: "awk, awk-any (= 2)", Recommends: "less",
}

var wantGawk = &index.Package{
	Name: "gawk", Version: "1:5.2", Architecture: "amd64", Source: "gawk", SourceVersion: "1:5.2",
	Filename: "gawk.deb", SHA256: hashA, Suite: "trixie", Size: 7, Provides: "awk",
	// mawk libc6 debconf debconf-2.0 libm-thing oawk busybox less awk awk-any come before.
	Mention: 10,
}

func TestIndexGivesWhatThePackagesFileSays(t *testing.T) {
	x := open(t, "trixie", build(t, small))
	for _, test := range []struct {
		what string
		find func(string) ([]*index.Package, error)
		name string
		want []*index.Package
	}{
		{"a package with every field", x.Versions, "mawk", []*index.Package{wantMawk}},
		{"the last stanza, without an end of line", x.Versions, "gawk", []*index.Package{wantGawk}},
		{"no such package", x.Versions, "nawk", nil},
		{"before all names", x.Versions, "", nil},
		{"after all names", x.Versions, "zzz", nil},
		{"a virtual name is no package", x.Versions, "awk", nil},
		{"two providers in the file's order", x.Providers, "awk", []*index.Package{wantMawk, wantGawk}},
		{"a versioned Provides", x.Providers, "awk-any", []*index.Package{wantMawk}},
		{"nobody provides it", x.Providers, "mawk", nil},
	} {
		t.Run(test.what, func(t *testing.T) {
			got, err := test.find(test.name)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
	if got, want := slices.Collect(x.Names()), []string{"gawk", "mawk", "awk", "awk-any"}; !slices.Equal(got, want) {
		t.Errorf("names %q, want %q", got, want)
	}
}

func TestPackagesOutliveTheIndex(t *testing.T) {
	x := open(t, "trixie", build(t, small))
	got, err := x.Versions("mawk")
	if err != nil {
		t.Fatal(err)
	}
	if err := x.Close(); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(wantMawk, got[0]); diff != "" {
		t.Errorf("after Close (-want +got)\n%s", diff)
	}
	if err := x.Close(); err != nil {
		t.Errorf("a second Close: %v", err)
	}
}

func TestBuildIsDeterministic(t *testing.T) {
	if !bytes.Equal(build(t, small), build(t, small)) {
		t.Error("two builds of one file differ")
	}
}

// stanza gives a sound stanza with one line replaced, or added when it has no such field.
func stanza(field, value string) string {
	lines := []string{
		"Package: foo", "Version: 1.0-1", "Architecture: amd64", "Filename: pool/f/foo.deb", "Size: 10", "SHA256: " + hashA,
	}
	at := slices.IndexFunc(lines, func(l string) bool { return strings.HasPrefix(l, field+":") })
	switch {
	case at >= 0 && value == "":
		lines = slices.Delete(lines, at, at+1)
	case at >= 0:
		lines[at] = field + ": " + value
	case field != "":
		lines = append(lines, field+": "+value)
	}
	return strings.Join(lines, "\n") + "\n"
}

func TestBuildRefuses(t *testing.T) {
	good := stanza("", "")
	build(t, good) // what the cases spoil is sound
	for _, test := range []struct{ name, input, want string }{
		{"no name", stanza("Package", ""), "Package"},
		{"a name that is a path", stanza("Package", "../foo"), "Package"},
		{"a name with a space", stanza("Package", "foo bar"), "Package"},
		{"a name of any length", stanza("Package", strings.Repeat("a", 300)), "Package"},
		{"no version", stanza("Version", ""), "Version"},
		{"a version that is none", stanza("Version", "one"), "Version"},
		{"a version with a path", stanza("Version", "1/../2"), "Version"},
		{"no architecture", stanza("Architecture", ""), "Architecture"},
		{"an unknown Multi-Arch", stanza("Multi-Arch", "sometimes"), "Multi-Arch"},
		{"no file", stanza("Filename", ""), "Filename"},
		{"an absolute file", stanza("Filename", "/etc/passwd"), "Filename"},
		{"a file above", stanza("Filename", "../../etc/passwd"), "Filename"},
		{"a file above, later", stanza("Filename", "pool/../../x.deb"), "Filename"},
		{"a file that needs cleaning", stanza("Filename", "pool//x.deb"), "Filename"},
		{"a file that is the root", stanza("Filename", "."), "Filename"},
		{"a file above by a dot", stanza("Filename", "./../x.deb"), "Filename"},
		{"a file with a query", stanza("Filename", "pool/x.deb?y"), "Filename"},
		{"a file with a backslash", stanza("Filename", `pool\x.deb`), "Filename"},
		{"a file with a control character", stanza("Filename", "pool/\x1b.deb"), "Filename"},
		{"a file with a line break", stanza("Filename", "pool/x\n y.deb"), "Filename"},
		{"a negative size", stanza("Size", "-1"), "Size"},
		{"no size", stanza("Size", ""), "Size"},
		{"an installed size in words", stanza("Installed-Size", "many"), "Installed-Size"},
		{"no hash", stanza("SHA256", ""), "SHA256"},
		{"a short hash", stanza("SHA256", "abc"), "SHA256"},
		{"a hash that is no hex", stanza("SHA256", strings.Repeat("g", 64)), "SHA256"},
		{"a source that is a path", stanza("Source", "../x"), "Source"},
		{"a source version that is none", stanza("Source", "x (one)"), "Source"},
		{"malformed Provides", stanza("Provides", "a (1"), "Provides"},
		{"a field twice", good + "Size: 11\n", "twice"},
		{"a field twice in another case", good + "size: 11\n", "twice"},
		{"a NUL byte", stanza("Description", "a\x00b"), "NUL"},
		{"a line that is no field", good + "nonsense\n", "no field"},
		{"a continuation at first", " x\n" + good, "continuation"},
		{"a line without end", stanza("Description", strings.Repeat("x", 1<<21)), "longer"},
		{"a stanza without end", good + strings.Repeat("A"+strings.Repeat("b", 1000)+": x\n", 5000), "fields"},
		{"a description without end", stanza("Description", "x\n"+strings.Repeat(" y"+strings.Repeat("z", 1000)+"\n", 5000)), "longer"},
	} {
		t.Run(test.name, func(t *testing.T) {
			err := index.Build(t.Context(), strings.NewReader(good+"\n"+test.input), &bytes.Buffer{})
			if err == nil {
				t.Fatal("taken in")
			}
			var f *fault.Error
			if !errors.As(err, &f) || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), "line ") {
				t.Errorf("want a fault that names the line and %s, got %v", test.want, err)
			}
		})
	}
}

func TestBuildStopsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := index.Build(ctx, strings.NewReader(small), &bytes.Buffer{})
	if fault.KindOf(err) != fault.Canceled {
		t.Errorf("want Canceled, got %v", err)
	}
}

// TestDamageIsFound cuts and flips an index everywhere: it is unusable, or what it gives is
// what it gave before.
func TestDamageIsFound(t *testing.T) {
	sound := build(t, small)
	path := filepath.Join(t.TempDir(), "index")
	look := func(file []byte) error {
		if err := os.WriteFile(path, file, 0o644); err != nil {
			t.Fatal(err)
		}
		x, err := index.Open(path, "trixie")
		if err != nil {
			return err
		}
		defer x.Close()
		got, err := x.Versions("mawk")
		if err != nil {
			return err
		}
		if diff := cmp.Diff([]*index.Package{wantMawk}, got); diff != "" {
			t.Errorf("wrong data without an error:\n%s", diff)
		}
		return nil
	}
	if err := look(sound); err != nil {
		t.Fatal(err)
	}
	for n := range sound {
		if err := look(sound[:n]); !errors.Is(err, index.ErrUnusable) {
			t.Fatalf("cut to %d of %d bytes: %v", n, len(sound), err)
		}
	}
	found := 0
	for n := range sound {
		flipped := bytes.Clone(sound)
		flipped[n] ^= 0x10
		if err := look(flipped); err != nil {
			if found++; !errors.Is(err, index.ErrUnusable) {
				t.Fatalf("byte %d of %d flipped: %v", n, len(sound), err)
			}
		}
	}
	// Only gawk's record, which is not looked at, and four spare bytes may go unseen.
	if found < len(sound)/2 {
		t.Errorf("only %d of %d flips were found", found, len(sound))
	}
}

func TestOpenOfAnOlderFormat(t *testing.T) {
	file := build(t, small)
	file[8]++
	path := filepath.Join(t.TempDir(), "index")
	if err := os.WriteFile(path, file, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := index.Open(path, "trixie"); !errors.Is(err, index.ErrUnusable) {
		t.Errorf("want ErrUnusable, got %v", err)
	}
	if _, err := index.Open(path+".none", "trixie"); fault.KindOf(err) != fault.NotFound {
		t.Errorf("a missing file: want NotFound, got %v", err)
	}
}

func one(name, version, arch, hash string) string {
	return fmt.Sprintf("Package: %s\nVersion: %s\nArchitecture: %s\nProvides: thing\nFilename: %s.deb\nSize: 1\nSHA256: %s\n\n",
		name, version, arch, name, hash)
}

func TestUniverseJoinsSuites(t *testing.T) {
	main := one("a", "2", "amd64", hashA) + one("b", "1", "all", hashA) + one("c", "1:1", "amd64", hashA) + one("d", "1", "amd64", hashA)
	security := one("a", "10", "amd64", hashB) + one("b", "1", "all", hashA) + one("c", "9", "amd64", hashB) + one("d", "1", "amd64", hashB)
	u := index.NewUniverse(open(t, "main", build(t, main)), open(t, "security", build(t, security)))
	for _, test := range []struct{ name, reason, want string }{
		{"a", "the highest version first, as numbers", "a 10 security, a 2 main"},
		{"b", "one stanza in two suites is one", "b 1 main"},
		{"c", "an epoch outweighs all", "c 1:1 main, c 9 security"},
		{"d", "one version with two hashes: the first-named suite first, as in apt", "d 1 main, d 1 security"},
		{"e", "nothing", ""},
	} {
		got, err := u.Versions(test.name)
		if err != nil {
			t.Fatal(err)
		}
		if listed := list(got); listed != test.want {
			t.Errorf("%s (%s): got %q, want %q", test.name, test.reason, listed, test.want)
		}
	}
	got, err := u.Providers("thing")
	if err != nil {
		t.Fatal(err)
	}
	want := "a 10 security, a 2 main, b 1 main, c 1:1 main, c 9 security, d 1 main, d 1 security"
	if listed := list(got); listed != want {
		t.Errorf("providers %q, want %q", listed, want)
	}
}

func list(packages []*index.Package) string {
	var parts []string
	for _, p := range packages {
		parts = append(parts, p.String()+" "+p.Suite)
	}
	return strings.Join(parts, ", ")
}
