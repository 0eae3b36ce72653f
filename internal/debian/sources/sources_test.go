package sources

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"plimsoll.dev/plimsoll/internal/debian/index"
	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/testbed/debarchive"
)

// doc is the changelog that a binary package carries.
func doc(t testing.TB, name, file, text string) debarchive.File {
	return debarchive.Regular("usr/share/doc/"+name+"/"+file, string(zipped(t, text)))
}

// full is an archive with one source package for each way to find a changelog.
func full(t testing.TB) *bed {
	b := newBed(t)
	curlText := changelog("curl", "8-2+deb13u1", "from the source")
	sources := b.source(t, "curl", "8-2+deb13u1", "curl_8-2+deb13u1.debian.tar.gz", packed(t, "debian/changelog", curlText), "") +
		b.source(t, "apt", "3.0", "apt_3.0.tar.gz", packed(t, "apt-3.0/debian/changelog", changelog("apt", "3.0", "native")), "") +
		b.source(t, "zlib", "1:1-2", "zlib_1-2.debian.tar.gz", packed(t, "debian/changelog", noise(5000)), "") +
		b.source(t, "old", "1-1", "old_1-1.debian.tar.gz", packed(t, "debian/changelog", changelog("old", "1-1", "superseded")), "Extra-Source-Only: yes\n") +
		b.source(t, "twice", "1-1", "twice_1-1.debian.tar.gz", packed(t, "debian/changelog", changelog("twice", "1-1", "older")), "") +
		b.source(t, "twice", "1-10", "twice_1-10.debian.tar.gz", packed(t, "debian/changelog", changelog("twice", "1-10", "newest")), "") +
		b.source(t, "patch", "1-1", "patch_1-1.diff.gz", []byte("of format 1.0"), "")
	packages := b.binary(t, debarchive.Package{Name: "curl", Version: "8-2+deb13u1", Architecture: "amd64", Files: []debarchive.File{doc(t, "curl", "changelog.Debian.gz", changelog("curl", "8-2+deb13u1", "from the larger binary"))}}, 9000) +
		// The smallest has a link to another's documentation, the next one is a rebuild.
		b.binary(t, debarchive.Package{Name: "zlib1g-dev", Version: "1:1-2", Architecture: "amd64", Fields: map[string]string{"Source": "zlib"}, Files: []debarchive.File{debarchive.Symlink("usr/share/doc/zlib1g-dev", "zlib1g")}}, 0) +
		b.binary(t, debarchive.Package{Name: "zlib1g", Version: "1:1-2+b1", Architecture: "amd64", Fields: map[string]string{"Source": "zlib (1:1-2)"}, Files: []debarchive.File{
			doc(t, "zlib1g", "changelog.Debian.amd64.gz", changelog("zlib", "1:1-2+b1", "of the rebuild")),
			doc(t, "zlib1g", "changelog.gz", "upstream's\n"),
			doc(t, "zlib1g", "changelog.Debian.gz", changelog("zlib", "1:1-2", "from a binary")),
		}}, 500) +
		b.binary(t, debarchive.Package{Name: "patch", Version: "1-1", Architecture: "amd64", Files: []debarchive.File{doc(t, "patch", "changelog.Debian.gz", changelog("patch", "1-1", "format 1.0"))}}, 0)
	b.suite(t, "trixie-security", "13", sources, packages)

	b.suite(t, "trixie", "13.2",
		b.source(t, "bash", "5-1", "bash_5-1.debian.tar.gz", []byte("never read"), "")+
			b.source(t, "sed", "4-1+deb13u1", "sed_4-1+deb13u1.debian.tar.gz", packed(t, "debian/changelog", changelog("sed", "4-1+deb13u1", "point release")), "")+
			b.source(t, "curl", "8-2", "curl_8-2.debian.tar.gz", []byte("never read"), ""), "")
	return b
}

func TestReadsTheSmallestFileThatHasIt(t *testing.T) {
	b := full(t)
	r := b.reader(t, "trixie-security", "trixie")
	notes, missing, err := r.read(t, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"curl 8-2+deb13u1": "from the source", "apt 3.0": "native", "zlib 1:1-2": "from a binary",
		"twice 1-10": "newest", "patch 1-1": "format 1.0", "sed 4-1+deb13u1": "point release",
	}
	if diff := cmp.Diff(want, notes); diff != "" || len(missing) > 0 {
		t.Errorf("missing %q, -want +got:\n%s", missing, diff)
	}
	left, err := filepath.Glob(filepath.Join(r.options.Cache, "changelog", "*", "*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %q (%v)", left, err)
	}

	*r.asked = nil
	again, _, err := r.read(t, func(string, string, string) bool { return true })
	if err != nil || len(again) > 0 || len(*r.asked) != 2 {
		t.Errorf("read again: %v, asked %q (%v)", again, *r.asked, err)
	}
}

func TestWhatTheMirrorLacksIsTold(t *testing.T) {
	b := full(t)
	for _, path := range []string{"pool/apt/apt_3.0.tar.gz", "pool/curl/curl_8-2+deb13u1.debian.tar.gz"} {
		if err := os.Remove(filepath.Join(b.root, path)); err != nil {
			t.Fatal(err)
		}
	}
	notes, missing, err := b.reader(t, "trixie-security").read(t, nil)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"apt 3.0"}, missing); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if notes["curl 8-2+deb13u1"] != "from the larger binary" {
		t.Errorf("curl has a binary package too; got %q", notes["curl 8-2+deb13u1"])
	}
}

func TestTamperedArchiveIsCaught(t *testing.T) {
	flip := func(path string) func(testing.TB, *bed) {
		return func(t testing.TB, b *bed) {
			text, err := os.ReadFile(filepath.Join(b.root, path))
			if err != nil {
				t.Fatal(err)
			}
			b.put(t, path, debarchive.Flip(text))
		}
	}
	tests := []struct {
		name   string
		tamper func(testing.TB, *bed)
	}{
		{"a byte of the signed Release", flip("dists/trixie-security/InRelease")},
		{"a byte of the list of sources", flip("dists/trixie-security/main/source/Sources")},
		{"a list of sources cut short", func(t testing.TB, b *bed) {
			b.put(t, "dists/trixie-security/main/source/Sources", []byte("Package: x\n"))
		}},
		{"a byte of a source package", flip("pool/curl/curl_8-2+deb13u1.debian.tar.gz")},
		{"a byte of a binary package", flip("pool/main/patch/patch_1-1_amd64.deb")},
		{"another changelog in its place", func(t testing.TB, b *bed) {
			b.put(t, "pool/curl/curl_8-2+deb13u1.debian.tar.gz", packed(t, "debian/changelog", changelog("curl", "8-2+deb13u1", "nothing was ever fixed")))
		}},
		{"an older archive", func(t testing.TB, b *bed) {
			b.day = -20
			b.suite(t, "trixie-security", "13", "", "")
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := full(t)
			r := b.reader(t, "trixie-security")
			if _, _, err := r.read(t, nil); err != nil {
				t.Fatalf("the untampered archive: %v", err)
			}
			tt.tamper(t, b)
			if err := os.RemoveAll(r.options.Cache); err != nil {
				t.Fatal(err)
			}
			if _, _, err := r.read(t, nil); fault.KindOf(err) != fault.Denied || fault.HintOf(err) == "" {
				t.Errorf("want it denied with a hint, got %v", err)
			}
		})
	}
}

func TestSuitesAreOfOneRelease(t *testing.T) {
	b := full(t)
	b.suite(t, "bookworm", "12.5", "", "")
	b.suite(t, "sid", "", "", "")
	for _, other := range []string{"bookworm", "sid"} {
		if _, err := Open(t.Context(), b.reader(t, "trixie", other).options); fault.KindOf(err) != fault.Usage {
			t.Errorf("trixie and %s: want a usage fault, got %v", other, err)
		}
	}
	a, err := Open(t.Context(), b.reader(t, "trixie", "trixie-security").options)
	if err != nil {
		t.Fatal(err)
	}
	version, before := a.Release()
	b.suite(t, "trixie", "13.3", "Package: x\n", "")
	if a, err = Open(t.Context(), b.reader(t, "trixie", "trixie-security").options); err != nil {
		t.Fatal(err)
	}
	if again, after := a.Release(); version != "13" || again != "13" || before == after {
		t.Errorf("release %s, digest %s; after an update %s, %s", version, before, again, after)
	}
}

func TestMalformedListsAreRefused(t *testing.T) {
	sound := newBed(t).source(t, "curl", "8-2", "curl_8-2.debian.tar.xz", nil, "")
	if list, err := parseSources(t.Context(), strings.NewReader(sound), true); err != nil || len(list) != 1 {
		t.Fatalf("the sound one: %v, %v", list, err)
	}
	tests := []struct{ name, old, new string }{
		{"a name that is a path", "Package: curl", "Package: ../curl"},
		{"a version that is none", "Version: 8-2", "Version: a b"},
		{"a folder outside", "Directory: pool/curl", "Directory: ../../etc"},
		{"an absolute folder", "Directory: pool/curl", "Directory: /etc"},
		{"a file that is a path", "curl_8-2.debian", "../curl_8-2.debian"},
		{"a sum that is none", sum(nil), "abc"},
		{"a size that is none", " 20 ", " -20 "},
		{"no .dsc", ".dsc", ".txt"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if list, err := parseSources(t.Context(), strings.NewReader(strings.Replace(sound, tt.old, tt.new, 1)), true); err == nil {
				t.Errorf("it was taken: %+v", list)
			}
		})
	}
}

// TestDebiansOwn reads three changelogs of the real security suite that the machine's apt
// sources name.
func TestDebiansOwn(t *testing.T) {
	dir := t.TempDir()
	a, err := Open(t.Context(), Options{Suites: []string{"trixie-security"}, Cache: filepath.Join(dir, "cache"), State: filepath.Join(dir, "state"), Agent: "plimsoll-test"})
	if err != nil {
		t.Fatal(err)
	}
	if version, _ := a.Release(); version != "13" {
		t.Errorf("release %q", version)
	}
	var mu sync.Mutex
	versions := map[string]string{}
	listed := 0
	have := func(source, _, _ string) bool {
		listed++
		return source != "zlib" && source != "openssl" && source != "xz-utils"
	}
	missing, err := a.Changelogs(t.Context(), have, func(source, version, _ string, changelog io.Reader) error {
		text, err := io.ReadAll(changelog)
		if !bytes.Contains(text, []byte("CVE-20")) {
			t.Errorf("%s %s names no CVE", source, version)
		}
		mu.Lock()
		defer mu.Unlock()
		versions[source] = version
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(versions)+len(missing) != 3 || len(versions) == 0 || listed < 100 {
		t.Errorf("of %d source packages, got %v, missing %q", listed, versions, missing)
	}
	for source, least := range map[string]string{"openssl": "3.5.1-1+deb13u1", "xz-utils": "5.8.1-1+deb13u1"} {
		if versions[source] != "" && index.CompareVersions(versions[source], least) < 0 {
			t.Errorf("%s %s is older than %s", source, versions[source], least)
		}
	}
}

// FuzzSources holds that whatever a Sources index says, what is taken from it stays below
// the archive's root.
func FuzzSources(f *testing.F) {
	f.Add([]byte(newBed(f).source(f, "curl", "8-2+deb13u1", "curl_8-2+deb13u1.debian.tar.xz", nil, "")))
	f.Fuzz(func(t *testing.T, text []byte) {
		list, err := parseSources(t.Context(), bytes.NewReader(text), false)
		if err != nil {
			return
		}
		for _, l := range list {
			if !filepath.IsLocal(l.Path) && l.Path != "" || !updated.MatchString(l.Version) || l.Size < 0 {
				t.Errorf("%+v", l)
			}
		}
	})
}
