// Package billtest takes nothing and gives contents of images for the tests of all forms of
// a bill of materials.
package billtest

import (
	"fmt"
	"strings"
	"time"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/evidence/sbom/bill"
)

// About is the head of a test's bill.
func About() bill.About {
	return bill.About{Name: "registry.example.com/team/shop", Version: "1.2.3", Created: time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)}
}

func digest(c string) string { return "sha256:" + strings.Repeat(c, 64) }

// Contents are those of images by a word for each: all kinds of packages with and without
// what can be known of them, texts that no form likes, an empty image.
func Contents() map[string]artifact.Contents {
	full := artifact.Contents{
		Image: digest("a"), Platform: "linux/arm64/v8", Distro: artifact.Distro{ID: "debian", Version: "13", Name: "Debian GNU/Linux 13"},
		Layers: []string{digest("b"), digest("c")}, BaseLayers: 1,
		Packages: []artifact.Package{
			{
				Type: "deb", Namespace: "debian", Name: "libssl3t64", Version: "3.5.1-1+b1", Arch: "arm64", Distro: "debian-13",
				Source: "openssl", SourceVersion: "3.5.1-1", Supplier: "Debian OpenSSL Team <pkg-openssl@example.org>",
				Licenses: []string{"Apache-2.0", "GPL-1.0-or-later OR Artistic-1.0", "public-domain, mostly"}, Layer: digest("b"),
				Paths: []string{"var/lib/dpkg/status.d/libssl3t64"}, FoundBy: []string{"image"},
			},
			{Type: "generic", Name: "openjdk", Version: "21.0.4+7", FoundBy: []string{"some/buildpack"}},
			{
				Type: "golang", Namespace: "github.com/BurntSushi", Name: "toml", Version: "v1.6.0", Layer: digest("c"),
				Paths: []string{"app/a", "app/b"}, SHA256: strings.Repeat("d", 64), Licenses: []string{"MIT"},
			},
			{Type: "maven", Namespace: "org.x", Name: "y", Version: "1", Licenses: []string{"MIT", "ISC"}},
			{Type: "npm", Namespace: "@scope", Name: "pkg", Version: "1.0.0-rc.1", Owner: "node-pkg", Licenses: []string{"(MIT OR CC0-1.0)"}},
			{Type: "npm", Name: "x\"\\\n\x00\xffé", Version: "\u202e1", Supplier: "a \"b\" <c>", Licenses: []string{"\xff<script>"}},
			{Type: "pypi", Name: "no-version"},
		},
		Files: []artifact.File{
			{Path: "app/run it.sh", Size: 3, SHA1: strings.Repeat("1", 40), SHA256: strings.Repeat("2", 64), Executable: true, Layer: digest("c")},
			{Path: "etc/ä\xff", SHA1: strings.Repeat("3", 40), SHA256: strings.Repeat("4", 64), Layer: digest("b")},
		},
		Unlisted:      3,
		Disagreements: []artifact.Disagreement{{Package: "pkg:npm/z@1", DeclaredBy: "some/buildpack", Why: "nothing in the image shows it"}},
		Gaps:          []artifact.Gap{{Path: "app/x.jar", Layer: digest("c"), Why: "zip: not a valid zip file"}},
	}
	return map[string]artifact.Contents{
		"full":  full,
		"empty": {Image: digest("e"), Platform: "linux/amd64"},
		"none":  {},
	}
}

// Many gives the contents of an image of so many packages, half of them a distribution's.
func Many(n int) artifact.Contents {
	c := artifact.Contents{Image: digest("a"), Platform: "linux/amd64", Layers: []string{digest("b")}}
	for i := range n {
		p := artifact.Package{
			Type: "npm", Name: fmt.Sprintf("package-%04d", i), Version: "1.2.3", Licenses: []string{"MIT"}, Layer: digest("b"),
			Paths: []string{fmt.Sprintf("app/node_modules/package-%04d/package.json", i)}, FoundBy: []string{"image"},
		}
		if i < n/2 {
			p.Type, p.Namespace, p.Distro, p.Arch = "deb", "debian", "debian-13", "amd64"
			p.Source, p.SourceVersion, p.Supplier = "source", "1.2.3", "Jo Doe <jo@example.com>"
			p.Licenses = []string{"GPL-2.0-or-later", "LGPL-2.1-or-later", "BSD-3-clause-variant"}
		}
		c.Packages = append(c.Packages, p)
	}
	return c
}

// URLs are the package URLs of the packages.
func URLs(packages []artifact.Package) []string {
	var all []string
	for _, p := range packages {
		all = append(all, p.PURL())
	}
	return all
}
