package cnb_test

import (
	"testing"

	"plimsoll.dev/plimsoll/internal/build/cnb"
)

func TestCompareAPI(t *testing.T) {
	for _, tt := range []struct {
		a, b string
		want int
	}{
		{"0.9", "0.12", -1}, {"0.12", "0.12", 0}, {"1", "1.0", 0}, {"1", "0.15", 1}, {"0.15", "1", -1},
		{"", "0.1", -1}, {"x.1", "0.1", -1}, {"0.x", "0.1", -1},
	} {
		if got := cnb.CompareAPI(tt.a, tt.b); got != tt.want {
			t.Errorf("%q and %q: want %d, got %d", tt.a, tt.b, tt.want, got)
		}
	}
}

func TestSpeaks(t *testing.T) {
	versions := cnb.APIVersions{Supported: []string{"0.10", "1"}, Deprecated: []string{"0.9"}}
	for version, want := range map[string]bool{"0.10": true, "0.9": true, "1.0": true, "0.1": false, "0.11": false, "1.1": false, "": false} {
		if got := versions.Speaks(version); got != want {
			t.Errorf("%q: want %t, got %t", version, want, got)
		}
	}
}

func TestTargetMatches(t *testing.T) {
	trixie := cnb.Distro{Name: "debian", Version: "13"}
	on := func(distros ...cnb.Distro) cnb.Target { return cnb.Target{OS: "linux", Distros: distros} }
	for _, tt := range []struct {
		name   string
		target cnb.Target
		distro cnb.Distro
		want   bool
	}{
		{"anything", cnb.Target{}, trixie, true},
		{"the system", cnb.Target{OS: "linux"}, trixie, true},
		{"another system", cnb.Target{OS: "windows"}, trixie, false},
		{"the architecture", cnb.Target{OS: "linux", Arch: "arm64"}, trixie, true},
		{"another architecture", cnb.Target{OS: "linux", Arch: "amd64"}, trixie, false},
		{"the distribution", on(trixie), trixie, true},
		{"one of several", on(cnb.Distro{Name: "ubuntu", Version: "24.04"}, trixie), trixie, true},
		{"any version", on(cnb.Distro{Name: "debian"}), trixie, true},
		{"another version", on(cnb.Distro{Name: "debian", Version: "12"}), trixie, false},
		{"an unknown machine", on(trixie), cnb.Distro{}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.target.Matches("linux", "arm64", "", tt.distro); got != tt.want {
				t.Errorf("want %t, got %t", tt.want, got)
			}
		})
	}
}
