package bundle

import (
	"context"
	"encoding/json"
	"io"
	"maps"
	"slices"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/oci"
)

// Push writes one image of the bundle with all that is attached to it, and lets the
// reference name it last. It gives the bytes that were sent.
func (b *Bundle) Push(ctx context.Context, session *oci.Session, image Named, to oci.Reference) (int64, error) {
	p := pusher{bundle: b, session: session, to: to, done: map[v1.Hash]bool{}}
	m, err := p.image(ctx, image.Descriptor)
	if err != nil {
		return p.sent, err
	}
	err = p.manifest(ctx, to, m)
	return p.sent, err
}

type pusher struct {
	bundle  *Bundle
	session *oci.Session
	to      oci.Reference
	done    map[v1.Hash]bool
	sent    int64
}

// image writes what a manifest names, the manifest itself by its digest, and what is
// attached to it.
func (p *pusher) image(ctx context.Context, d v1.Descriptor) (oci.Manifest, error) {
	m, err := p.bundle.Manifest(d)
	if err != nil || p.done[d.Digest] {
		return m, err
	}
	p.done[d.Digest] = true
	if m.Index != nil {
		for _, child := range m.Index.Manifests {
			if _, err := p.image(ctx, child); err != nil {
				return m, err
			}
		}
	} else if err := p.layers(ctx, m.Image); err != nil {
		return m, err
	}
	if err := p.manifest(ctx, p.to.At(d.Digest), m); err != nil {
		return m, err
	}
	return m, p.attached(ctx, d.Digest)
}

func (p *pusher) layers(ctx context.Context, m *v1.Manifest) error {
	for _, blob := range layers(m) {
		sent, err := p.session.PutStream(ctx, p.to, blob, func() (io.ReadCloser, error) { return p.bundle.Stream(blob) })
		if p.sent += sent; err != nil {
			return err
		}
	}
	return nil
}

func (p *pusher) attached(ctx context.Context, subject v1.Hash) error {
	var referrers []v1.Descriptor
	for _, a := range p.bundle.Attached(subject) {
		m, err := p.image(ctx, a.Descriptor)
		if err != nil {
			return err
		}
		if a.Tag == "" {
			referrers = append(referrers, listed(m))
			continue
		}
		if err := p.tag(ctx, p.to.Tag(a.Tag), m); err != nil {
			return err
		}
	}
	if len(referrers) == 0 {
		return nil
	}
	return p.list(ctx, subject, referrers)
}

// tag writes what older tools keep below a tag, with what they keep there already: others
// may have signed the image here.
func (p *pusher) tag(ctx context.Context, at oci.Reference, m oci.Manifest) error {
	there, err := p.session.Manifest(ctx, at)
	switch {
	case fault.KindOf(err) == fault.NotFound:
		return p.manifest(ctx, at, m)
	case err != nil:
		return err
	case there.Digest == m.Digest:
		return nil
	case there.Image == nil || m.Image == nil:
		return p.manifest(ctx, at, m)
	}
	joined := m.Image.DeepCopy()
	for _, old := range there.Image.Layers {
		same := func(l v1.Descriptor) bool {
			return l.Digest == old.Digest && maps.Equal(l.Annotations, old.Annotations)
		}
		if !slices.ContainsFunc(joined.Layers, same) {
			joined.Layers = append(joined.Layers, old)
		}
	}
	raw, err := json.Marshal(joined)
	if err != nil {
		return err
	}
	return p.manifest(ctx, at, oci.Manifest{Descriptor: v1.Descriptor{MediaType: m.MediaType}, Raw: raw})
}

// listed is how lists of referrers name a manifest (OCI distribution-spec 1.1, "Listing
// Referrers").
func listed(m oci.Manifest) v1.Descriptor {
	d := m.Descriptor
	d.ArtifactType, d.Annotations = m.Image.ArtifactType, m.Image.Annotations
	if d.ArtifactType == "" {
		d.ArtifactType = string(m.Image.Config.MediaType)
	}
	return d
}

// list names referrers in a registry that does not do so by itself: in the index below the
// tag that stands for its list (OCI distribution-spec 1.1, "Referrers Tag Schema").
func (p *pusher) list(ctx context.Context, subject v1.Hash, referrers []v1.Descriptor) error {
	known, err := p.session.Referrers(ctx, p.to, subject)
	if err != nil || !known.Tagged {
		return err
	}
	all := known.Manifests
	for _, d := range referrers {
		if !slices.ContainsFunc(all, func(k v1.Descriptor) bool { return k.Digest == d.Digest }) {
			all = append(all, d)
		}
	}
	if len(all) == len(known.Manifests) {
		return nil
	}
	raw, err := json.Marshal(v1.IndexManifest{SchemaVersion: 2, MediaType: types.OCIImageIndex, Manifests: all})
	if err != nil {
		return err
	}
	sent, err := p.session.PutManifest(ctx, p.to.ReferrersTag(subject), types.OCIImageIndex, raw)
	p.sent += sent
	return err
}

func (p *pusher) manifest(ctx context.Context, at oci.Reference, m oci.Manifest) error {
	sent, err := p.session.PutManifest(ctx, at, m.MediaType, m.Raw)
	p.sent += sent
	return err
}
