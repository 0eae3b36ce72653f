package provenance

import (
	"encoding/json"
	"maps"

	"plimsoll.dev/plimsoll/artifact"
)

// Build is how an application's image of one platform was built from source. It holds
// names of variables and bindings, never their values.
type Build struct {
	Parameters BuildParameters
	Source     artifact.Source
	Builder    Image
	RunImage   Image
	Internal   BuildDetails
	Byproducts []Resource
	Lifecycle  string // version of the lifecycle that ran; "" when the image does not say
}

// BuildParameters is what the user asked for (externalParameters).
type BuildParameters struct {
	Source      SourceParameters `json:"source"`
	Platform    string           `json:"platform"`              // "linux/amd64"
	Builder     string           `json:"builder"`               // reference
	RunImage    string           `json:"runImage,omitempty"`    // reference, when not the builder's choice
	Buildpacks  []string         `json:"buildpacks,omitempty"`  // instead of the builder's order
	Environment []string         `json:"environment,omitempty"` // names of variables, sorted
	Bindings    []string         `json:"bindings,omitempty"`    // names of service bindings, sorted
	Network     string           `json:"network"`               // "host" or "none", of the build phase
	Process     string           `json:"process,omitempty"`     // type of the default process
	Overrides   []Override       `json:"overrides,omitempty"`   // that bore on the source; who runs the platform declared them
}

// Override is a floor for a dependency's version, whatever the source's lock file says.
type Override struct {
	Name       string   `json:"name"`      // of the DependencyOverride
	Ecosystem  string   `json:"ecosystem"` // by OSV's name
	Package    string   `json:"package"`
	Version    string   `json:"version"`              // the floor
	Major      bool     `json:"major,omitempty"`      // it may cross a major version
	Reason     string   `json:"reason"`               // as declared
	Advisories []string `json:"advisories,omitempty"` // that it answers
}

// SourceParameters is the source as it was asked for.
type SourceParameters struct {
	URI     string `json:"uri,omitempty"` // never a path of the machine
	Ref     string `json:"ref,omitempty"`
	Subpath string `json:"subpath,omitempty"`
}

// BuildDetails is what the platform decided (internalParameters).
type BuildDetails struct {
	Buildpacks []string `json:"buildpacks"`       // that took part, "id@version" in their order
	Raised     []Raised `json:"raised,omitempty"` // what the overrides changed
}

// Raised is a dependency that was built with another version than the source's lock files name.
type Raised struct {
	Override  string   `json:"override"` // the name of the override
	Ecosystem string   `json:"ecosystem"`
	Package   string   `json:"package"`
	From      []string `json:"from"` // versions that the lock files name
	To        string   `json:"to"`
}

// Predicate gives the provenance.
func (b Build) Predicate(run Run) (json.RawMessage, error) {
	if b.Lifecycle != "" {
		run.Versions = maps.Clone(run.Versions)
		run.Versions["lifecycle"] = b.Lifecycle
	}
	dependencies := []Resource{sourceResource(b.Source), b.Builder.resource("builder"), b.RunImage.resource("runImage")}
	return run.encode(BuildType, b.Parameters, b.Internal, dependencies, b.Byproducts)
}

// Rebase is how an application's image of one platform came onto a newer base.
type Rebase struct {
	Image    Image    // the one that was rebased
	From, To Image    // its base before and after
	Forced   []string // what was done against the rules, as the user asked
	Vouched  bool     // nobody who is trusted signed the image before, and the user asked to sign it
	Source   Resource // what the rebased image says of its source; the zero value when it says nothing
}

// RebaseParameters is what the user asked for (externalParameters).
type RebaseParameters struct {
	Image    string   `json:"image"`    // reference
	RunImage string   `json:"runImage"` // reference
	Forced   []string `json:"forced,omitempty"`
	Vouched  bool     `json:"vouched,omitempty"`
}

// Predicate gives the provenance. Whoever follows "rebasedFrom" through its images comes to
// the one that was built.
func (r Rebase) Predicate(run Run) (json.RawMessage, error) {
	dependencies := []Resource{r.Image.resource("rebasedFrom"), r.To.resource("runImage"), r.From.resource("previousRunImage")}
	if r.Source.URI != "" || len(r.Source.Digest) > 0 {
		dependencies = append(dependencies, r.Source)
	}
	external := RebaseParameters{Image: r.Image.name(), RunImage: r.To.name(), Forced: r.Forced, Vouched: r.Vouched}
	return run.encode(RebaseType, external, nil, dependencies, nil)
}

// name is how a person writes it.
func (i Image) name() string {
	if i.Tag == "" {
		return i.Repository + "@" + i.Digest
	}
	return i.Repository + ":" + i.Tag
}
