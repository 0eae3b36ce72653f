package inventorytest

import (
	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/inventory"
)

var debian = artifact.Distro{ID: "debian", Version: "13"}

func deb(name, version, source, sourceVersion, layer string) artifact.Package {
	return artifact.Package{
		Type: "deb", Namespace: "debian", Name: name, Version: version, Arch: "amd64", Distro: "debian-13", Source: source, SourceVersion: sourceVersion,
		Paths: []string{"var/lib/dpkg/status.d/" + name}, Layer: sum(layer), FoundBy: []string{"image"},
	}
}

func npm(namespace, name, version, layer string, licences ...string) artifact.Package {
	return artifact.Package{
		Type: "npm", Namespace: namespace, Name: name, Version: version, Licenses: licences,
		Paths: []string{"workspace/node_modules/" + name + "/package.json"}, Layer: sum(layer), FoundBy: []string{"image"},
	}
}

// Fleet gives four images: a shop and its next version on two base versions, a ledger in
// Go without a base that anybody knows, and a shop for another platform.
func Fleet() []inventory.Image {
	oldBase := []artifact.Package{
		deb("libssl3t64", "3.5.1-1", "openssl", "3.5.1-1", "ssl-old"), deb("libc6", "2.41-12", "glibc", "2.41-12", "libc"),
	}
	newBase := []artifact.Package{
		deb("libssl3t64", "3.5.1-1+deb13u1", "openssl", "3.5.1-1+deb13u1", "ssl-new"), deb("libc6", "2.41-12", "glibc", "2.41-12", "libc"),
	}
	signed := inventory.Evidence{PredicateType: artifact.PredicateSignature, Digest: sum("bundle"), Stored: "bundle", KeyID: "key-1", VerifiedAt: day(1)}
	doubtful := inventory.Evidence{PredicateType: artifact.PredicateSPDX, Stored: "tag", KeyID: "key-2"}
	shop := func(reference, image, base string, baseLayers []string, packages []artifact.Package, lodash string) inventory.Image {
		app := []artifact.Package{
			npm("", "lodash", lodash, "modules-"+lodash, "MIT"), npm("@babel", "core", "7.26.0", "modules-"+lodash, "MIT OR GPL-2.0-only"),
		}
		return inventory.Image{
			Reference: reference,
			Contents: artifact.Contents{
				Image: sum(image), Platform: "linux/amd64", Distro: debian, BaseLayers: 2,
				Layers: append(baseLayers, sum("modules-"+lodash), sum("code-"+image)), Packages: append(packages, app...),
			},
			Created: day(1).AddDate(-46, 0, 0), Pushed: day(1).AddDate(0, -2, 0), Size: 60e6,
			Base:     inventory.Base{Name: "registry.example/base/run:13", Digest: sum(base)},
			Source:   inventory.Source{URL: "https://git.example/shop.git", Revision: "abc123"},
			Labels:   map[string]string{"team": "ships"},
			Evidence: []inventory.Evidence{signed, doubtful},
		}
	}
	first := shop("registry.example/shop:1.0", "shop-1", "base-1", []string{sum("libc"), sum("ssl-old")}, oldBase, "4.17.20")
	second := shop("registry.example/shop:1.1", "shop-2", "base-2", []string{sum("libc"), sum("ssl-new")}, newBase, "4.17.21")
	arm := shop("registry.example/shop:1.1", "shop-2-arm", "base-2-arm", []string{sum("libc"), sum("ssl-new")}, newBase, "4.17.21")
	arm.Contents.Platform, arm.Evidence = "linux/arm64", nil
	ledger := inventory.Image{
		Reference: "other.example/ledger:2",
		Contents: artifact.Contents{
			Image: sum("ledger"), Platform: "linux/amd64", Layers: []string{sum("bin")},
			Packages: []artifact.Package{
				{Type: "golang", Name: "stdlib", Version: "1.25.3", Paths: []string{"bin/ledger"}, Layer: sum("bin"), FoundBy: []string{"image"}},
				{Type: "golang", Namespace: "golang.org/x", Name: "net", Version: "v0.37.0", Paths: []string{"bin/ledger"}, Layer: sum("bin"), Licenses: []string{"BSD-3-Clause"}, FoundBy: []string{"image"}},
			},
		},
		Pushed: day(1).AddDate(0, 0, -3), Size: 9e6,
		Source:   inventory.Source{URL: "https://git.example/ledger.git", Revision: "def456"},
		Evidence: []inventory.Evidence{{PredicateType: artifact.PredicateProvenance, KeyID: "key-9", Identity: "builder@example", VerifiedAt: day(1)}},
	}
	return []inventory.Image{first, second, arm, ledger}
}

// Advisories are those that a matcher of Fleet knows, by the name of a binary package.
func Advisories() map[string]artifact.Finding {
	return map[string]artifact.Finding{
		"libssl3t64": {
			ID: "CVE-2025-9230", Aliases: []string{"DSA-6015-1"}, Summary: "An out-of-bounds read", Severity: artifact.SeverityHigh, Score: 7.5,
			Source: "debian", Fixed: "3.5.1-1+deb13u1", State: "fixed", EPSS: 0.02,
		},
		"lodash": {ID: "GHSA-35jh-r3h4-6jhm", Aliases: []string{"CVE-2021-23337"}, Severity: artifact.SeverityMedium, Source: "npm", Fixed: "4.17.21", State: "fixed"},
		"net":    {ID: "GO-2025-3595", Severity: artifact.SeverityCritical, Source: "go", State: "affected", KnownExploited: true},
		"stdlib": {ID: "GO-2025-4000", Severity: artifact.SeverityLow, Source: "go", Fixed: "1.25.4", State: "fixed"},
	}
}
