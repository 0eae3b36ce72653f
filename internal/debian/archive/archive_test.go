package archive

import (
	"context"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"plimsoll.dev/plimsoll/internal/debian/index"
	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/testbed/debarchive"
)

// hello is what every archive here holds.
func hello() debarchive.Suite {
	return debarchive.Suite{Name: "test", Packages: []debarchive.Package{
		{Name: "hello", Files: []debarchive.File{debarchive.Regular("usr/bin/hello", "hello")}},
		{Name: "other", Version: "2.0-1"},
	}}
}

// reader is one reader of an archive, with a cache and a memory of its own.
type reader struct {
	mirror, keyring string
	cache, state    string
	suites          []string
	now             time.Time
}

func newReader(t *testing.T, a *debarchive.Archive, mirror string) *reader {
	if mirror == "" {
		mirror = a.Root
	}
	dir := t.TempDir()
	return &reader{mirror: mirror, keyring: a.Keyring, cache: filepath.Join(dir, "cache"), state: filepath.Join(dir, "state"), suites: []string{"test"}, now: time.Now()}
}

// read does all that a build does: verify, index, fetch each package. It gives the paths
// of the packages by name.
func (r *reader) read(ctx context.Context) (map[string]string, error) {
	keyring, err := LoadKeyring(r.keyring)
	if err != nil {
		return nil, err
	}
	o := Options{Components: []string{"main"}, Keyring: keyring, Cache: r.cache, State: r.state, Now: func() time.Time { return r.now }, Agent: "test"}
	for _, name := range r.suites {
		o.Suites = append(o.Suites, Suite{Name: name, Mirror: r.mirror})
	}
	a, err := Open(ctx, o)
	if err != nil {
		return nil, err
	}
	indexes, err := a.Indexes(ctx, "amd64")
	if err != nil {
		return nil, err
	}
	defer func() {
		for _, x := range indexes {
			x.Close()
		}
	}()
	pool, paths := NewPool(r.cache, "test"), map[string]string{}
	universe := index.NewUniverse(indexes...)
	for name := range universe.Names() {
		versions, err := universe.Versions(name)
		if err != nil {
			return nil, err
		}
		for _, p := range versions {
			file, err := pool.Package(ctx, r.mirror, p.Filename, File{SHA256: p.SHA256, Size: p.Size})
			if err != nil {
				return nil, err
			}
			paths[name] = pool.path(File{SHA256: p.SHA256})
			file.Close()
		}
	}
	return paths, nil
}

// files lists what lies below the folder.
func files(t *testing.T, dir string) []string {
	t.Helper()
	found := []string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, os.ErrNotExist) {
			return nil
		}
		if err == nil && !d.IsDir() {
			found = append(found, strings.TrimPrefix(path, dir+"/"))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func TestReadsWhatIsSigned(t *testing.T) {
	for _, forms := range [][]string{{"xz", "gz"}, {"xz"}, {"gz"}, {"none"}} {
		t.Run(strings.Join(forms, "+"), func(t *testing.T) {
			for _, noByHash := range []bool{false, true} {
				s := hello()
				s.Forms, s.NoByHash = forms, noByHash
				a := debarchive.New(t, s)
				for _, mirror := range []string{a.Root, "file://" + a.Root, a.Serve(t, nil).URL, a.Serve(t, nil).URL + "/"} {
					paths, err := newReader(t, a, mirror).read(t.Context())
					if err != nil {
						t.Fatalf("%s: %v", mirror, err)
					}
					if len(paths) != 2 {
						t.Errorf("%s: want 2 packages, got %v", mirror, paths)
					}
				}
			}
		})
	}
}

func TestRefusesWhatIsNot(t *testing.T) {
	const inRelease, packages, pool = "dists/test/InRelease", "dists/test/main/binary-amd64", "pool/main/hello/hello_*.deb"
	stranger, err := debarchive.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	// both changes an index where it lies and where its hash says.
	both := func(change func([]byte) []byte) func(*testing.T, *debarchive.Archive) {
		return func(t *testing.T, a *debarchive.Archive) {
			a.Change(t, packages+"/Packages*", change)
			a.Change(t, packages+"/by-hash/SHA256/*", change)
		}
	}
	one := func(pattern string, change func([]byte) []byte) func(*testing.T, *debarchive.Archive) {
		return func(t *testing.T, a *debarchive.Archive) { a.Change(t, pattern, change) }
	}
	insert := func(text string) func([]byte) []byte {
		return func(b []byte) []byte {
			return []byte(strings.Replace(string(b), "\nComponents:", "\n"+text+"Components:", 1))
		}
	}
	tests := []struct {
		name   string
		reason string
		suite  func(*debarchive.Suite)
		tamper func(*testing.T, *debarchive.Archive)
		kind   fault.Kind
		says   []string // what a person must be told
		cached bool     // what came before the refused file may be kept
	}{
		{name: "a byte of InRelease", reason: "nobody signed it", tamper: one(inRelease, debarchive.Flip), kind: fault.Denied, says: []string{"InRelease", "test", "signature"}},
		{name: "a field added to InRelease", reason: "nobody signed it", tamper: one(inRelease, insert("Extra: yes\n")), kind: fault.Denied, says: []string{"signature"}},
		{name: "half of InRelease", reason: "the signature is gone", tamper: one(inRelease, debarchive.Halve), kind: fault.Denied, says: []string{"not signed"}},
		{name: "empty InRelease", reason: "the signature is gone", tamper: one(inRelease, func([]byte) []byte { return []byte{} }), kind: fault.Denied, says: []string{"not signed"}},
		{name: "text before", reason: "who reads it without gpg would believe it", tamper: one(inRelease, func(b []byte) []byte { return append([]byte("Suite: evil\n\n"), b...) }), kind: fault.Denied, says: []string{"before"}},
		{name: "text after", reason: "who reads it without gpg would believe it", tamper: one(inRelease, func(b []byte) []byte { return append(b, "Suite: evil\n"...) }), kind: fault.Denied, says: []string{"follows"}},
		{name: "no InRelease", reason: "the suite is not there", tamper: one(inRelease, debarchive.Remove), kind: fault.NotFound, says: []string{"fetch InRelease", "test"}},
		{name: "unsigned", reason: "a bare Release", suite: func(s *debarchive.Suite) { s.Unsigned = true }, kind: fault.Denied, says: []string{"not signed"}},
		{name: "a stranger's key", reason: "not in the keyring", suite: func(s *debarchive.Suite) { s.Signer = stranger }, kind: fault.Denied, says: []string{"signature", "archive.pgp"}},
		{name: "stale", reason: "a mirror withheld", suite: func(s *debarchive.Suite) { s.Until = time.Now().Add(-time.Minute) }, kind: fault.Denied, says: []string{"stale", "valid until"}},
		{name: "of the future", reason: "it would block all later ones", suite: func(s *debarchive.Suite) { s.Date = time.Now().Add(48 * time.Hour) }, kind: fault.Denied, says: []string{"future"}},
		{name: "another suite's", reason: "an older suite in its place", suite: func(s *debarchive.Suite) { s.SignedAs = "oldtest" }, kind: fault.Denied, says: []string{"oldtest", "test"}},
		{name: "a byte of the index", reason: "its hash is signed", tamper: both(debarchive.Flip), kind: fault.Denied, says: []string{"index", "Packages"}},
		{name: "half of the index", reason: "packages are hidden", tamper: both(debarchive.Halve), kind: fault.Denied, says: []string{"index", "truncated"}},
		{name: "a longer index", reason: "packages are added", tamper: both(debarchive.Lengthen), kind: fault.Denied, says: []string{"longer"}},
		{name: "no index", reason: "the mirror lacks it", tamper: both(debarchive.Remove), kind: fault.NotFound, says: []string{"index", "no such file"}},
		{name: "a malformed index", reason: "signed, but no archive's", suite: func(s *debarchive.Suite) { s.Packages = []debarchive.Package{{Name: "NO NAME"}} }, kind: fault.Denied, says: []string{"Packages", "line 1", "NO NAME"}},
		{name: "a byte of a package", reason: "its hash is signed", tamper: one(pool, debarchive.Flip), kind: fault.Denied, says: []string{"hello_1.0-1_all.deb", "SHA-256"}, cached: true},
		{name: "half of a package", reason: "it is cut", tamper: one(pool, debarchive.Halve), kind: fault.Denied, says: []string{"hello_1.0-1_all.deb", "truncated"}, cached: true},
		{name: "a longer package", reason: "bytes are added", tamper: one(pool, debarchive.Lengthen), kind: fault.Denied, says: []string{"hello_1.0-1_all.deb", "longer"}, cached: true},
		{name: "no package", reason: "the archive moved on", tamper: one(pool, debarchive.Remove), kind: fault.NotFound, says: []string{"hello_1.0-1_all.deb", "no such file"}, cached: true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := hello()
			if tt.suite != nil {
				tt.suite(&s)
			}
			a := debarchive.New(t, s)
			if tt.tamper != nil {
				tt.tamper(t, a)
			}
			for _, mirror := range []string{a.Root, a.Serve(t, nil).URL} {
				r := newReader(t, a, mirror)
				_, err := r.read(t.Context())
				checkFault(t, err, tt.kind, append(tt.says, mirror)...)
				for _, kept := range files(t, r.cache) {
					if !tt.cached || strings.Contains(kept, "aside") {
						t.Errorf("%s: %s was kept", tt.reason, kept)
					}
				}
				if tt.cached {
					for _, path := range files(t, filepath.Join(r.cache, "deb")) {
						if !strings.HasPrefix(path, debSum(t, a, "other")) {
							t.Errorf("%s: the refused package was kept as %s", tt.reason, path)
						}
					}
				}
			}
		})
	}
}

// debSum gives the SHA-256 of the package's .deb as the archive has it.
func debSum(t *testing.T, a *debarchive.Archive, name string) string {
	t.Helper()
	f, err := os.Open(filepath.Join(a.Root, a.Find(t, "pool/main/"+name+"/*.deb")))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	c := newCheck(f, File{Size: 1 << 30})
	if _, err := io.Copy(io.Discard, c); err != nil {
		t.Fatal(err)
	}
	return hex.EncodeToString(c.sum.Sum(nil))
}

func checkFault(t *testing.T, err error, kind fault.Kind, says ...string) {
	t.Helper()
	var f *fault.Error
	if !errors.As(err, &f) {
		t.Fatalf("want a *fault.Error, got %T: %v", err, err)
	}
	if fault.KindOf(err) != kind {
		t.Errorf("want kind %d, got %d: %v", kind, fault.KindOf(err), err)
	}
	for _, word := range says {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("the error does not say %q: %v", word, err)
		}
	}
	if fault.HintOf(err) == "" {
		t.Errorf("no hint: %v", err)
	}
}

func TestTakesTheNamedFileWhereByHashLacksIt(t *testing.T) {
	a := debarchive.New(t, hello())
	a.Change(t, "dists/test/main/binary-amd64/by-hash/SHA256/*", debarchive.Remove)
	if _, err := newReader(t, a, "").read(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestByHashOutlivesAnUpdateOfTheMirror(t *testing.T) {
	a := debarchive.New(t, hello())
	a.Change(t, "dists/test/main/binary-amd64/Packages*", debarchive.Flip) // already the next one
	if _, err := newReader(t, a, "").read(t.Context()); err != nil {
		t.Fatal(err)
	}
}
