package mirror

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/oci"
)

const (
	maxAttached      = 64 // to one manifest
	maxAttachedDepth = 2  // a signature of an SBOM, say
)

// attachments brings what others said of an image where it comes from. What is no such thing, or
// too much, is left there and told: it is not the image that is wrong.
type attachments struct {
	take  *take
	left  int64 // bytes
	seen  map[v1.Hash]bool
	notes []string
}

func (a *attachments) bring(ctx context.Context, subject v1.Hash, depth int) error {
	if a.seen[subject] {
		return nil
	}
	a.seen[subject] = true
	listed, err := a.take.from.Referrers(ctx, a.take.source, subject)
	if err != nil {
		return a.leave(subject, err)
	}
	if len(listed.Manifests) > maxAttached {
		a.note(subject, fmt.Sprintf("%d manifests refer to it, of which %d are taken", len(listed.Manifests), maxAttached))
		listed.Manifests = listed.Manifests[:maxAttached]
	}
	for _, d := range listed.Manifests {
		if err := a.referrer(ctx, subject, d.Digest, depth); err != nil {
			return err
		}
	}
	for _, ending := range oci.SignatureEndings {
		if err := a.below(ctx, subject, ending); err != nil {
			return err
		}
	}
	return nil
}

// leave notes why something stays where it is. Only what may be otherwise in a moment is an error.
func (a *attachments) leave(digest v1.Hash, err error) error {
	switch fault.KindOf(err) {
	case fault.Unavailable, fault.Canceled:
		return err
	case fault.NotFound:
		return nil
	}
	a.note(digest, err.Error())
	return nil
}

func (a *attachments) note(digest v1.Hash, why string) {
	a.notes = append(a.notes, fmt.Sprintf("left out, of what is attached to %s: %s", digest, why))
}

// referrer brings a manifest that says itself what it is about, and what is attached to it.
func (a *attachments) referrer(ctx context.Context, subject, digest v1.Hash, depth int) error {
	m, err := a.take.from.Manifest(ctx, a.take.source.At(digest))
	if err != nil {
		return a.leave(digest, err)
	}
	if m.Image == nil || m.Image.Subject == nil || m.Image.Subject.Digest != subject {
		a.note(subject, digest.String()+" is about something else")
		return nil
	}
	if fits, err := a.blobs(ctx, m); !fits || err != nil {
		return err
	}
	if _, err := a.take.to.PutManifest(ctx, a.take.target.At(digest), m.MediaType, m.Raw); err != nil {
		return a.leave(digest, err)
	}
	if depth >= maxAttachedDepth {
		return nil
	}
	return a.bring(ctx, digest, depth+1)
}

// below brings what older tools keep below a tag.
func (a *attachments) below(ctx context.Context, subject v1.Hash, ending string) error {
	at := a.take.source.SignatureTag(subject, ending)
	if a.take.tags != nil && !a.take.tags[at.Identifier()] {
		return nil
	}
	m, err := a.take.from.Manifest(ctx, at)
	if err != nil {
		return a.leave(subject, err)
	}
	if m.Image == nil {
		a.note(subject, at.Identifier()+" names an index")
		return nil
	}
	if fits, err := a.blobs(ctx, m); !fits || err != nil {
		return err
	}
	if err := a.join(ctx, a.take.target.SignatureTag(subject, ending), m); err != nil {
		return a.leave(m.Digest, err)
	}
	return nil
}

// join writes what older tools keep below a tag, with what is there already: the site may have
// signed the image, too.
func (a *attachments) join(ctx context.Context, at oci.Reference, m oci.Manifest) error {
	there, err := a.take.to.Manifest(ctx, at)
	if err != nil && fault.KindOf(err) != fault.NotFound {
		return err
	}
	raw := m.Raw
	if err == nil && there.Image != nil {
		joined := there.Image.DeepCopy()
		for _, layer := range m.Image.Layers {
			same := func(l v1.Descriptor) bool {
				return l.Digest == layer.Digest && maps.Equal(l.Annotations, layer.Annotations)
			}
			if !slices.ContainsFunc(joined.Layers, same) {
				joined.Layers = append(joined.Layers, layer)
			}
		}
		if len(joined.Layers) == len(there.Image.Layers) {
			return nil
		}
		if raw, err = json.Marshal(joined); err != nil {
			return err
		}
		m.MediaType = there.MediaType
	}
	_, err = a.take.to.PutManifest(ctx, at, m.MediaType, raw)
	return err
}

// blobs brings what the manifest names, unless that is too much.
func (a *attachments) blobs(ctx context.Context, m oci.Manifest) (fits bool, err error) {
	blobs, err := (&tree{Manifest: m}).blobs()
	if err != nil || len(m.Raw) > maxManifest || total(blobs) > a.left {
		a.note(m.Digest, "it is too large")
		return false, nil
	}
	a.left -= total(blobs)
	for _, d := range blobs {
		if err := a.take.blob(ctx, d); err != nil {
			return false, a.leave(m.Digest, err)
		}
	}
	return true, nil
}
