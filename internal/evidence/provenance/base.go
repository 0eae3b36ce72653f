package provenance

import (
	"encoding/json"

	"github.com/package-url/packageurl-go"
)

// Base is how a base image of one platform was composed from packages.
type Base struct {
	Parameters BaseParameters
	Packages   []DebianPackage
}

// BaseParameters is what the user asked for (externalParameters).
type BaseParameters struct {
	Spec     json.RawMessage `json:"spec"`     // of the BaseImage
	Platform string          `json:"platform"` // "linux/amd64"
	Locked   bool            `json:"locked"`   // the packages were named exactly
}

// DebianPackage is a package file that went in.
type DebianPackage struct {
	Name, Version, Arch string
	SHA256              string // hexadecimal, of the .deb
}

// Predicate gives the provenance.
func (b Base) Predicate(run Run) (json.RawMessage, error) {
	var dependencies []Resource
	for _, p := range b.Packages {
		purl := packageurl.NewPackageURL(packageurl.TypeDebian, "debian", p.Name, p.Version, packageurl.QualifiersFromMap(map[string]string{"arch": p.Arch}), "")
		dependencies = append(dependencies, Resource{URI: purl.ToString(), Digest: map[string]string{"sha256": p.SHA256}})
	}
	return run.encode(BaseType, b.Parameters, nil, dependencies, nil)
}

// Builder is how a builder image of one platform was put together.
type Builder struct {
	Parameters BuilderParameters
	Build      Image      // the build image below
	Run        []Image    // the run images it names
	Parts      []Resource // lifecycle and buildpacks
}

// BuilderParameters is what the user asked for (externalParameters).
type BuilderParameters struct {
	Build      string   `json:"build"`      // reference of the build image
	Run        []string `json:"run"`        // references of the run images, the default first
	Buildpacks []string `json:"buildpacks"` // "id@version"
	Platform   string   `json:"platform"`
}

// Predicate gives the provenance.
func (b Builder) Predicate(run Run) (json.RawMessage, error) {
	dependencies := []Resource{b.Build.resource("buildImage")}
	for _, r := range b.Run {
		dependencies = append(dependencies, r.resource("runImage"))
	}
	return run.encode(BuilderType, b.Parameters, nil, append(dependencies, b.Parts...), nil)
}
