package sbom_test

import (
	"archive/tar"
	"testing"

	"plimsoll.dev/plimsoll/internal/evidence/sbom"
)

// TestOnlyADistributionSpeaksForWhatItShips: the same package is Debian's business in a
// package that Debian maintains, and not in one that anybody made.
func TestOnlyADistributionSpeaksForWhatItShips(t *testing.T) {
	for maintainer, want := range map[string]string{
		"Debian Python Team <team+python@tracker.debian.org>": "python3-f",
		"Ann <ann@debian.org>":                                "python3-f",
		"Ann <ann@example.com>":                               "",
		"Ann <ann@debian.org.example.com>":                    "",
		"":                                                    "",
	} {
		status := "Package: python3-f\nStatus: install ok installed\nArchitecture: all\nMaintainer: " + maintainer + "\nVersion: 1\n\n"
		got := contents(t, sbom.New(sbom.Options{}), imageOf(layerOf(t,
			reg("var/lib/dpkg/status", status),
			reg("var/lib/dpkg/info/python3-f.list", "/usr/lib/python3/dist-packages/f-1.dist-info/METADATA\n"),
			reg("usr/lib/python3/dist-packages/f-1.dist-info/METADATA", "Metadata-Version: 2.1\nName: f\nVersion: 1\n\n"),
		)))
		owner := "none"
		for _, p := range got.Packages {
			if p.Type == "pypi" {
				owner = p.Owner
			}
		}
		if owner != want {
			t.Errorf("maintained by %q: shipped by %q, want %q", maintainer, owner, want)
		}
	}
}

// TestHardLinksTell: a program stays known by another name when its first is hidden.
func TestHardLinksTell(t *testing.T) {
	below := layerOf(t,
		reg("srv/node_modules/x/package.json", npmText("x", "1.0.0")),
		member{name: "app/node_modules/x/package.json", kind: tar.TypeLink, link: "srv/node_modules/x/package.json"},
	)
	above := layerOf(t, reg("srv/node_modules/x/.wh.package.json", ""))
	got := contents(t, sbom.New(sbom.Options{}), imageOf(below, above))
	if len(got.Packages) != 1 || got.Packages[0].Name != "x" {
		t.Errorf("found %+v, want x by its second name", got.Packages)
	}
}
