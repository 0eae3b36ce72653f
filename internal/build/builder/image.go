package builder

import (
	"context"
	"encoding/json"
	"fmt"
	"path"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"plimsoll.dev/plimsoll/internal/build/cnb"
	"plimsoll.dev/plimsoll/internal/fault"
)

// LayerAnnotation, of layer descriptors in the manifest of a builder, tells what is in each
// layer that is not its base's: "lifecycle", "ID@VERSION" of a buildpack, or "config".
const LayerAnnotation = "dev.plimsoll.builder.layer"

// addition is a layer on top of the base.
type addition struct {
	Layer
	blob v1.Layer
}

// layersOf makes the layers on top of the base, and tells each module its own.
func (w *work) layersOf(ctx context.Context, t *target, life *lifecycle, modules []*module, order cnb.Order) ([]addition, error) {
	total := len(modules) + 2
	stage := "writing layers for " + t.architecture
	w.progress(stage, 0, total)
	var all []addition
	add := func(name string, files tree) (v1.Layer, error) {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		blob, fresh, err := w.layers.Of(files.write)
		if err != nil {
			return nil, fault.New(fault.Failed, "write layer", name, err)
		}
		all = append(all, addition{Layer{name, blob.Sum.String(), blob.Bytes, !fresh}, blob})
		w.progress(stage, len(all), total)
		return blob, nil
	}
	if _, err := add("lifecycle", life.files); err != nil {
		return nil, err
	}
	for _, m := range modules {
		var err error
		if m.layer == nil {
			if m.layer, err = add(m.Buildpack.String(), m.files); err != nil {
				return nil, err
			}
			continue
		}
		if all, err = w.addPackaged(all, m); err != nil {
			return nil, err
		}
	}
	_, err := add("config", w.config(t, order))
	return all, err
}

// addPackaged adds the layer of a packaged buildpack, unless another of its package, which
// shares it, did.
func (w *work) addPackaged(all []addition, m *module) ([]addition, error) {
	digest, err := m.layer.Digest()
	if err != nil {
		return nil, w.spec.wrap(m.field, err, "")
	}
	size, err := m.layer.Size()
	if err != nil {
		return nil, w.spec.wrap(m.field, err, "")
	}
	for _, a := range all {
		if a.Digest == digest.String() {
			return all, nil
		}
	}
	return append(all, addition{Layer{m.Buildpack.String(), digest.String(), size, true}, m.layer}), nil
}

// config gives what tells the lifecycle about the builder, and the folders it works in.
func (w *work) config(t *target, order cnb.Order) tree {
	spec, files := &w.spec.Builder.Spec, tree{}
	files.putText(cnb.OrderPath, cnb.OrderTOML(order))
	files.putText(cnb.RunPath, cnb.RunTOML(w.runImages()))
	files.putText(cnb.StackPath, cnb.StackTOML(w.runImages()[0]))
	files.putFolder(cnb.AppDir, t.uid, t.gid)
	files.putFolder(cnb.LayersDir, t.uid, t.gid)
	files.putFolder(path.Join(cnb.PlatformDir, "env"), 0, 0)
	files.putFolder(path.Join(cnb.BuildConfigDir, "env"), 0, 0)
	for name, value := range spec.Environment {
		files.putText(path.Join(cnb.BuildConfigDir, "env", name), value)
	}
	return files
}

func (w *work) runImages() []cnb.RunImage {
	var images []cnb.RunImage
	for _, run := range w.spec.Builder.Spec.Run {
		images = append(images, cnb.RunImage{Image: run.Image, Mirrors: run.Mirrors})
	}
	return images
}

// assemble puts the image together.
func (w *work) assemble(t *target, life *lifecycle, modules []*module, order cnb.Order, layers []addition) (Built, error) {
	built := Built{Architecture: t.architecture}
	for i, run := range w.spec.Builder.Spec.Run {
		built.Run = append(built.Run, Base{run.Image, t.run[i].digest.String()})
	}
	base, err := t.build.image.Manifest()
	if err != nil {
		return built, err
	}
	for _, l := range base.Layers {
		built.BaseSize += l.Size
	}
	built.BaseLayers = len(base.Layers)
	var additions []mutate.Addendum
	for _, l := range layers {
		built.Layers = append(built.Layers, l.Layer)
		additions = append(additions, mutate.Addendum{
			Layer:       l.blob,
			History:     v1.History{CreatedBy: "plimsoll builder: " + l.Name, Created: v1.Time{Time: epoch}},
			Annotations: map[string]string{LayerAnnotation: l.Name},
		})
	}
	image := mutate.ConfigMediaType(mutate.MediaType(t.build.image, types.OCIManifestSchema1), types.OCIConfigJSON)
	if image, err = mutate.Append(image, additions...); err != nil {
		return built, err
	}
	config, err := image.ConfigFile()
	if err != nil {
		return built, err
	}
	config = config.DeepCopy()
	if err := w.configure(config, t, life, modules, order); err != nil {
		return built, err
	}
	if image, err = mutate.ConfigFile(image, config); err != nil {
		return built, err
	}
	built.Image = mutate.Annotations(image, map[string]string{
		"org.opencontainers.image.base.name":   w.spec.Builder.Spec.Build.Image,
		"org.opencontainers.image.base.digest": t.build.digest.String(),
	}).(v1.Image)
	digest, err := built.Image.Digest()
	built.Digest = digest.String()
	return built, err
}

// configure says in the image's configuration what a platform must know of the builder
// (extensions/builder.md).
func (w *work) configure(config *v1.ConfigFile, t *target, life *lifecycle, modules []*module, order cnb.Order) error {
	c := &config.Config
	c.User = fmt.Sprintf("%d:%d", t.uid, t.gid)
	c.WorkingDir = cnb.LayersDir
	c.Env = setenv(c.Env, "CNB_APP_DIR", cnb.AppDir)
	c.Env = setenv(c.Env, "CNB_LAYERS_DIR", cnb.LayersDir)
	c.Env = setenv(c.Env, "CNB_PLATFORM_DIR", cnb.PlatformDir)
	if c.Labels == nil {
		c.Labels = map[string]string{}
	}
	delete(c.Labels, approvedLabel) // what is built in is not to be run on
	c.Labels[cnb.BuilderAPILabel] = "0.1"
	c.Labels[cnb.LifecycleVersionLabel] = life.Version
	metadata := cnb.BuilderMetadata{
		Description: w.spec.Builder.Spec.Description,
		RunImages:   w.runImages(),
		Stack:       cnb.Stack{RunImage: w.runImages()[0]},
		Lifecycle:   life.LifecycleInfo,
		// Without a version: the same parts are to make the same image.
		CreatedBy: cnb.Creator{Name: "plimsoll"},
	}
	layers := cnb.BuildpackLayers{}
	for _, m := range modules {
		metadata.Buildpacks = append(metadata.Buildpacks, m.Buildpack)
		diffID, err := m.layer.DiffID()
		if err != nil {
			return w.spec.wrap(m.field, err, "")
		}
		if layers[m.Buildpack.ID] == nil {
			layers[m.Buildpack.ID] = map[string]cnb.BuildpackLayer{}
		}
		layers[m.Buildpack.ID][m.Buildpack.Version] = cnb.BuildpackLayer{
			API: m.API, Stacks: m.Stacks, Targets: m.Targets, Order: m.Order, LayerDiffID: diffID.String(),
			Homepage: m.Buildpack.Homepage, Name: m.Buildpack.Name,
		}
	}
	for label, value := range map[string]any{
		cnb.BuilderMetadataLabel: metadata,
		cnb.BuildpackLayersLabel: layers,
		cnb.OrderLabel:           order,
		cnb.LifecycleAPIsLabel:   life.APIs,
		OriginLabel:              w.origin(t),
	} {
		text, err := json.Marshal(value)
		if err != nil {
			return err
		}
		c.Labels[label] = string(text)
	}
	return nil
}

// origin says what the builder was made of.
func (w *work) origin(t *target) Origin {
	o := Origin{Build: Base{Image: w.spec.Builder.Spec.Build.Image, Digest: t.build.digest.String()}}
	for _, run := range w.spec.Builder.Spec.Run {
		o.Run = append(o.Run, Choice{run.Image, run.Buildpacks})
	}
	return o
}

func setenv(env []string, name, value string) []string {
	var kept []string
	for _, pair := range env {
		if !strings.HasPrefix(pair, name+"=") {
			kept = append(kept, pair)
		}
	}
	return append(kept, name+"="+value)
}

// indexOf gives the OCI index of the images (image-spec, image-index.md).
func indexOf(images []Built) v1.ImageIndex {
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for _, b := range images {
		index = mutate.AppendManifests(index, mutate.IndexAddendum{
			Add:        b.Image,
			Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: b.Architecture}},
		})
	}
	return index
}

func (m *Maker) progress(stage string, done, total int) {
	if m.Progress != nil {
		m.Progress(stage, done, total)
	}
}
