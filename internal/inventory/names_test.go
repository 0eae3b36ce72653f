package inventory_test

import (
	"context"
	"path/filepath"
	"testing"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/inventory"
)

// TestNamesOfAdvisories: whoever matches again what an advisory speaks of finds packages
// that spell its name otherwise.
func TestNamesOfAdvisories(t *testing.T) {
	inv, err := inventory.Open(t.Context(), "sqlite:"+filepath.Join(t.TempDir(), "inventory.db"), inventory.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer inv.Close()
	const layer = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	image := inventory.Image{Reference: "app:1", Contents: artifact.Contents{
		Image: "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb", Platform: "linux/amd64", Layers: []string{layer},
		Packages: []artifact.Package{
			{Type: "pypi", Name: "ruamel.yaml", Version: "0.18", Layer: layer},
			{Type: "golang", Namespace: "github.com/Masterminds", Name: "semver", Version: "v3.0.0", Layer: layer},
			{Type: "deb", Namespace: "debian", Name: "linux-image-amd64", Version: "6.12-1", Distro: "debian-13", Source: "linux-signed-amd64", SourceVersion: "6.12-1", Layer: layer},
			{Type: "npm", Name: "semver", Version: "7.0.0", Layer: layer},
		},
	}}
	if err := inv.Put(t.Context(), image); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"ruamel-yaml": "ruamel.yaml", "github.com/masterminds/semver": "semver", "linux": "linux-image-amd64"} {
		var found []string
		_, err := inv.Rematch(t.Context(), inventory.Which{Names: []string{name}}, func(_ context.Context, packages []inventory.Package) ([]inventory.Finding, error) {
			for _, p := range packages {
				found = append(found, p.Name)
			}
			return nil, nil
		})
		if err != nil || len(found) != 1 || found[0] != want {
			t.Errorf("%s: found %q, %v; want %s alone", name, found, err, want)
		}
	}
}
