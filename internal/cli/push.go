package cli

import (
	"context"

	v1 "github.com/google/go-containerregistry/pkg/v1"

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

// digest gives "sha256:…" of what the reference will name.
func (p pushable) digest() (string, error) {
	digest := p.image.Digest
	if p.index != nil {
		digest = p.index.Digest
	}
	hash, err := digest()
	return hash.String(), err
}
