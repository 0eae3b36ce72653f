// Package cnb takes nothing and gives the labels of Cloud Native Buildpacks' images, and
// the data in them, as github.com/buildpacks/spec describes both.
package cnb

import "strings"

// Labels of a builder image (extensions/builder.md, "Labels").
const (
	BuilderAPILabel       = "io.buildpacks.builder.api"
	BuilderMetadataLabel  = "io.buildpacks.builder.metadata"      // a BuilderMetadata
	OrderLabel            = "io.buildpacks.buildpack.order"       // an Order
	BuildpackLayersLabel  = "io.buildpacks.buildpack.layers"      // a BuildpackLayers
	LifecycleVersionLabel = "io.buildpacks.lifecycle.version"     // a version
	LifecycleAPIsLabel    = "io.buildpacks.lifecycle.apis"        // a LifecycleAPIs
	BuildpackageLabel     = "io.buildpacks.buildpackage.metadata" // a Buildpackage; on packaged buildpacks
)

// Environment of a build image, which says as whom build steps run (platform.md, "Build
// Image").
const (
	UserIDVariable  = "CNB_USER_ID"
	GroupIDVariable = "CNB_GROUP_ID"
	StackIDVariable = "CNB_STACK_ID" // before Platform API 0.12
)

// Paths in a builder image (platform.md; extensions/builder.md, "Filesystem").
const (
	BuildpacksDir  = "/cnb/buildpacks"
	BuildConfigDir = "/cnb/build-config"
	LifecycleDir   = "/cnb/lifecycle"
	OrderPath      = "/cnb/order.toml"
	RunPath        = "/cnb/run.toml"
	StackPath      = "/cnb/stack.toml" // before Platform API 0.12
	AppDir         = "/workspace"
	LayersDir      = "/layers"
	PlatformDir    = "/platform"
)

// BuilderMetadata describes a builder (extensions/builder.md, "io.buildpacks.builder.metadata").
type BuilderMetadata struct {
	Description string          `json:"description"`
	Buildpacks  []BuildpackInfo `json:"buildpacks"`
	RunImages   []RunImage      `json:"images"` // the first is the default; absent before Platform API 0.12
	Stack       Stack           `json:"stack"`  // names the default run image, too
	Lifecycle   LifecycleInfo   `json:"lifecycle"`
	CreatedBy   Creator         `json:"createdBy"`
	Extensions  []BuildpackInfo `json:"extensions,omitempty"`
}

// BuildpackInfo is who a buildpack is.
type BuildpackInfo struct {
	ID       string `json:"id" toml:"id"`
	Version  string `json:"version,omitempty" toml:"version"`
	Name     string `json:"name,omitempty" toml:"name"`
	Homepage string `json:"homepage,omitempty" toml:"homepage"`
}

// String gives "id@version".
func (b BuildpackInfo) String() string { return FullName(b.ID, b.Version) }

// FullName gives "id@version", or the id where there is no version.
func FullName(id, version string) string {
	if version == "" {
		return id
	}
	return id + "@" + version
}

// EscapeID gives the id as the name of a folder (platform.md, "Buildpacks Directory Layout").
func EscapeID(id string) string { return strings.ReplaceAll(id, "/", "_") }

// LifecycleInfo is which lifecycle a builder holds.
type LifecycleInfo struct {
	Version string        `json:"version"`
	API     LifecycleAPI  `json:"api"` // the lowest versions; before there were lists
	APIs    LifecycleAPIs `json:"apis"`
}

// LifecycleAPI is one version of each interface.
type LifecycleAPI struct {
	Buildpack string `json:"buildpack,omitempty" toml:"buildpack"`
	Platform  string `json:"platform,omitempty" toml:"platform"`
}

// LifecycleAPIs are the versions of both interfaces that a lifecycle speaks.
type LifecycleAPIs struct {
	Buildpack APIVersions `json:"buildpack" toml:"buildpack"`
	Platform  APIVersions `json:"platform" toml:"platform"`
}

// APIVersions are versions of an interface, as "0.12".
type APIVersions struct {
	Deprecated []string `json:"deprecated" toml:"deprecated"`
	Supported  []string `json:"supported" toml:"supported"`
}

// Creator is the program that made a builder.
type Creator struct {
	Name    string `json:"name"`
	Version string `json:"version"`
}

// Order are groups of buildpacks, tried one after the other (platform.md, "order.toml").
type Order []Group

// Group is buildpacks that build together.
type Group struct {
	Group []GroupEntry `json:"group" toml:"group"`
}

// GroupEntry is a member of a group.
type GroupEntry struct {
	ID       string `json:"id" toml:"id"`
	Version  string `json:"version,omitempty" toml:"version,omitempty"`
	Optional bool   `json:"optional,omitempty" toml:"optional,omitempty"`
}

// BuildpackLayers are the buildpacks of an image by id and version.
type BuildpackLayers map[string]map[string]BuildpackLayer

// BuildpackLayer is a buildpack and the layer it is in.
type BuildpackLayer struct {
	API         string           `json:"api"`
	Stacks      []BuildpackStack `json:"stacks,omitempty"`
	Targets     []Target         `json:"targets,omitempty"`
	Order       Order            `json:"order,omitempty"` // of a composite buildpack
	LayerDiffID string           `json:"layerDiffID"`
	Homepage    string           `json:"homepage,omitempty"`
	Name        string           `json:"name,omitempty"`
}

// BuildpackStack is what a buildpack runs on, by its stack (before Platform API 0.12).
type BuildpackStack struct {
	ID     string   `json:"id" toml:"id"`
	Mixins []string `json:"mixins,omitempty" toml:"mixins"`
}

// Target is what a buildpack runs on (buildpack.md, "Targets"); empty fields match all.
type Target struct {
	OS      string   `json:"os" toml:"os"`
	Arch    string   `json:"arch" toml:"arch"`
	Variant string   `json:"variant,omitempty" toml:"variant"`
	Distros []Distro `json:"distros,omitempty" toml:"distros"`
}

// Distro is a distribution by the ID and VERSION_ID of its os-release(5).
type Distro struct {
	Name    string `json:"name,omitempty" toml:"name"`
	Version string `json:"version,omitempty" toml:"version"`
}

// Matches tells whether what runs on the target runs on a machine; an empty field of
// either side matches all, but a distribution that is asked for must be known.
func (t Target) Matches(os, arch, variant string, distro Distro) bool {
	if !match(t.OS, os) || !match(t.Arch, arch) || !match(t.Variant, variant) {
		return false
	}
	for _, d := range t.Distros {
		if distro != (Distro{}) && match(d.Name, distro.Name) && match(d.Version, distro.Version) {
			return true
		}
	}
	return len(t.Distros) == 0
}

func match(a, b string) bool { return a == "" || b == "" || a == b }

// String gives "os/arch", and the distributions if there are any.
func (t Target) String() string {
	parts := []string{orAny(t.OS), orAny(t.Arch)}
	if t.Variant != "" {
		parts = append(parts, t.Variant)
	}
	text := strings.Join(parts, "/")
	for _, d := range t.Distros {
		text += " " + d.String()
	}
	return text
}

// Fits tells whether what is built on one distribution runs on the other; what is not known
// does not stand in the way.
func (d Distro) Fits(other Distro) bool {
	return match(d.Name, other.Name) && match(d.Version, other.Version)
}

// String gives "name version".
func (d Distro) String() string { return strings.TrimSpace(d.Name + " " + d.Version) }

func orAny(s string) string {
	if s == "" {
		return "any"
	}
	return s
}

// Buildpackage says which of the buildpacks in a package is the one it is for
// (distribution.md, "Buildpackage").
type Buildpackage struct {
	BuildpackInfo
	Stacks []BuildpackStack `json:"stacks,omitempty"`
}

// Descriptor is a buildpack.toml (buildpack.md, "buildpack.toml").
type Descriptor struct {
	API       string           `toml:"api"`
	Buildpack BuildpackInfo    `toml:"buildpack"`
	Targets   []Target         `toml:"targets"`
	Stacks    []BuildpackStack `toml:"stacks"`
	Order     Order            `toml:"order"`
}

// LifecycleDescriptor is a lifecycle.toml.
type LifecycleDescriptor struct {
	APIs      LifecycleAPIs `toml:"apis"`
	API       LifecycleAPI  `toml:"api"`
	Lifecycle struct {
		Version string `toml:"version"`
	} `toml:"lifecycle"`
}
