package build

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"

	"plimsoll.dev/plimsoll/internal/build/cnb"
)

// Annotations of an application image's manifest (OCI image-spec, annotations.md), and
// ours beside them.
const (
	SourceAnnotation     = "org.opencontainers.image.source"
	RevisionAnnotation   = "org.opencontainers.image.revision"
	CreatedAnnotation    = "org.opencontainers.image.created"
	BaseNameAnnotation   = "org.opencontainers.image.base.name"
	BaseDigestAnnotation = "org.opencontainers.image.base.digest"

	SourceDigestAnnotation  = "dev.plimsoll.source.digest"  // of the source's tree
	SourceSubpathAnnotation = "dev.plimsoll.source.subpath" // the folder of the source
	BuilderAnnotation       = "dev.plimsoll.builder"        // REF@digest
	InputsAnnotation        = "dev.plimsoll.build.inputs"   // sha256 of all that a build depends on but the run image
	OverridesAnnotation     = "dev.plimsoll.overrides"      // what bore on the source: []Overridden as JSON; absent for none
)

// account takes what the exporter made and gives the image: the run image's own layers as
// they are, the application's upon them, and what is known of how it came about.
func (j *job) account() (*Built, error) {
	if err := sound(j.work.path("layout")); err != nil {
		return nil, err
	}
	out, err := readExported(inLayout(j.work.path("layout"), layoutApp), j.run.config)
	if err != nil {
		return nil, err
	}
	image, base := j.run.image, len(j.run.config.RootFS.DiffIDs)
	reused := map[string]bool{}
	for i, layer := range out.layers {
		diffID := out.config.RootFS.DiffIDs[base+i].String()
		if old := j.previous.layer(diffID); old != nil {
			layer, reused[diffID] = old, true
		}
		if layer == nil {
			return nil, fmt.Errorf("the exporter left out the layer %s", diffID)
		}
		if image, err = mutate.AppendLayers(image, layer); err != nil {
			return nil, err
		}
	}
	config := out.config.DeepCopy()
	if err := j.label(config); err != nil {
		return nil, err
	}
	if image, err = mutate.ConfigFile(image, config); err != nil {
		return nil, err
	}
	built, err := j.describe(mutate.Annotations(image, j.annotations()).(v1.Image), config)
	if err != nil {
		return nil, err
	}
	for i := range built.Layers {
		built.Layers[i].Reused = reused[config.RootFS.DiffIDs[base+i].String()]
	}
	return built, nil
}

// describe gives the image with what its manifest and labels say of it.
func (j *job) describe(image v1.Image, config *v1.ConfigFile) (*Built, error) {
	built := &Built{
		Architecture: j.architecture, RunImage: j.run.choice.Image + "@" + j.run.digest,
		Phases: j.phases, Image: image,
	}
	digest, err := image.Digest()
	if err != nil {
		return nil, err
	}
	built.Digest = digest.String()
	manifest, err := image.Manifest()
	if err != nil {
		return nil, err
	}
	var exported cnb.LifecycleMetadata
	var metadata cnb.BuildMetadata
	for label, value := range map[string]any{cnb.LifecycleMetadataLabel: &exported, cnb.BuildMetadataLabel: &metadata} {
		if err := cnb.DecodeLabel(config, label, value); err != nil {
			return nil, fmt.Errorf("label %s: %w", label, err)
		}
	}
	known := exported.Layers()
	for i := len(j.run.config.RootFS.DiffIDs); i < len(manifest.Layers); i++ {
		about := known[config.RootFS.DiffIDs[i].String()]
		built.Layers = append(built.Layers, Layer{
			Name: about.Name, Buildpack: about.Buildpack, Digest: manifest.Layers[i].Digest.String(), Size: manifest.Layers[i].Size,
		})
	}
	for _, b := range metadata.Buildpacks {
		built.Buildpacks = append(built.Buildpacks, cnb.FullName(b.ID, b.Version))
	}
	for _, process := range metadata.Processes {
		built.Processes = append(built.Processes, process.Type)
	}
	return built, nil
}

// label sets what the exporter could not know: it saw folders, not registries.
func (j *job) label(config *v1.ConfigFile) error {
	if config.Config.Labels[cnb.LifecycleMetadataLabel] == "" {
		return fmt.Errorf("the exported image has no label %s", cnb.LifecycleMetadataLabel)
	}
	var metadata cnb.LifecycleMetadata
	if err := cnb.DecodeLabel(config, cnb.LifecycleMetadataLabel, &metadata); err != nil {
		return fmt.Errorf("label %s: %w", cnb.LifecycleMetadataLabel, err)
	}
	metadata.RunImage.Reference = j.run.ref.Repository() + "@" + j.run.digest
	text, err := json.Marshal(metadata)
	if err != nil {
		return err
	}
	config.Config.Labels[cnb.LifecycleMetadataLabel] = string(text)
	if url := j.source.URL(); url != "" {
		config.Config.Labels[SourceAnnotation] = url
	}
	if j.source.Clean && j.source.Revision != "" {
		config.Config.Labels[RevisionAnnotation] = j.source.Revision
	}
	return nil
}

func (j *job) annotations() map[string]string {
	a := map[string]string{
		BaseNameAnnotation:     j.run.choice.Image,
		BaseDigestAnnotation:   j.run.digest,
		SourceDigestAnnotation: j.source.Digest,
		BuilderAnnotation:      j.request.Builder.String() + "@" + j.builderDigest,
		InputsAnnotation:       j.inputs(),
		CreatedAnnotation:      lifecycleEpoch.Format(time.RFC3339),
	}
	if url := j.source.URL(); url != "" {
		a[SourceAnnotation] = url
	}
	if j.source.Clean && j.source.Revision != "" {
		a[RevisionAnnotation] = j.source.Revision
	}
	if j.source.Clean && !j.source.Time.IsZero() {
		a[CreatedAnnotation] = j.source.Time.UTC().Format(time.RFC3339)
	}
	if j.source.Subpath != "" {
		a[SourceSubpathAnnotation] = j.source.Subpath
	}
	if text, err := j.overrides.annotation(); err == nil && text != "" { // text can always be encoded
		a[OverridesAnnotation] = text
	}
	return a
}

// lifecycleEpoch is the time of everything that the lifecycle makes, unless it is told
// another (CNB platform.md, "Reproducibility").
var lifecycleEpoch = time.Date(1980, time.January, 1, 0, 0, 1, 0, time.UTC)

// recipe is part of every build's inputs: it changes when plimsoll makes other images of
// the same inputs.
const recipe = 1

// inputs is the hash of all that the image depends on but its run image. Bindings count by
// name only: they hold credentials, which change without the image changing. Mirrors and
// authorities do not count: they say from where, not what. Nor does the commit: another one
// with the same content is no reason to build.
func (j *job) inputs() string {
	in := struct {
		Recipe                          int
		Source, URL                     string
		Builder, Architecture, RunImage string
		Environment                     map[string]string
		Buildpacks, Bindings            []string
		Offline                         bool
		Process                         string
		Overrides                       string `json:",omitempty"`
	}{
		Recipe: recipe, Source: j.source.Digest, URL: j.source.URL(),
		Builder: j.builderDigest, Architecture: j.architecture, RunImage: j.request.RunImage,
		Environment: j.settings.Environment, Buildpacks: j.settings.Buildpacks,
		Offline: j.settings.Offline, Process: j.settings.Process,
		Overrides: j.overrides.bearing().Digest(),
	}
	for _, b := range j.settings.Bindings {
		in.Bindings = append(in.Bindings, b.Name)
	}
	text, err := json.Marshal(in)
	if err != nil {
		return "" // strings, numbers and maps of them can always be written
	}
	sum := sha256.Sum256(text)
	return "sha256:" + hex.EncodeToString(sum[:])
}
