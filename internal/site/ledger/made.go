package ledger

import (
	"context"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/partial"

	"plimsoll.dev/plimsoll/internal/oci"
)

// Made is an index and all its images, or a single image without one.
type Made struct {
	Index v1.ImageIndex // nil for a single image
	Image v1.Image
}

// push writes it to the reference.
func (m Made) push(ctx context.Context, registries *oci.Registries, ref oci.Reference) error {
	if m.Index != nil {
		return registries.PutIndex(ctx, ref, m.Index)
	}
	return registries.PutImage(ctx, ref, m.Image)
}

// manifest gives the descriptor and the bytes of what the reference will name.
func (m Made) manifest() (v1.Descriptor, []byte, error) {
	var top partial.Describable = m.Image
	raw := m.Image.RawManifest
	if m.Index != nil {
		top, raw = m.Index, m.Index.RawManifest
	}
	d, err := partial.Descriptor(top)
	if err != nil {
		return v1.Descriptor{}, nil, err
	}
	text, err := raw()
	return *d, text, err
}

// Digest gives that of what the reference will name.
func (m Made) Digest() (v1.Hash, error) {
	if m.Index != nil {
		return m.Index.Digest()
	}
	return m.Image.Digest()
}
