package cli

import (
	"context"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/partial"

	"plimsoll.dev/plimsoll/internal/oci"
)

// pushable is an index and all its images, or a single image without one.
type pushable struct {
	index v1.ImageIndex // nil for a single image
	image v1.Image
}

// push writes it to the reference.
func (p pushable) push(ctx context.Context, registries *oci.Registries, ref oci.Reference) error {
	if p.index != nil {
		return registries.PutIndex(ctx, ref, p.index)
	}
	return registries.PutImage(ctx, ref, p.image)
}

// manifest gives the descriptor and the bytes of what the reference will name.
func (p pushable) manifest() (v1.Descriptor, []byte, error) {
	var top partial.Describable = p.image
	raw := p.image.RawManifest
	if p.index != nil {
		top, raw = p.index, p.index.RawManifest
	}
	d, err := partial.Descriptor(top)
	if err != nil {
		return v1.Descriptor{}, nil, err
	}
	text, err := raw()
	return *d, text, err
}

// digest gives "sha256:…" of what the reference will name.
func (p pushable) digest() (string, error) {
	digest := p.image.Digest
	if p.index != nil {
		digest = p.index.Digest
	}
	hash, err := digest()
	return hash.String(), err
}
