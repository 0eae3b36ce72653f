package source

import (
	"context"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/oci"
)

// unpackAnnotation is set by ORAS on a layer that is a folder: its tar has that folder as
// its only top.
const unpackAnnotation = "io.deis.oras.content.unpack"

// readImage unpacks the layers of an image or artifact, which must not overlap.
func (j *job) readImage(ctx context.Context, s *artifact.Source) error {
	ref, err := oci.Parse(j.at)
	if err != nil {
		return err
	}
	if j.Images == nil {
		return j.usage("there is no registry to read it from", "")
	}
	image, manifest, err := j.image(ctx, ref)
	if err != nil {
		return err
	}
	digest, err := image.Digest()
	if err != nil {
		return err
	}
	name, _, _ := strings.Cut(ref.String(), "@")
	s.Location = "oci://" + strings.TrimSuffix(name, ":"+ref.Identifier())
	if !strings.HasPrefix(ref.Identifier(), "sha256:") {
		s.Ref = ref.Identifier()
	}
	s.Revision, s.Clean = digest.String(), true
	if err := j.unpackLayers(ctx, image, manifest); err != nil {
		return err
	}
	isFolder := slices.ContainsFunc(manifest.Layers, func(d v1.Descriptor) bool { return d.Annotations[unpackAnnotation] == "true" })
	return j.arrange(isFolder && !j.options.KeepTop)
}

// image reads the one image that the reference names.
func (j *job) image(ctx context.Context, ref oci.Reference) (v1.Image, *v1.Manifest, error) {
	d, err := j.Images.Get(ctx, ref)
	if err != nil {
		return nil, nil, err
	}
	if d.MediaType.IsIndex() {
		return nil, nil, fault.Newf(fault.Usage, "read source", j.shown, "it is an index of several images").
			WithHint("name one of them by its digest: name@sha256:…")
	}
	image, err := d.Image()
	if err != nil {
		return nil, nil, err
	}
	manifest, err := image.Manifest()
	return image, manifest, err
}

func (j *job) unpackLayers(ctx context.Context, image v1.Image, manifest *v1.Manifest) error {
	const name = "unpack layers"
	var size int64
	for _, layer := range manifest.Layers {
		size += layer.Size
	}
	if err := j.tree.allow(size); err != nil {
		return err
	}
	layers, err := image.Layers()
	if err != nil {
		return err
	}
	j.stage(name, 0, len(layers))
	for i, layer := range layers {
		if err := j.unpackLayer(ctx, layer); err != nil {
			return j.unreadable(ctx, err)
		}
		j.stage(name, i+1, len(layers))
	}
	for at := range j.tree.entries {
		if strings.HasPrefix(path.Base(at), ".wh.") {
			return j.tree.refuse(at, "it takes away what a layer below holds; a source's layers only add")
		}
	}
	return nil
}

// unpackLayer reads a layer to its end, where its digest is checked.
func (j *job) unpackLayer(ctx context.Context, layer v1.Layer) error {
	r, err := layer.Compressed()
	if err != nil {
		return err
	}
	defer r.Close()
	if err := j.untar(ctx, r); err != nil {
		return err
	}
	if _, err := io.Copy(io.Discard, r); err != nil {
		return fmt.Errorf("a layer is not what its digest says: %w", err)
	}
	return nil
}
