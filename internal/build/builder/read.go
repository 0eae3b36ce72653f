package builder

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"plimsoll.dev/plimsoll/internal/build/cnb"
	"plimsoll.dev/plimsoll/internal/fault"
)

// OriginLabel is on the builders made here, and holds an Origin.
const OriginLabel = "dev.plimsoll.builder"

// Origin is what a builder was made of, and which run image it picks. What a run image was then is
// not part of it: a builder holds nothing of them, and is no other one when they change.
type Origin struct {
	Build Base     `json:"build"`
	Run   []Choice `json:"run"` // the first is the default
}

// Base is a base when a builder was made.
type Base struct {
	Image  string `json:"image"`  // REF
	Digest string `json:"digest"` // "sha256:…" of the manifest for the builder's architecture
}

// Choice is a run image, and whose applications run on it.
type Choice struct {
	Image      string   `json:"image"`                // REF
	Buildpacks []string `json:"buildpacks,omitempty"` // ids; none is the default
}

// Builder is a builder image, whoever made it.
type Builder struct {
	Image        v1.Image
	Architecture string
	Description  string
	UID, GID     int      // as whom build steps run
	Env          []string // "NAME=value"; for all build steps
	Lifecycle    cnb.LifecycleInfo
	Buildpacks   []cnb.BuildpackInfo
	Layers       cnb.BuildpackLayers
	Order        cnb.Order
	Extensions   bool       // it has image extensions
	RunImages    []RunImage // the first is the default; may be none
	Distro       cnb.Distro // zero when the image does not say
	StackID      string     // "" on builders newer than stacks
	Mixins       []string
	Origin       *Origin // nil on the builders of others
}

// RunImage is what applications run on.
type RunImage struct {
	cnb.RunImage
	Buildpacks []string // ids of those that need it; none for the default
}

// Read reads a builder image (extensions/builder.md) of any maker. The name is for errors.
func Read(name string, image v1.Image) (*Builder, error) {
	b, err := readBuilder(image)
	if err != nil {
		return nil, fault.New(fault.Usage, "read builder", name, err).
			WithHint(`name an image that "plimsoll builder build" made, or another builder of Cloud Native Buildpacks`)
	}
	return b, nil
}

func readBuilder(image v1.Image) (*Builder, error) {
	config, err := image.ConfigFile()
	if err != nil {
		return nil, err
	}
	if config.Config.Labels[cnb.BuilderMetadataLabel] == "" {
		return nil, fmt.Errorf("it is no builder: it lacks the label %s", cnb.BuilderMetadataLabel)
	}
	if config.OS != "linux" {
		return nil, fmt.Errorf("it is for %q: only builders for linux are run", config.OS)
	}
	b := &Builder{
		Image: image, Architecture: config.Architecture, Env: config.Config.Env,
		StackID: config.Config.Labels[cnb.StackIDLabel],
		Distro:  cnb.Distro{Name: config.Config.Labels[cnb.DistroNameLabel], Version: config.Config.Labels[cnb.DistroVersionLabel]},
	}
	var metadata cnb.BuilderMetadata
	for label, value := range map[string]any{
		cnb.BuilderMetadataLabel: &metadata,
		cnb.BuildpackLayersLabel: &b.Layers,
		cnb.OrderLabel:           &b.Order,
		cnb.StackMixinsLabel:     &b.Mixins,
		OriginLabel:              &b.Origin,
	} {
		if err := cnb.DecodeLabel(config, label, value); err != nil {
			return nil, fmt.Errorf("label %s: %w", label, err)
		}
	}
	b.Description, b.Buildpacks, b.Extensions = metadata.Description, metadata.Buildpacks, len(metadata.Extensions) > 0
	if b.Lifecycle, err = lifecycleOf(config); err != nil {
		return nil, err
	}
	if b.UID, b.GID, err = user(config); err != nil {
		return nil, err
	}
	if len(b.Order) == 0 {
		return nil, fmt.Errorf("it has no order of buildpacks: it lacks the label %s", cnb.OrderLabel)
	}
	b.RunImages = runImages(metadata, b.Origin)
	return b, nil
}

// runImages gives the run images of the metadata: those of run.toml, or the one of
// stack.toml on builders from before there was a choice.
func runImages(metadata cnb.BuilderMetadata, origin *Origin) []RunImage {
	all := metadata.RunImages
	if stack := metadata.Stack.RunImage; len(all) == 0 && stack.Image != "" {
		all = []cnb.RunImage{stack}
	}
	var images []RunImage
	for _, image := range all {
		run := RunImage{RunImage: image}
		if origin != nil {
			for _, choice := range origin.Run {
				if choice.Image == image.Image {
					run.Buildpacks = choice.Buildpacks
				}
			}
		}
		images = append(images, run)
	}
	return images
}

// RunImageFor gives the run image for an application that the buildpacks with these ids
// build: the one that names one of them, or the default.
func (b *Builder) RunImageFor(ids []string) (RunImage, error) {
	var picked []RunImage
	var names []string
	for _, run := range b.RunImages {
		if slices.ContainsFunc(run.Buildpacks, func(id string) bool { return slices.Contains(ids, id) }) {
			picked, names = append(picked, run), append(names, run.Image)
		}
	}
	switch {
	case len(picked) == 1:
		return picked[0], nil
	case len(picked) > 1:
		return RunImage{}, fault.Newf(fault.Usage, "pick run image", strings.Join(ids, " "), "its buildpacks need several: "+strings.Join(names, ", ")).
			WithHint("name one that has what all of them need with --run-image")
	case len(b.RunImages) == 0:
		return RunImage{}, fault.New(fault.Usage, "pick run image", "", errors.New("the builder names none")).
			WithHint("name one with --run-image")
	}
	return b.RunImages[0], nil
}
