// Package sbom takes the packages that a buildpack put into a layer and gives the layer's
// software bill of materials: CycloneDX 1.6 in JSON, the same bytes for the same packages.
package sbom

import (
	"bytes"
	"cmp"
	"fmt"
	"os"
	"slices"

	"github.com/CycloneDX/cyclonedx-go"
	"github.com/package-url/packageurl-go"
)

// MediaType is what a buildpack.toml must list in sbom-formats.
const MediaType = "application/vnd.cyclonedx+json"

// Package is one package of a layer.
type Package struct {
	Type      string   // the package URL's type: "golang", "npm", "pypi", "maven", "deb", "generic"
	Namespace string   // the package URL's namespace: an npm scope with its @, a Maven group, a Go module's path up to the last slash; may be empty
	Name      string   // required
	Version   string   // exact, as the ecosystem writes it; may be empty
	SHA256    string   // of the package's file, in hex; may be empty
	SHA512    string   // the same
	Licenses  []string // SPDX identifiers or expressions
	Main      bool     // the application itself, not what it is made of
}

// PURL gives the package URL (https://github.com/package-url/purl-spec).
func (p Package) PURL() string {
	return packageurl.NewPackageURL(p.Type, p.Namespace, p.Name, p.Version, nil, "").ToString()
}

// Write makes the file at path, which libcnb's Layer.SBOMPath gives, from the packages in
// any order. A package that is given twice is listed once.
func Write(path string, packages []Package) error {
	text, err := Encode(packages)
	if err != nil {
		return err
	}
	return os.WriteFile(path, text, 0o644)
}

// Encode gives the bill of materials. It has no serial number and no date: both would make
// two builds of one source differ.
func Encode(packages []Package) ([]byte, error) {
	var components []cyclonedx.Component
	for _, p := range packages {
		if p.Name == "" || p.Type == "" {
			return nil, fmt.Errorf("describe package %q of type %q: its name and type must be known", p.Name, p.Type)
		}
		components = append(components, component(p))
	}
	slices.SortStableFunc(components, func(a, b cyclonedx.Component) int {
		return cmp.Or(cmp.Compare(a.Type, b.Type), cmp.Compare(a.BOMRef, b.BOMRef))
	})
	components = slices.CompactFunc(components, func(a, b cyclonedx.Component) bool {
		return a.Type == b.Type && a.BOMRef == b.BOMRef
	})

	bom := cyclonedx.NewBOM()
	bom.Components = &components
	var out bytes.Buffer
	encoder := cyclonedx.NewBOMEncoder(&out, cyclonedx.BOMFileFormatJSON).SetPretty(true).SetEscapeHTML(false)
	if err := encoder.Encode(bom); err != nil {
		return nil, fmt.Errorf("encode the bill of materials: %w", err)
	}
	return out.Bytes(), nil
}

func component(p Package) cyclonedx.Component {
	purl := p.PURL()
	c := cyclonedx.Component{
		BOMRef: purl, Type: cyclonedx.ComponentTypeLibrary,
		Group: p.Namespace, Name: p.Name, Version: p.Version, PackageURL: purl,
	}
	if p.Main {
		c.Type = cyclonedx.ComponentTypeApplication
	}
	var hashes []cyclonedx.Hash
	if p.SHA256 != "" {
		hashes = append(hashes, cyclonedx.Hash{Algorithm: cyclonedx.HashAlgoSHA256, Value: p.SHA256})
	}
	if p.SHA512 != "" {
		hashes = append(hashes, cyclonedx.Hash{Algorithm: cyclonedx.HashAlgoSHA512, Value: p.SHA512})
	}
	if hashes != nil {
		c.Hashes = &hashes
	}
	if len(p.Licenses) > 0 {
		licenses := cyclonedx.Licenses{}
		for _, l := range p.Licenses {
			licenses = append(licenses, cyclonedx.LicenseChoice{License: &cyclonedx.License{Name: l}})
		}
		c.Licenses = &licenses
	}
	return c
}
