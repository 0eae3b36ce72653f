package archive

import (
	"testing"
	"time"
)

// TestDebianVerifies reads the real archive that the machine's apt sources name, with the
// keyring that Debian ships: the one proof that this is Debian's format and no other.
func TestDebianVerifies(t *testing.T) {
	sources, err := MachineSources("/etc/apt")
	if err != nil {
		t.Fatal(err)
	}
	keyring, err := LoadKeyring("")
	if err != nil {
		t.Fatal(err)
	}
	o := Options{Components: []string{"main"}, Keyring: keyring, Cache: t.TempDir(), State: t.TempDir(), Agent: "plimsoll-test"}
	for _, suite := range []string{"trixie", "trixie-security"} {
		mirror, err := MirrorFor(sources, suite)
		if err != nil {
			t.Fatal(err)
		}
		o.Suites = append(o.Suites, Suite{Name: suite, Mirror: mirror})
	}
	a, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if age := time.Since(a.releases[1].Date); age > 60*24*time.Hour {
		t.Errorf("trixie's security suite is %s old", age)
	}
	for i, r := range a.releases {
		if r.Codename != o.Suites[i].Name || r.Origin != "Debian" {
			t.Errorf("suite %s: codename %q, origin %q", o.Suites[i].Name, r.Codename, r.Origin)
		}
		for _, architecture := range []string{"amd64", "arm64"} {
			if _, ok := r.Files["main/binary-"+architecture+"/Packages"]; !ok {
				t.Errorf("suite %s lists no packages for %s", o.Suites[i].Name, architecture)
			}
		}
	}
}
