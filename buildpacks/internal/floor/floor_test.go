package floor

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const document = `[
	{"name": "a", "ecosystem": "npm", "package": "lodash", "version": "4.17.21"},
	{"name": "b", "ecosystem": "Go", "package": "golang.org/x/net", "version": "v0.38.0", "major": true},
	{"name": "c", "ecosystem": "Maven", "package": "g:a", "version": "1"}
]`

func TestRead(t *testing.T) {
	platform := t.TempDir()
	if got, err := Read(platform, NPM); err != nil || got != nil {
		t.Errorf("a platform that knows of no overrides: %v, %v", got, err)
	}
	file := filepath.Join(platform, "overrides", "overrides.json")
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(document), 0o644); err != nil {
		t.Fatal(err)
	}
	got, err := Read(platform, Go)
	if err != nil {
		t.Fatal(err)
	}
	want := []Floor{{Name: "b", Ecosystem: Go, Package: "golang.org/x/net", Version: "v0.38.0", Major: true}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for _, text := range []string{`{}`, `[{"ecosystem": "npm", "package": "a"}]`, `[{"ecosystem": "npm", "version": "1.0.0"}]`} {
		if _, err := parse([]byte(text), NPM); err == nil {
			t.Errorf("%s was read", text)
		}
	}
}

func TestBelow(t *testing.T) {
	for _, test := range []struct {
		ecosystem, version, floor string
		want                      bool
	}{
		{NPM, "4.17.15", "4.17.21", true},
		{NPM, "4.17.21", "4.17.21", false},
		{NPM, "4.17.100", "4.17.21", false},
		{NPM, "4.17.21-rc.1", "4.17.21", true},
		{NPM, "", "4.17.21", false},
		{Go, "(devel)", "v0.1.0", false},
		{Go, "v0.0.0-20200617195104-da1b6568686e", "v0.1.0", true},
		{Go, "v0.9.0", "v0.38.0", true},
		{PyPI, "2.31", "2.31.0", false},
		{PyPI, "2.31.0rc1", "2.31.0", true},
		{PyPI, "2.31.0.post1", "2.31.0", false},
	} {
		f := Floor{Ecosystem: test.ecosystem, Version: test.floor}
		if got := f.Below(test.version); got != test.want {
			t.Errorf("%s %q is below %q: %t", test.ecosystem, test.version, test.floor, got)
		}
	}
}

func TestCrossing(t *testing.T) {
	for _, test := range []struct {
		name, ecosystem, from, to string
		crosses                   bool
	}{
		{"same major", NPM, "4.0.0", "4.17.21", false},
		{"next major", NPM, "3.10.1", "4.17.21", true},
		{"before 1.0.0 the second number promises", NPM, "0.2.1", "0.2.4", false},
		{"and breaks", NPM, "0.2.1", "0.3.0", true},
		{"and then the third", NPM, "0.0.8", "0.0.9", true},
		{"Go's majors have other paths", Go, "v0.17.0", "v0.38.0", false},
		{"and 1 is no other", Go, "v0.17.0", "v1.0.0", false},
		{"but those without a path", Go, "v2.0.0+incompatible", "v3.0.0+incompatible", true},
		{"Python", PyPI, "1.26.18", "1.26.19", false},
		{"Python's next", PyPI, "1.26.18", "2.0.0", true},
		{"Python's epochs", PyPI, "1.0", "1!1.0", true},
	} {
		f := Floor{Name: "o", Ecosystem: test.ecosystem, Package: "p", Version: test.to}
		if err := f.Crossing(test.from); (err != nil) != test.crosses {
			t.Errorf("%s: %s to %s: %v", test.name, test.from, test.to, err)
		}
		f.Major = true
		if err := f.Crossing(test.from); err != nil {
			t.Errorf("%s: though majors may be crossed: %v", test.name, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(document), "4.17.15")
	f.Add([]byte(`[{"ecosystem": "PyPI", "package": "a", "version": "1!0"}]`), "v\x00")
	f.Fuzz(func(t *testing.T, text []byte, version string) {
		for _, ecosystem := range []string{NPM, Go, PyPI} {
			floors, err := parse(text, ecosystem)
			if err != nil {
				continue
			}
			for _, one := range floors {
				if one.Below(one.Version) || one.Package == "" {
					t.Errorf("%+v is below itself, or nothing's", one)
				}
				one.Below(version)
				_ = one.Crossing(version)
			}
		}
	})
}
