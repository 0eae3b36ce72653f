package known

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestLabels: an image's own labels are kept, however many there are, and the ones that are asked for
// most are not crowded out.
func TestLabels(t *testing.T) {
	all := map[string]string{
		"plimsoll.dev/team": "ships", "org.opencontainers.image.title": "shop", "tier": "gold",
		"io.buildpacks.stack.id": "any", "long": strings.Repeat("x", 257), strings.Repeat("x", 257): "long", "": "no name",
	}
	want := map[string]string{"plimsoll.dev/team": "ships", "org.opencontainers.image.title": "shop", "tier": "gold"}
	if diff := cmp.Diff(want, labels(all)); diff != "" {
		t.Error(diff)
	}
	for n := range 1000 {
		all[fmt.Sprintf("label-%03d", n)] = "x"
	}
	delete(want, "tier")
	for n := range mostLabels - 2 {
		want[fmt.Sprintf("label-%03d", n)] = "x"
	}
	for range 5 { // a map has no order
		if diff := cmp.Diff(want, labels(all)); diff != "" {
			t.Error(diff)
		}
	}
}
