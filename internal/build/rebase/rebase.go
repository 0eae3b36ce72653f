// Package rebase takes app images and the newer run images they should stand on and gives
// the same apps on those: new configurations and manifests, while no layer is read.
//
// The rules are those of the Cloud Native Buildpacks lifecycle (buildpacks/spec,
// platform.md, "rebaser"): the same images are refused, and the configuration of the
// result is the same to the byte. The manifest keeps more: its media type, its
// annotations, and those of the layers, with which a base accounts for its packages.
package rebase

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"plimsoll.dev/plimsoll/internal/build/cnb"
	"plimsoll.dev/plimsoll/internal/fault"
)

// Image is all that a rebase looks at.
type Image struct {
	Manifest *v1.Manifest
	Config   *v1.ConfigFile
}

// Base is a run image.
type Base struct {
	Image
	Name       string  // as the user or the app's metadata gives it
	Repository string  // of that name
	Digest     v1.Hash // of its manifest
}

// reference is how a base is noted in an app's metadata.
func (b Base) reference() string { return b.Repository + "@" + b.Digest.String() }

// Options changes how Rebase decides.
type Options struct {
	Force bool // rebase against the rules of Platform API 0.12 and later
}

// Rebased is an app on its new base.
type Rebased struct {
	Image                     // the manifest names the configuration
	RawConfig []byte          // the configuration as it is to be pushed
	Unchanged bool            // the app stood on that base already; Image is the old one
	OldBase   []v1.Descriptor // the layers that were the base
	Forced    []string        // what Force did in spite of
}

// epoch is the time that the lifecycle gives all it makes, so that it can be made again.
var epoch = v1.Time{Time: time.Date(1980, time.January, 1, 0, 0, 1, 0, time.UTC)}

// Rebase gives the app on the base, or says why it must not be. It changes neither.
func Rebase(app Image, base Base, o Options) (*Rebased, error) {
	r := &Rebased{Image: app}
	if err := r.check(app, base, o); err != nil {
		return nil, err
	}
	var metadata cnb.LifecycleMetadata
	if err := cnb.DecodeLabel(app.Config, cnb.LifecycleMetadataLabel, &metadata); err != nil {
		return nil, refuse("", "its label %s is not valid: %v", cnb.LifecycleMetadataLabel, err)
	}
	cut, err := baseLayers(app, metadata.RunImage.TopLayer)
	if err != nil {
		return nil, err
	}
	if err := wellFormed(base.Image); err != nil {
		return nil, refuse("", "the run image %s %v", base.Name, err)
	}
	known := knows(metadata, base.Name)
	if !known && !o.Force {
		return nil, refuse("name one of its own run images, or accept this one with --force",
			"its metadata does not name the run image %s, but %s", base.Name, named(metadata))
	}
	r.OldBase = app.Manifest.Layers[:cut]
	layers := base.Config.RootFS.DiffIDs
	if known && slices.Equal(app.Config.RootFS.DiffIDs[:cut], layers) &&
		strings.HasSuffix(metadata.RunImage.Reference, "@"+base.Digest.String()) {
		r.Unchanged = true
		return r, nil
	}
	if !known {
		r.Forced = append(r.Forced, "its metadata named another run image: "+named(metadata))
		metadata.RunImage.RunImage = cnb.RunImage{Image: base.Name}
		metadata.Stack = &cnb.Stack{RunImage: metadata.RunImage.RunImage}
	}
	metadata.RunImage.TopLayer = layers[len(layers)-1].String()
	metadata.RunImage.Reference = base.reference()
	if r.Config, err = config(app, base, cut, metadata); err != nil {
		return nil, err
	}
	if r.RawConfig, err = json.Marshal(r.Config); err != nil {
		return nil, err
	}
	r.Manifest, err = manifest(app.Manifest, base, cut, r.RawConfig)
	return r, err
}

// baseLayers gives how many of the app's layers are its base's.
func baseLayers(app Image, top string) (int, error) {
	if err := wellFormed(app); err != nil {
		return 0, refuse("", "it %v", err)
	}
	for i, diffID := range app.Config.RootFS.DiffIDs {
		if diffID.String() == top {
			return i + 1, nil
		}
	}
	if top == "" {
		return 0, refuse("only images made by buildpacks can be rebased; build it again",
			"its label %s does not say where its base ends", cnb.LifecycleMetadataLabel)
	}
	return 0, refuse("build it again", "the last layer of its base, %s, is not in it", top)
}

// wellFormed tells whether configuration and manifest speak of the same layers.
func wellFormed(i Image) error {
	layers, described := len(i.Manifest.Layers), 0
	for _, h := range i.Config.History {
		if !h.EmptyLayer {
			described++
		}
	}
	switch {
	case layers == 0:
		return fmt.Errorf("has no layers")
	case layers != len(i.Config.RootFS.DiffIDs):
		return fmt.Errorf("is malformed: %d layers in the manifest, %d in the configuration", layers, len(i.Config.RootFS.DiffIDs))
	case described > layers:
		return fmt.Errorf("is malformed: %d layers, a history of %d", layers, described)
	}
	return nil
}

// config gives the app's configuration on the base: it keeps what the app runs, and takes
// layers, platform and labels of the base. Whatever else the old one said of its making
// (author, history) is dropped, as the lifecycle does.
func config(app Image, base Base, cut int, metadata cnb.LifecycleMetadata) (*v1.ConfigFile, error) {
	label, err := json.Marshal(metadata)
	if err != nil {
		return nil, err
	}
	file := &v1.ConfigFile{
		Architecture: base.Config.Architecture, OS: base.Config.OS, OSVersion: base.Config.OSVersion,
		Created: epoch,
		Config:  *app.Config.Config.DeepCopy(),
		RootFS:  v1.RootFS{Type: "layers", DiffIDs: slices.Concat(base.Config.RootFS.DiffIDs, app.Config.RootFS.DiffIDs[cut:])},
	}
	file.History = slices.Repeat([]v1.History{{Created: epoch}}, len(file.RootFS.DiffIDs))
	labels := file.Config.Labels
	for name := range labels {
		if ofBase(name) {
			delete(labels, name)
		}
	}
	for name, value := range base.Config.Config.Labels {
		if ofBase(name) {
			labels[name] = value
		}
	}
	labels[cnb.LifecycleMetadataLabel] = string(label)
	return file, nil
}

// ofBase tells labels that an app image has from its run image.
func ofBase(label string) bool {
	return strings.HasPrefix(label, cnb.StackLabelPrefix) || strings.HasPrefix(label, cnb.BaseLabelPrefix)
}

// Annotations that say what an image stands on (OCI image-spec, annotations.md).
const (
	baseNameAnnotation   = "org.opencontainers.image.base.name"
	baseDigestAnnotation = "org.opencontainers.image.base.digest"
)

// manifest gives the app's manifest on the base. It stays what it was, OCI's or Docker's;
// but on an OCI base it becomes OCI's, for Docker's has no place for what the base says
// of its layers.
func manifest(app *v1.Manifest, base Base, cut int, rawConfig []byte) (*v1.Manifest, error) {
	digest, size, err := v1.SHA256(bytes.NewReader(rawConfig))
	if err != nil {
		return nil, err
	}
	m := app.DeepCopy()
	m.Layers = append(base.Manifest.DeepCopy().Layers, m.Layers[cut:]...)
	m.Config = v1.Descriptor{MediaType: types.DockerConfigJSON, Digest: digest, Size: size}
	if isDocker(app) && isDocker(base.Manifest) {
		return m, nil
	}
	m.MediaType, m.Config.MediaType = types.OCIManifestSchema1, types.OCIConfigJSON
	for i := range m.Layers {
		m.Layers[i].MediaType = ociLayer(m.Layers[i].MediaType)
	}
	m.Annotations = onBase(m.Annotations, base.Name, base.Digest)
	return m, nil
}

// onBase gives the annotations with the base named.
func onBase(annotations map[string]string, name string, digest v1.Hash) map[string]string {
	if annotations == nil {
		annotations = map[string]string{}
	}
	annotations[baseNameAnnotation] = name
	annotations[baseDigestAnnotation] = digest.String()
	return annotations
}

func isDocker(m *v1.Manifest) bool { return m.MediaType == types.DockerManifestSchema2 }

// ociLayer gives OCI's name of a layer's media type.
func ociLayer(t types.MediaType) types.MediaType {
	switch t {
	case types.DockerLayer:
		return types.OCILayer
	case types.DockerUncompressedLayer:
		return types.OCIUncompressedLayer
	case types.DockerForeignLayer:
		return types.OCIRestrictedLayer
	}
	return t
}

// knows tells whether the app's metadata names the run image, whatever its digest.
func knows(metadata cnb.LifecycleMetadata, name string) bool {
	names := metadata.RunImage.Names()
	if metadata.Stack != nil {
		names = append(names, metadata.Stack.RunImage.Names()...)
	}
	return slices.ContainsFunc(names, func(n string) bool { return canonical(n) == canonical(name) })
}

// named says which run image the metadata names.
func named(metadata cnb.LifecycleMetadata) string {
	if names := metadata.NamedRunImage().Names(); len(names) > 0 {
		return strings.Join(names, ", ")
	}
	return "none"
}

// refuse says what about an image forbids its rebase.
func refuse(hint, format string, args ...any) error {
	return &fault.Error{What: fmt.Sprintf(format, args...), Hint: hint}
}
