package build

import (
	"context"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"plimsoll.dev/plimsoll/internal/build/cnb"
	"plimsoll.dev/plimsoll/internal/fault"
)

// previous is the image that the tag names before the build: what is the same in both is
// not made again.
type previous struct {
	image       v1.Image
	config      *v1.ConfigFile
	annotations map[string]string
}

// lookBack reads the image that is there, if there is one. An image that no lifecycle made,
// or that is not believed, is as none.
func (j *job) lookBack(ctx context.Context) error {
	if j.request.Fresh {
		return nil
	}
	image, err := j.platform.Registries.Image(ctx, j.request.Tag, j.architecture)
	if fault.KindOf(err) == fault.NotFound {
		return nil
	}
	if err != nil {
		return err
	}
	config, err := image.ConfigFile()
	if err != nil {
		return fault.New(fault.Failed, "read previous image", j.request.Tag.String(), err)
	}
	manifest, err := image.Manifest()
	if err != nil {
		return fault.New(fault.Failed, "read previous image", j.request.Tag.String(), err)
	}
	believed, err := j.believes(ctx, image)
	if err != nil {
		return err
	}
	if believed && config.Config.Labels[cnb.LifecycleMetadataLabel] != "" {
		j.previous = &previous{image: image, config: config, annotations: manifest.Annotations}
	}
	return nil
}

// believes tells whether the image is one of ours. Who can push could else have layers of
// his taken over, or a build left out.
func (j *job) believes(ctx context.Context, image v1.Image) (bool, error) {
	if j.request.Believe == nil {
		return true, nil
	}
	digest, err := image.Digest()
	if err != nil {
		return false, fault.New(fault.Failed, "read previous image", j.request.Tag.String(), err)
	}
	return j.request.Believe(ctx, digest)
}

// current tells whether the image that is there was built from just this, on a run image
// that the builder still names and that is still the same.
func (j *job) current(ctx context.Context) bool {
	if j.previous == nil || j.previous.annotations[InputsAnnotation] != j.inputs() {
		return false
	}
	for _, run := range j.builder.RunImages {
		if run.Image != j.previous.annotations[BaseNameAnnotation] {
			continue
		}
		now, err := j.platform.runImage(ctx, run.RunImage, j.request.Tag, j.architecture)
		if err != nil {
			return false // the build itself will say so
		}
		j.run = *now
		return now.digest == j.previous.annotations[BaseDigestAnnotation]
	}
	return false
}

// unchanged describes the image that is there.
func (j *job) unchanged() (*Built, error) {
	built, err := j.describe(j.previous.image, j.previous.config)
	if err != nil {
		return nil, fault.New(fault.Failed, "read previous image", j.subject(), err)
	}
	built.Unchanged = true
	for i := range built.Layers {
		built.Layers[i].Reused = true
	}
	return built, nil
}

// write puts the image where the lifecycle finds it, with the layer that holds the bills
// of materials: those of layers that are reused are taken from it.
func (p *previous) write(dir string) error {
	var metadata cnb.LifecycleMetadata
	var blobs []v1.Layer
	if err := cnb.DecodeLabel(p.config, cnb.LifecycleMetadataLabel, &metadata); err == nil && metadata.SBOM != nil {
		if layer := p.layer(metadata.SBOM.SHA); layer != nil {
			blobs = append(blobs, layer)
		}
	}
	return writeSparse(dir, p.image, blobs...)
}

// layer gives the layer with the diffID, or nil.
func (p *previous) layer(diffID string) v1.Layer {
	if p == nil {
		return nil
	}
	hash, err := v1.NewHash(diffID)
	if err != nil {
		return nil
	}
	layer, err := p.image.LayerByDiffID(hash)
	if err != nil {
		return nil
	}
	return layer
}
