package program

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"plimsoll.dev/plimsoll/internal/base"
)

// TestFix builds three bases as they were before a fix, then from the release with its security
// suite, and holds the difference to what was promised: the fixed package is there, and
// no layer is new but those of packages that changed.
func TestFix(t *testing.T) {
	b := newBench(t)
	tests := []struct {
		example string
		fixed   []string // packages that must have changed
		ship    int64    // most bytes that may have to move; 0 is any
	}{
		{"run", []string{"zlib1g"}, 6e6},
		{"node20", []string{"zlib1g"}, 0},
		{"java21", []string{"zlib1g"}, 0},
	}
	for _, tt := range tests {
		t.Run(tt.example, func(t *testing.T) {
			file := "../../examples/bases/" + tt.example + ".yaml"
			b.plimsoll("base", "build", "-f", before(b.t, tt.example), "-t", tt.example+":before")
			b.plimsoll("base", "build", "-f", file, "-t", tt.example+":after", "--suite", "trixie,trixie-security")
			var diffs []base.Diff
			if err := json.Unmarshal([]byte(b.plimsoll("base", "diff", "-o", "json", tt.example+":before", tt.example+":after")), &diffs); err != nil {
				t.Fatal(err)
			}
			if len(diffs) != 2 {
				t.Fatalf("%d architectures, want amd64 and arm64", len(diffs))
			}
			layers := layersOf(t, b, tt.example+":after")
			for _, d := range diffs {
				checkFix(t, d, tt.fixed, layers[d.Architecture])
				if tt.ship > 0 && d.BytesToShip > tt.ship {
					t.Errorf("%s: %d bytes to ship, want at most %d", d.Architecture, d.BytesToShip, tt.ship)
				}
				t.Logf("%s %s: %d packages, %d new layers, %d bytes to ship, %d already there",
					tt.example, d.Architecture, len(d.Packages), d.NewLayers, d.BytesToShip, d.BytesShared)
			}
		})
	}
}

func checkFix(t *testing.T, d base.Diff, fixed []string, packages map[string][]string) {
	t.Helper()
	changed := map[string]bool{}
	for _, p := range d.Packages {
		changed[p.Name] = p.From != "" && p.To != ""
	}
	for _, name := range fixed {
		if !changed[name] {
			t.Errorf("%s: %s did not change", d.Architecture, name)
		}
	}
	for _, l := range d.Layers {
		if l.Name == "trust" && changed["ca-certificates"] {
			continue // the CA bundle is made of that package's certificates
		}
		if l.New && !slices.ContainsFunc(packages[l.Name], func(p string) bool { return changed[p] }) {
			t.Errorf("%s: layer %s is new, but none of its packages changed: %v", d.Architecture, l.Name, packages[l.Name])
		}
	}
}

// layersOf gives the names of the packages in each layer, by architecture.
func layersOf(t *testing.T, b *bench, ref string) map[string]map[string][]string {
	t.Helper()
	file := "../../examples/bases/" + strings.TrimSuffix(ref, ":after") + ".yaml"
	var built struct{ Images []base.Built }
	text := b.plimsoll("base", "build", "-f", file, "-t", ref, "--suite", "trixie,trixie-security", "-o", "json")
	if err := json.Unmarshal([]byte(text), &built); err != nil {
		t.Fatal(err)
	}
	all := map[string]map[string][]string{}
	for _, image := range built.Images {
		all[image.Architecture] = map[string][]string{}
		for _, l := range image.Layers {
			for _, p := range l.Packages {
				name, _, _ := strings.Cut(p, "=")
				all[image.Architecture][l.Name] = append(all[image.Architecture][l.Name], name)
			}
		}
	}
	return all
}
