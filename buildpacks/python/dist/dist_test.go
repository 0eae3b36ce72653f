package dist

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"plimsoll.dev/plimsoll/buildpacks/internal/sbom"
)

func TestPackages(t *testing.T) {
	site := t.TempDir()
	for name, text := range map[string]string{
		"Jinja2-3.1.4.dist-info":         "Metadata-Version: 2.1\nName: Jinja2\nVersion: 3.1.4\nLicense: BSD-3-Clause\n\nName: not a field any more\n",
		"typing_extensions-4.dist-info":  "Metadata-Version: 2.4\r\nName: typing_extensions\r\nVersion: 4\r\nLicense: PSF\r\nLicense-Expression: PSF-2.0\r\n\r\n",
		"zope.interface-6.1.dist-info":   "Name: zope.interface\nVersion: 6.1\nLicense: UNKNOWN\nPlatform: a\n        continued: yes\n",
		"not_a_distribution.dist-infold": "Name: x\nVersion: 1\n",
	} {
		if err := os.MkdirAll(filepath.Join(site, name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(site, name, "METADATA"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := Packages(site, filepath.Join(site, "absent"))
	if err != nil {
		t.Fatal(err)
	}
	want := []sbom.Package{
		{Type: "pypi", Name: "jinja2", Version: "3.1.4", Licenses: []string{"BSD-3-Clause"}},
		{Type: "pypi", Name: "typing-extensions", Version: "4", Licenses: []string{"PSF-2.0"}},
		{Type: "pypi", Name: "zope-interface", Version: "6.1"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestParseRefuses(t *testing.T) {
	for _, text := range []string{"", "\nName: a\nVersion: 1\n", "Name: a\n", "\x00\xff"} {
		if p, err := Parse(strings.NewReader(text)); err == nil {
			t.Errorf("%q is %+v", text, p)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("Metadata-Version: 2.1\nName: Jinja2\nVersion: 3.1.4\nLicense: BSD-3-Clause\n\ntext")
	f.Add("Name:\nVersion\n:\n")
	f.Fuzz(func(t *testing.T, text string) {
		p, err := Parse(strings.NewReader(text))
		if err == nil && (p.Name == "" || p.Version == "") {
			t.Errorf("%+v is no package", p)
		}
	})
}
