package license_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"plimsoll.dev/plimsoll/internal/evidence/sbom/license"
)

func TestOf(t *testing.T) {
	for _, c := range []struct{ name, in, want string }{
		{"identifier", "MIT", "MIT"},
		{"in the list's spelling", "apache-2.0", "Apache-2.0"},
		{"expression", "(mit or GPL-2.0-only with Classpath-exception-2.0) and ISC", "(MIT OR GPL-2.0-only WITH Classpath-exception-2.0) AND ISC"},
		{"or later", "GPL-2.0+", "GPL-2.0+"},
		{"unknown stays", "My  own\nlicence", "My own licence"},
		{"open parenthesis", "(MIT", "(MIT"},
		{"operator at the end", "MIT OR", "MIT OR"},
		{"unknown exception", "MIT WITH nothing", "MIT WITH nothing"},
		{"empty", "", ""},
	} {
		if got := license.Of(c.in); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

func TestDebian(t *testing.T) {
	const format = "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n"
	for _, c := range []struct {
		name, in string
		want     []string
	}{
		{"free form", "This package was debianized by someone.\nLicense: MIT\n", nil},
		{"each once, sorted", format + "\nFiles: *\nLicense: GPL-2+\n text\n\nFiles: a\nLicense: Expat\n\nLicense: GPL-2+\n text\n",
			[]string{"GPL-2.0-or-later", "MIT"}},
		{"alternatives", format + "\nLicense: GPL-2+ or Expat\n", []string{"GPL-2.0-or-later OR MIT"}},
		{"exception", format + "\nLicense: GPL-3+ with GCC-Runtime-Library exception\n", []string{"GPL-3.0-or-later WITH GCC-exception-3.1"}},
		{"unknown exception", format + "\nLicense: GPL-3+ with Foo exception\n", []string{"GPL-3+ with Foo exception"}},
		{"no exact counterpart", format + "\nLicense: public-domain\n", []string{"public-domain"}},
		{"comma", format + "\nLicense: GPL-2+ or Artistic, and Expat\n", []string{"GPL-2+ or Artistic, and Expat"}},
	} {
		if diff := cmp.Diff(c.want, license.Debian(c.in)); diff != "" {
			t.Errorf("%s: (-want +got)\n%s", c.name, diff)
		}
	}
}

func FuzzOf(f *testing.F) {
	for _, seed := range []string{"MIT", "(MIT OR ISC)", "((((", "GPL-2.0+ WITH x", ") AND ("} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, ok := license.Expression(text)
		if !ok {
			return
		}
		if again, ok := license.Expression(got); !ok || again != got {
			t.Errorf("%q gives %q, which gives %q, %t", text, got, again, ok)
		}
		license.Debian(text)
	})
}
