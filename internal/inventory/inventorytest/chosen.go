package inventorytest

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/inventory"
)

// testChosen asks for packages that applications chose, which are those above the base that no
// runtime brings along, in what references name now.
func testChosen(t *testing.T, address string) {
	image := func(name, version, path string, baseLayers int) inventory.Image {
		lodash := npm("", "lodash", version, name+version)
		lodash.Paths = []string{path}
		return inventory.Image{
			Reference: "registry.example/" + name + ":1", Labels: map[string]string{"tier": name},
			Contents: artifact.Contents{
				Image: sum("image " + name + version), Platform: "linux/amd64", Layers: []string{sum(name + version)}, BaseLayers: baseLayers,
				Packages: []artifact.Package{lodash, npm("", "npm", "11.0.0", name+version)},
			},
		}
	}
	const own = "workspace/node_modules/lodash/package.json"
	inv := open(t, address, newClock())
	app, twin := image("app", "4.17.20", own, 0), image("app", "4.17.20", own, 0)
	twin.Reference = "registry.example/twin:1"
	put(t, inv, app, twin, image("newer", "4.17.21", own, 0), image("moved", "4.17.20", own, 0),
		image("base", "4.17.20", own, 1), image("runtime", "4.17.20", "layers/node/lib/node_modules/npm/node_modules/lodash/package.json", 0))
	put(t, inv, image("moved", "4.17.21", own, 0))
	chosen := func(c inventory.Choice) []string {
		t.Helper()
		c.Types = []string{"npm"}
		if c.Is == nil {
			c.Is = func(p artifact.Package) bool { return p.Name == "lodash" && p.Version == "4.17.20" }
		}
		all, err := inv.Chosen(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		names := []string{}
		for _, n := range all {
			names = append(names, fmt.Sprint(n.Name, " ", n.Platform))
		}
		slices.Sort(names)
		return names
	}
	both := []string{"registry.example/app:1 linux/amd64", "registry.example/twin:1 linux/amd64"}
	for name, c := range map[string]struct {
		ask  inventory.Choice
		want []string
	}{
		"of all":            {inventory.Choice{}, both},
		"by its name":       {inventory.Choice{Title: "lodash"}, both},
		"by another's name": {inventory.Choice{Title: "npm"}, []string{}},
		"of one":            {inventory.Choice{Images: []string{app.Contents.Image}}, both},
		"of none":           {inventory.Choice{Images: []string{}}, []string{}},
		"of another":        {inventory.Choice{Images: []string{sum("image newer4.17.21"), "no digest"}}, []string{}},
		"nothing":           {inventory.Choice{Is: func(artifact.Package) bool { return false }}, []string{}},
	} {
		if diff := cmp.Diff(c.want, chosen(c.ask)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	named, err := inv.Names(t.Context(), "registry.example/moved:1")
	if want := (inventory.Named{Name: "registry.example/moved:1", Digest: sum("image moved4.17.21"), Platform: "linux/amd64"}); err != nil || len(named) != 1 || named[0] != want {
		t.Errorf("the tag names %+v, %v, want %+v", named, err, want)
	}
	for digest, want := range map[string]map[string]string{app.Contents.Image: {"tier": "app"}, sum("nobody"): {}} {
		got, err := inv.Labels(t.Context(), digest)
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("labels: %s, %v", diff, err)
		}
	}
}
