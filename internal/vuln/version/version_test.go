package version_test

import (
	"cmp"
	"errors"
	"os/exec"
	"strings"
	"testing"

	"github.com/google/osv-scalibr/semantic"

	"plimsoll.dev/plimsoll/internal/testbed"
	"plimsoll.dev/plimsoll/internal/vuln/version"
)

func compare(t *testing.T, ecosystem, a, b string) int {
	t.Helper()
	scheme := version.Of(ecosystem)
	v, err := scheme.Parse(a)
	if err != nil {
		t.Fatal(err)
	}
	w, err := scheme.Parse(b)
	if err != nil {
		t.Fatal(err)
	}
	order, err := v.Compare(w)
	if err != nil {
		t.Fatal(err)
	}
	back, err := w.Compare(v)
	if err != nil || back != -order {
		t.Errorf("%s against %s is %d, the other way round %d (%v)", a, b, order, back, err)
	}
	return order
}

// TestDebianAsDpkg asks dpkg itself about every pair.
func TestDebianAsDpkg(t *testing.T) {
	dpkg := testbed.Tool(t, "dpkg")
	versions := []string{
		"0", "1.0", "1.0-0", "1.0-1", "1.0-1+b1", "1.0-1+b10", "1.0-1+deb13u1", "1.0-1+deb13u10", "1.0-1+deb13u2", "1.0-1~bpo12+1",
		"1.0-1~deb13u1", "1.0-1.1", "1.0~rc1-1", "1.0~~", "1.0~", "1.0+dfsg-1", "1.0+dfsg1-1", "1.0a-1", "1.0.0-1", "1:0.1-1",
		"0:1.0-1", "2:8.2.2434-3", "1.0-1-1", "1.00-01", "20240203~deb12u1", "1.0+really0.9-1", "9.20.11-4~deb13u1", "1.0.",
		"3.5.6-1~deb13u1", "3.5.6-1", "3.5.10-1", "99999999999999999999.1", "1.2.3+git20250101.abcdef-1",
	}
	for _, a := range versions {
		for _, b := range versions {
			want := 0
			for _, relation := range []string{"lt", "gt"} {
				err := exec.Command(dpkg, "--compare-versions", a, relation, b).Run()
				var no *exec.ExitError
				if err != nil && !errors.As(err, &no) {
					t.Fatal(err)
				}
				if err == nil {
					want = map[string]int{"lt": -1, "gt": 1}[relation]
				}
			}
			if got := compare(t, "Debian:13", a, b); got != want {
				t.Errorf("%s against %s is %d, dpkg says %d", a, b, got, want)
			}
		}
	}
}

// TestOrder holds lists from the old to the new against Compare, each pair of a list.
func TestOrder(t *testing.T) {
	tests := []struct {
		name, ecosystem string
		versions        []string
	}{
		{"semver.org, section 11", "npm", []string{
			"1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-alpha.beta", "1.0.0-beta", "1.0.0-beta.2", "1.0.0-beta.11", "1.0.0-rc.1", "1.0.0",
		}},
		{"pseudo-versions stand before the release they lead to", "Go", []string{
			"0.0.0-20180904163835-0709b304e793", "v0.0.0-20210921155107-089bfa567519", "0.1.0", "1.2.3",
			"1.2.4-0.20191109021931-daa7c04131f5", "1.2.4-rc.1", "1.2.4", "2.0.0+incompatible", "2.0.1",
		}},
		{"a semantic version of two numbers", "crates.io", []string{"1.1.9", "1.2", "1.2.1"}},
		{"a fourth number is taken for a pre-release, as osv-scanner takes it", "npm", []string{"1.0.0.1", "1.0.0", "1.0.1"}},
		{"PEP 440", "PyPI", []string{
			"1.dev0", "1.0.dev456", "1.0a1", "1.0a2.dev456", "1.0a12", "1.0b1.dev456", "1.0rc1", "1.0", "1.0+abc.5", "1.0+5", "1.0.post456", "1.1.dev1", "1!0.1",
		}},
		{"Maven", "Maven", []string{"1-alpha", "1-beta", "1-milestone-1", "1-rc1", "1-SNAPSHOT", "1", "1-sp", "1.1", "1.10", "33.2.1-jre"}},
		{"a release of Debian", "Debian:13", []string{"1.0~rc1-1", "1.0-1", "1.0-1+deb13u1"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for i, a := range tt.versions {
				for j, b := range tt.versions {
					if got, want := compare(t, tt.ecosystem, a, b), cmp.Compare(i, j); got != want {
						t.Errorf("%s against %s is %d, want %d", a, b, got, want)
					}
				}
			}
		})
	}
}

func TestOtherSpellingsAreTheSame(t *testing.T) {
	for _, tt := range []struct{ ecosystem, a, b string }{
		{"Go", "v1.2.3", "1.2.3"},
		{"Go", "2.0.0+incompatible", "2.0.0"},
		{"PyPI", "1.0.0", "1.0"},
		{"PyPI", "1.0-RC.1", "1.0rc1"},
		{"Maven", "1.0.0", "1"},
		{"Debian", "0:1.0", "1.0-0"},
	} {
		if got := compare(t, tt.ecosystem, tt.a, tt.b); got != 0 {
			t.Errorf("%s: %s against %s is %d, want 0", tt.ecosystem, tt.a, tt.b, got)
		}
	}
}

func TestWhatCannotBeComparedIsAnError(t *testing.T) {
	if _, err := version.Of("Nowhere").Parse("1"); err == nil {
		t.Error("a version of an unknown ecosystem was read")
	}
	if _, err := version.Of("Maven").Parse(strings.Repeat("9", 2000)); err == nil {
		t.Error("a version that takes long to compare was read")
	}
	if _, err := version.Of("Debian").Parse("x:1"); err == nil {
		t.Error("an epoch that is no number was read")
	}
	a, errA := version.Of("npm").Parse("1.0.0")
	b, errB := version.Of("PyPI").Parse("1.0.0")
	if err := errors.Join(errA, errB); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Compare(b); err == nil {
		t.Error("an npm version was compared with a PyPI one")
	}
}

// FuzzPlain holds the short way for plain versions to what osv-scalibr says of them.
func FuzzPlain(f *testing.F) {
	for _, pair := range [][2]string{{"1.0", "1"}, {"1.10", "1.9"}, {"2024.01.02", "2024.1.2"}, {"0", "0.0.1"}, {"1..2", "1.2"}, {"1.", "1"}} {
		f.Add(pair[0], pair[1])
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		if strings.Trim(a+b, "0123456789.") != "" {
			return
		}
		for _, ecosystem := range []string{"PyPI", "Maven"} {
			long, err := semantic.Parse(a, ecosystem)
			if err != nil {
				continue
			}
			want, err := long.CompareStr(b)
			if err != nil {
				continue
			}
			if got := compare(t, ecosystem, a, b); got != want {
				t.Errorf("%s: %q against %q is %d, want %d", ecosystem, a, b, got, want)
			}
		}
	})
}

// FuzzCompare holds anything to what sorting needs: no panic, and the same answer both ways.
func FuzzCompare(f *testing.F) {
	for _, ecosystem := range []string{"Debian", "Go", "PyPI", "Maven", "RubyGems", "NuGet", "Packagist", "Alpine"} {
		f.Add(ecosystem, "1:1.0~rc1-1", "1.0.0-beta+exp")
		f.Add(ecosystem, "", "v")
	}
	f.Fuzz(func(t *testing.T, ecosystem, a, b string) {
		scheme := version.Of(ecosystem)
		v, errA := scheme.Parse(a)
		w, errB := scheme.Parse(b)
		if errA != nil || errB != nil {
			return
		}
		_, _ = v.Compare(w)
		if same, err := v.Compare(v); err == nil && same != 0 {
			t.Errorf("%q is not itself: %d", a, same)
		}
	})
}
