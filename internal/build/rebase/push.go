package rebase

import (
	"bytes"
	"context"
	"encoding/json"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"plimsoll.dev/plimsoll/internal/oci"
)

// push writes all but the draft's own manifest: the tag moves last. It gives the bytes
// that were sent.
func (f *fleet) push(ctx context.Context, d *draft, to oci.Reference) (sent int64, err error) {
	for _, p := range d.parts {
		for i, layer := range p.Manifest.Layers {
			from := d.ref
			if i < len(p.on.Manifest.Layers) {
				from = p.from
			}
			n, err := f.session.Copy(ctx, to, from, layer)
			if sent += n; err != nil {
				return sent, err
			}
		}
		n, err := f.pushConfig(ctx, &p, d.ref, to)
		if sent += n; err != nil {
			return sent, err
		}
		if d.Index == nil {
			continue
		}
		n, err = f.session.PutManifest(ctx, to.At(p.Digest), p.MediaType, p.raw)
		if sent += n; err != nil {
			return sent, err
		}
	}
	if to.Context() == d.ref.Context() {
		return sent, nil
	}
	for _, kept := range d.kept {
		n, err := f.copyManifest(ctx, d.ref.At(kept.Digest), to)
		if sent += n; err != nil {
			return sent, err
		}
	}
	return sent, nil
}

func (f *fleet) pushConfig(ctx context.Context, p *part, from, to oci.Reference) (int64, error) {
	if p.Unchanged {
		return f.session.Copy(ctx, to, from, p.Manifest.Config)
	}
	return f.session.PutBlob(ctx, to, p.RawConfig)
}

// copyManifest brings what an index names besides images to another repository.
func (f *fleet) copyManifest(ctx context.Context, from, to oci.Reference) (sent int64, err error) {
	m, err := f.session.Manifest(ctx, from)
	if err != nil {
		return 0, err
	}
	if m.Image == nil {
		return 0, refuse("", "it holds an index within an index")
	}
	for _, blob := range append(m.Image.Layers, m.Image.Config) {
		n, err := f.session.Copy(ctx, to, from, blob)
		if sent += n; err != nil {
			return sent, err
		}
	}
	n, err := f.session.PutManifest(ctx, to.At(m.Digest), m.MediaType, m.Raw)
	return sent + n, err
}

// weight gives the bytes that a push would send at most: layers are mounted where base
// and app are in one registry.
func (d *draft) weight(to oci.Reference) int64 {
	total := d.Size
	for _, p := range d.parts {
		if p.Unchanged {
			continue
		}
		total += int64(len(p.RawConfig))
		if d.Index != nil {
			total += p.Size
		}
		if p.from.Context().RegistryStr() != to.Context().RegistryStr() {
			total += p.change.Bytes
		}
	}
	return total
}

// encode gives a manifest's bytes and their descriptor.
func encode(mediaType types.MediaType, manifest any) (v1.Descriptor, []byte, error) {
	raw, err := json.Marshal(manifest)
	if err != nil {
		return v1.Descriptor{}, nil, err
	}
	digest, size, err := v1.SHA256(bytes.NewReader(raw))
	return v1.Descriptor{MediaType: mediaType, Digest: digest, Size: size}, raw, err
}
