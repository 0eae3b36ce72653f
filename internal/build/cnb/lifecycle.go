package cnb

import (
	"encoding/json"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// Labels of an app image (Platform API 0.15, "Labels"; buildpacks/spec, platform.md).
const (
	LifecycleMetadataLabel = "io.buildpacks.lifecycle.metadata" // a LifecycleMetadata
	BuildMetadataLabel     = "io.buildpacks.build.metadata"     // a BuildMetadata
	ProjectMetadataLabel   = "io.buildpacks.project.metadata"   // a ProjectMetadata
	RebasableLabel         = "io.buildpacks.rebasable"          // "false" forbids a rebase, anything else allows it
)

// Labels of a run image, which its app images carry, too (platform.md, "Run Image").
const (
	BaseLabelPrefix     = "io.buildpacks.base."
	DistroNameLabel     = "io.buildpacks.base.distro.name"
	DistroVersionLabel  = "io.buildpacks.base.distro.version"
	StackLabelPrefix    = "io.buildpacks.stack."
	StackIDLabel        = "io.buildpacks.stack.id"     // before Platform API 0.12
	StackMixinsLabel    = "io.buildpacks.stack.mixins" // a JSON list; before Platform API 0.12
	PlatformAPIVariable = "CNB_PLATFORM_API"           // in an app image's environment: the version it was made by
)

// LifecycleMetadata is what the exporter notes of an app image, for the next build and for
// a rebase (platform.md, "io.buildpacks.lifecycle.metadata"). Its fields stand in the
// lifecycle's order, so that both write the same bytes.
type LifecycleMetadata struct {
	App          any             `json:"app"` // a list of LayerSHA; one alone in images of before 2019
	SBOM         *LayerSHA       `json:"sbom,omitempty"`
	Buildpacks   []BuildpackData `json:"buildpacks"`
	Config       LayerSHA        `json:"config"`
	Launcher     LayerSHA        `json:"launcher"`
	ProcessTypes LayerSHA        `json:"process-types"`
	RunImage     UsedRunImage    `json:"runImage"`
	Stack        *Stack          `json:"stack,omitempty"`
}

// NamedRunImage gives the run image that a rebase without further word is onto: the one
// named by Platform API 0.12 or later, else the one named before. It may be empty.
func (m LifecycleMetadata) NamedRunImage() RunImage {
	if m.RunImage.Image == "" && m.Stack != nil {
		return m.Stack.RunImage
	}
	return m.RunImage.RunImage
}

// LayerSHA names a layer.
type LayerSHA struct {
	SHA string `json:"sha"` // its diffID, "sha256:…"
}

// BuildpackData is what one buildpack left in the image.
type BuildpackData struct {
	ID      string               `json:"key"`
	Version string               `json:"version"`
	Layers  map[string]LayerData `json:"layers"` // by name
	Store   *Store               `json:"store,omitempty"`
}

// LayerData is a layer of a buildpack.
type LayerData struct {
	SHA    string `json:"sha"`  // its diffID, "sha256:…"
	Data   any    `json:"data"` // the buildpack's own
	Build  bool   `json:"build"`
	Launch bool   `json:"launch"`
	Cache  bool   `json:"cache"`
}

// Store is what a buildpack wants to find again in the next build.
type Store struct {
	Data map[string]any `json:"metadata"`
}

// UsedRunImage is the run image that an app image stands on.
type UsedRunImage struct {
	TopLayer  string `json:"topLayer"`  // diffID of the run image's last layer
	Reference string `json:"reference"` // name with the digest of the manifest
	RunImage
}

// RunImage names a run image and the places it is also found at.
type RunImage struct {
	Image   string   `json:"image,omitempty"`
	Mirrors []string `json:"mirrors,omitempty"`
}

// Names gives the image and its mirrors.
func (r RunImage) Names() []string {
	if r.Image == "" {
		return nil
	}
	return append([]string{r.Image}, r.Mirrors...)
}

// Stack is where the run image was named before Platform API 0.12.
type Stack struct {
	RunImage RunImage `json:"runImage"`
}

// BuildMetadata is what the exporter notes of the build (platform.md,
// "io.buildpacks.build.metadata").
type BuildMetadata struct {
	Buildpacks []BuildpackID `json:"buildpacks"`
	Launcher   Launcher      `json:"launcher"`
	Processes  []Process     `json:"processes"`
	Default    string        `json:"buildpack-default-process-type,omitempty"` // a process type, if the user named none
}

// BuildpackID is a buildpack that took part.
type BuildpackID struct {
	ID       string `json:"id"`
	Version  string `json:"version"`
	Homepage string `json:"homepage,omitempty"`
}

// Launcher is the program that starts the processes.
type Launcher struct {
	Version string `json:"version"`
	Source  struct {
		Git struct {
			Repository string `json:"repository"`
			Commit     string `json:"commit"`
		} `json:"git"`
	} `json:"source"`
}

// Process is a way to start the app.
type Process struct {
	Type             string   `json:"type"`
	Command          Command  `json:"command"`
	Args             []string `json:"args"`
	Direct           bool     `json:"direct"` // without a shell
	Default          bool     `json:"default,omitempty"`
	BuildpackID      string   `json:"buildpackID"`
	WorkingDirectory string   `json:"working-dir,omitempty"`
}

// Command is a program and the arguments that always come first. Before Platform API 0.10
// it is written as one text.
type Command []string

// UnmarshalJSON implements json.Unmarshaler.
func (c *Command) UnmarshalJSON(text []byte) error {
	if string(text) == "null" {
		return nil
	}
	var alone string
	if json.Unmarshal(text, &alone) == nil {
		*c = Command{alone}
		return nil
	}
	return json.Unmarshal(text, (*[]string)(c))
}

// ProjectMetadata says where the source came from (platform.md,
// "io.buildpacks.project.metadata").
type ProjectMetadata struct {
	Source *ProjectSource `json:"source,omitempty"`
}

// ProjectSource is one source; the keys of the maps depend on its type.
type ProjectSource struct {
	Type     string         `json:"type,omitempty"`
	Version  map[string]any `json:"version,omitempty"`
	Metadata map[string]any `json:"metadata,omitempty"`
}

// DecodeLabel reads a label that holds JSON into v. An absent or empty one leaves v alone.
func DecodeLabel(config *v1.ConfigFile, label string, v any) error {
	text := config.Config.Labels[label]
	if text == "" {
		return nil
	}
	return json.Unmarshal([]byte(text), v)
}
