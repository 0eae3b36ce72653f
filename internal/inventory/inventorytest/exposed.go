package inventorytest

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/inventory"
)

// runBase gives what the fleet's base names when it was built again with that OpenSSL.
func runBase(digest, version, layer string) inventory.Image {
	return inventory.Image{
		Reference: "registry.example/base/run:13",
		Contents: artifact.Contents{
			Image: sum(digest), Platform: "linux/amd64", Distro: debian, Layers: []string{sum("libc"), sum(layer)},
			Packages: []artifact.Package{
				deb("libssl3t64", version, "openssl", version, layer), deb("libc6", "2.41-12", "glibc", "2.41-12", "libc"),
			},
		},
		Pushed: day(1), Size: 20e6,
	}
}

// exposed tells what is exposed in lines.
func exposed(t testing.TB, inv *inventory.Inventory, ask inventory.Exposure) []string {
	t.Helper()
	lines := []string{}
	err := inv.Exposed(t.Context(), ask, func(i inventory.ExposedImage) error {
		base := "unknown"
		switch {
		case i.On.Stale:
			base = "stale"
		case i.On.Known:
			base = "current"
		}
		line := fmt.Sprintf("%s %s sourced=%t base=%s labels=%v", i.Name, i.Platform, i.Sourced, base, i.Labels)
		if i.Carries {
			line = "base " + line
		}
		for _, h := range i.Hits {
			line += fmt.Sprintf(" [%s %s %s fixed=%s %s left=%t]", h.Advisory, h.Ecosystem, h.Package, h.Fixed, h.Remedy, h.InBase && i.On.Has(h.Weakness))
		}
		lines = append(lines, line)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(lines)
	return lines
}

// testExposed asks for what an advisory, a severity or a base mean, before and after the base
// was built again.
func testExposed(t *testing.T, address string) {
	inv := open(t, address, newClock())
	put(t, inv, Fleet()...)
	rematch(t, inv, inventory.Which{}, Advisories())
	const (
		shop   = "registry.example/shop:1.0 linux/amd64 sourced=true base="
		ledger = "other.example/ledger:2 linux/amd64 sourced=true base=unknown labels=map[]"
		lodash = " [GHSA-35jh-r3h4-6jhm npm lodash fixed=4.17.21 override left=false]"
	)
	openssl := func(left bool) string {
		return fmt.Sprintf(" [CVE-2025-9230 Debian:13 openssl fixed=3.5.1-1+deb13u1 rebase left=%t]", left)
	}
	check := func(name string, ask inventory.Exposure, want ...string) {
		t.Helper()
		if diff := cmp.Diff(append([]string{}, want...), exposed(t, inv, ask)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	byName := inventory.Exposure{Advisories: []string{"dsa-6015-1"}}
	check("a base nobody knows", byName, shop+"unknown labels=map[]"+openssl(false))

	put(t, inv, runBase("base-1", "3.5.1-1", "ssl-old"))
	check("a base that is as it was", byName, "base registry.example/base/run:13 linux/amd64 sourced=false base=unknown labels=map[]"+
		" [CVE-2025-9230 Debian:13 openssl fixed=3.5.1-1+deb13u1 rebuild left=false]", shop+"current labels=map[]"+openssl(true))

	put(t, inv, runBase("base-1-again", "3.5.1-1+deb13u1", "ssl-new"))
	rematch(t, inv, inventory.Which{}, Advisories())
	check("a base that has the fix", byName, shop+"stale labels=map[]"+openssl(false))
	check("labels", inventory.Exposure{Advisories: []string{"CVE-2025-9230"}, Labels: []string{"team", "tier"}},
		shop+"stale labels=map[team:ships]"+openssl(false))
	check("severities have a fix", inventory.Exposure{Severities: []artifact.Severity{artifact.SeverityCritical, artifact.SeverityMedium}},
		shop+"stale labels=map[]"+lodash)
	check("exploited", inventory.Exposure{Exploited: true}, ledger+" [GO-2025-3595 Go golang.org/x/net fixed= none left=false]")
	check("all that can be fixed", inventory.Exposure{Fixable: true},
		ledger+" [GO-2025-4000 Go stdlib fixed=1.25.4 rebuild left=false]", shop+"stale labels=map[]"+openssl(false)+lodash)
	check("a base", inventory.Exposure{Bases: []string{"registry.example/base/run:13"}}, shop+"stale labels=map[]")
	check("every base", inventory.Exposure{Bases: []string{"*"}}, shop+"stale labels=map[]")
	check("another base", inventory.Exposure{Bases: []string{"registry.example/base/run:12"}})
	check("some images", inventory.Exposure{Fixable: true, Images: []string{sum("ledger")}}, ledger+" [GO-2025-4000 Go stdlib fixed=1.25.4 rebuild left=false]")
	check("nothing", inventory.Exposure{})

	second := Fleet()[0]
	second.Reference = "registry.example/shop:latest"
	put(t, inv, second)
	check("two names", byName, shop+"stale labels=map[]"+openssl(false), "registry.example/shop:latest linux/amd64 sourced=true base=stale labels=map[]"+openssl(false))
	suppress(t, inv, inventory.Suppression{Advisory: "CVE-2025-9230", Image: sum("shop-1"), Suppression: artifact.Suppression{Status: "not_affected"}})
	check("one that is spared", byName)
	suppress(t, inv, inventory.Suppression{Advisory: "CVE-2025-9230", Suppression: artifact.Suppression{Status: "not_affected"}})
	check("all are spared", byName)
}

func suppress(t testing.TB, inv *inventory.Inventory, s ...inventory.Suppression) {
	t.Helper()
	if err := inv.Suppress(t.Context(), "file", s); err != nil {
		t.Fatal(err)
	}
}
