package index_test

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"plimsoll.dev/plimsoll/internal/debian/index"
)

// FuzzBuild feeds anything to Build. What it takes in can be opened, every name leads to a
// package of that name, and no path leads out of the archive.
func FuzzBuild(f *testing.F) {
	for _, seed := range []string{
		small, stanza("", ""), stanza("Filename", "../x"), stanza("Provides", "a (= 1), b:any, c [amd64]"),
		stanza("Package", ""), "\n\n", " x", "A: b\n\n\nA: c", stanza("Size", "9223372036854775808"), stanza("Depends", "a | b (<< 1)"),
		strings.ReplaceAll(small, "\n", "\r\n"),
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, input []byte) {
		var file bytes.Buffer
		if err := index.Build(t.Context(), bytes.NewReader(input), &file); err != nil {
			return
		}
		x, err := index.OpenBytes(file.Bytes(), "s")
		if err != nil {
			t.Fatal(err)
		}
		for name := range x.Names() {
			versions, err := x.Versions(name)
			if err != nil {
				t.Fatal(err)
			}
			providers, err := x.Providers(name)
			if err != nil {
				t.Fatal(err)
			}
			if len(versions)+len(providers) == 0 {
				t.Fatalf("%q is listed and not found", name)
			}
			for _, p := range versions {
				if p.Name != name || filepath.IsAbs(p.Filename) || !filepath.IsLocal(p.Filename) || p.Size < 0 {
					t.Fatalf("unsound package %+v", p)
				}
			}
		}
	})
}

// FuzzOpen feeds anything to Open: it may be refused, and never crashes a reader.
func FuzzOpen(f *testing.F) {
	var file bytes.Buffer
	if err := index.Build(f.Context(), strings.NewReader(small), &file); err != nil {
		f.Fatal(err)
	}
	f.Add(file.Bytes())
	f.Add(file.Bytes()[:20])
	f.Add([]byte("plimidx\n"))
	f.Fuzz(func(t *testing.T, input []byte) {
		x, err := index.OpenBytes(input, "s")
		if err != nil {
			return
		}
		for name := range x.Names() {
			_, _ = x.Versions(name)
			_, _ = x.Providers(name)
		}
	})
}

// TestStanzas reads a control file that is no Packages file.
func TestStanzas(t *testing.T) {
	const text = "Package: curl\nChecksums-Sha256:\n a 1 b\n c 2 d\n\n\nPackage: zlib\npackage-list: x\n"
	var got [][2]string
	for field, err := range index.Stanzas(strings.NewReader(text)) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, [2]string{field("Package"), field("Checksums-Sha256") + field("Package-List")})
	}
	want := [][2]string{{"curl", "a 1 b\n c 2 d"}, {"zlib", "x"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	var last error
	for _, err := range index.Stanzas(strings.NewReader("Package: curl\n\nno field\n")) {
		last = err
	}
	if last == nil || !strings.Contains(last.Error(), "line 3") {
		t.Errorf("want an error that names line 3, got %v", last)
	}
}
