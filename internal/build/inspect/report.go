package inspect

import (
	"bytes"
	"encoding/json"
	"fmt"
	"time"
	"unicode"

	"plimsoll.dev/plimsoll/internal/build"
	"plimsoll.dev/plimsoll/internal/build/cnb"
)

// Report is what an image is and holds. Its JSON is an interface: fields are added, never
// renamed. A part that does not apply, or of which nothing is known, is absent.
type Report struct {
	Ref       string     `json:"ref"`
	Digest    string     `json:"digest"`    // of what the reference names: an image or an index
	MediaType string     `json:"mediaType"` // of the same
	Platforms []Platform `json:"platforms"` // one, or those of the index
	Image     Image      `json:"image"`     // of one platform
}

// Platform is an image of an index, or the only one.
type Platform struct {
	Platform string `json:"platform"` // "linux/amd64"
	Digest   string `json:"digest"`
	Layers   int    `json:"layers"`
	Size     int64  `json:"size"` // of all layers, compressed bytes
	Shown    bool   `json:"shown,omitempty"`
}

// Kind says what an image is for.
type Kind string

// The kinds.
const (
	KindApplication Kind = "application" // made by buildpacks
	KindBase        Kind = "base"        // composed by plimsoll
	KindBuilder     Kind = "builder"     // of Cloud Native Buildpacks, by whomever
	KindForeign     Kind = "foreign"     // any other
)

// Image is one image in detail.
type Image struct {
	Kind     Kind      `json:"kind"`
	Platform string    `json:"platform"`
	Digest   string    `json:"digest"`
	Size     int64     `json:"size"`             // of all layers, compressed bytes
	Created  time.Time `json:"created,omitzero"` // absent where reproducible builds put a fixed date
	Distro   string    `json:"distro,omitempty"` // "debian 13"

	Source   *Source   `json:"source,omitempty"`
	Build    *Build    `json:"build,omitempty"`
	Runs     Runs      `json:"runs"`
	Base     *Base     `json:"base,omitempty"`
	Rebase   *Rebase   `json:"rebase,omitempty"`
	Builder  *Builder  `json:"builder,omitempty"`
	Facts    []Fact    `json:"facts"`
	Layers   []Layer   `json:"layers"`             // bottom first
	Packages []Count   `json:"packages,omitempty"` // of all layers, by ecosystem
	NotKnown []Unknown `json:"notKnown,omitempty"`
	Notes    []string  `json:"notes,omitempty"` // what is wrong or odd about the image
}

// Source is where an application's code came from (OCI image-spec, annotations.md; CNB
// platform.md, "io.buildpacks.project.metadata").
type Source struct {
	URL      string `json:"url,omitempty"`
	Revision string `json:"revision,omitempty"` // absent when files differed from it
	Subpath  string `json:"subpath,omitempty"`  // folder in it; "" is the top
	Digest   string `json:"digest,omitempty"`   // "sha256:…" of the files
}

// Build is what made an application.
type Build struct {
	Builder    string   `json:"builder,omitempty"`   // REF@digest
	Buildpacks []string `json:"buildpacks"`          // "id@version"
	Lifecycle  string   `json:"lifecycle,omitempty"` // version of its launcher
	Inputs     string   `json:"inputs,omitempty"`    // "sha256:…": two builds that have the same made the same

	Overrides []build.Overridden `json:"overrides,omitempty"` // dependency overrides that bore on the source
}

// Runs is what starts, how and as whom (OCI image-spec, config.md).
type Runs struct {
	Processes        []Process `json:"processes,omitempty"` // of an application made by buildpacks
	Entrypoint       []string  `json:"entrypoint,omitempty"`
	Command          []string  `json:"command,omitempty"`
	User             string    `json:"user"` // as the configuration has it; "" is root
	WorkingDirectory string    `json:"workingDirectory,omitempty"`
	Environment      []string  `json:"environment,omitempty"` // "NAME=value"
	Ports            []string  `json:"ports,omitempty"`       // "8080/tcp"
	Volumes          []string  `json:"volumes,omitempty"`
	StopSignal       string    `json:"stopSignal,omitempty"`
}

// Process is a way to start an application.
type Process struct {
	Type      string   `json:"type"`
	Command   []string `json:"command"` // with arguments
	Default   bool     `json:"default,omitempty"`
	Shell     bool     `json:"shell,omitempty"` // the command is run by one
	Buildpack string   `json:"buildpack,omitempty"`
}

// Base is what an image stands on, or is.
type Base struct {
	Name      string `json:"name,omitempty"`
	Digest    string `json:"digest,omitempty"`
	Layers    int    `json:"layers"` // the lowest ones of the image; 0 when not known
	Size      int64  `json:"size"`   // of these, compressed bytes
	Rebasable bool   `json:"rebasable"`
	Why       string `json:"whyNot,omitempty"` // it is not rebasable
}

// Rebase is what a rebase would do now.
type Rebase struct {
	Status   RebaseStatus    `json:"status"`
	RunImage string          `json:"runImage,omitempty"` // its name
	To       string          `json:"to,omitempty"`       // the base after it, by digest
	Packages []PackageChange `json:"packages,omitempty"`
	Known    bool            `json:"packagesKnown"` // both bases say which packages they hold
	New      int             `json:"newLayers"`
	Bytes    int64           `json:"bytesNew"` // compressed, of the new layers
	Error    string          `json:"error,omitempty"`
	Hint     string          `json:"hint,omitempty"`
}

// RebaseStatus says what a rebase would come to.
type RebaseStatus string

// The statuses.
const (
	RebaseCurrent RebaseStatus = "current" // it stands on its newest base
	RebaseStale   RebaseStatus = "stale"   // there is a newer one
	RebaseFailed  RebaseStatus = "failed"  // it cannot be told, or be done
)

// PackageChange is a package that is in one base only, or in both with two versions.
type PackageChange struct {
	Name string `json:"name"`
	From string `json:"from,omitempty"` // version; "" when added
	To   string `json:"to,omitempty"`   // version; "" when removed
}

// Builder is what a builder image builds with.
type Builder struct {
	Description string             `json:"description,omitempty"`
	User        string             `json:"user"` // "uid:gid" of build steps
	Lifecycle   string             `json:"lifecycle"`
	APIs        APIs               `json:"apis"`
	Buildpacks  []BuilderBuildpack `json:"buildpacks"`
	Order       [][]string         `json:"order"` // groups of "id@version", with " (optional)"
	RunImages   []RunImage         `json:"runImages"`
	Extensions  bool               `json:"extensions,omitempty"` // it has image extensions
}

// APIs are the versions of the buildpacks interfaces that a lifecycle speaks.
type APIs struct {
	Buildpack []string `json:"buildpack"`
	Platform  []string `json:"platform"`
}

// BuilderBuildpack is a buildpack of a builder.
type BuilderBuildpack struct {
	ID      string   `json:"id"`
	Version string   `json:"version,omitempty"`
	Name    string   `json:"name,omitempty"`
	API     string   `json:"api,omitempty"`
	Targets []string `json:"targets,omitempty"` // what it runs on
}

// RunImage is a base that a builder's applications run on.
type RunImage struct {
	Image      string   `json:"image"`
	Mirrors    []string `json:"mirrors,omitempty"`
	Buildpacks []string `json:"buildpacks,omitempty"` // whose applications run on it; none is the default
}

// Fact is something about an image that matters to its safety.
type Fact struct {
	Name string `json:"name"`
	Good bool   `json:"good"`
	Text string `json:"text"`
}

// Part says to what a layer belongs.
type Part = cnb.Part

// The parts, beside those that app images have above their base.
const (
	PartBase        Part = "base"
	PartBuildpack        = cnb.PartBuildpack
	PartApplication      = cnb.PartApplication
	PartLauncher         = cnb.PartLauncher
	PartSBOM             = cnb.PartSBOM
	PartOther       Part = "other"
)

// Layer is one layer.
type Layer struct {
	Part      Part      `json:"part"`
	Name      string    `json:"name"`                // what is in it, in a few words
	Buildpack string    `json:"buildpack,omitempty"` // "id@version" of the one that brought it
	Digest    string    `json:"digest"`              // of the compressed bytes
	DiffID    string    `json:"diffID,omitempty"`    // of the tar
	Size      int64     `json:"size"`                // compressed bytes
	CreatedBy string    `json:"createdBy,omitempty"` // its line of the image's history
	Told      Told      `json:"packagesFrom,omitempty"`
	Packages  []Package `json:"packages,omitempty"` // that this layer adds or changes
	Removed   []string  `json:"removed,omitempty"`  // packages of layers below that it takes away
}

// Told says who says what packages a layer holds; "" is nobody.
type Told string

// The sources.
const (
	ToldByManifest  Told = "annotation" // of the manifest
	ToldByInventory Told = "dpkg"       // files in the layer
	ToldBySBOM      Told = "sbom"       // bills of materials of buildpacks
)

// Package is a package in a layer.
type Package struct {
	Type    string `json:"type"` // of package URLs: "deb", "golang", "npm", …
	Name    string `json:"name"` // with the group or namespace before it
	Version string `json:"version,omitempty"`
}

// Count is how many packages of an ecosystem there are.
type Count struct {
	Type  string `json:"type"`
	Count int    `json:"count"`
}

// Unknown is a part that nothing is known of.
type Unknown struct {
	What string `json:"what"`
	Why  string `json:"why"`
}

func (r *Image) unknown(what, format string, args ...any) {
	r.NotKnown = append(r.NotKnown, Unknown{what, fmt.Sprintf(format, args...)})
}

func (r *Image) note(format string, args ...any) {
	r.Notes = append(r.Notes, fmt.Sprintf(format, args...))
}

// MarshalJSON gives JSON in which all that a terminal might act on is escaped: images may
// come from anybody, and people look at JSON in terminals, too.
func (r Report) MarshalJSON() ([]byte, error) {
	type plain Report
	text, err := json.Marshal(plain(r))
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	for _, c := range string(text) { // outside of its strings JSON is ASCII
		// What is beyond the first plane no terminal acts on, and YAML has no escape for it.
		if c < 0x7f || c > 0xffff || unicode.IsPrint(c) {
			out.WriteRune(c)
			continue
		}
		fmt.Fprintf(&out, `\u%04x`, c)
	}
	return out.Bytes(), nil
}
