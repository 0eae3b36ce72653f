package ledger

import (
	"context"
	"slices"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/partial"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/evidence/attest"
	"plimsoll.dev/plimsoll/internal/oci"
	"plimsoll.dev/plimsoll/internal/site/home"
	"plimsoll.dev/plimsoll/internal/site/judge"
)

// Attach signs evidence of an image and puts it beside the image.
func Attach(ctx context.Context, h *home.Home, ref oci.Reference, image v1.Image, evidence artifact.Evidence) error {
	signers, err := h.Signers(ctx)
	if err != nil {
		return err
	}
	d, err := partial.Descriptor(image)
	if err != nil {
		return err
	}
	keyless, err := h.Keyless()
	if err != nil {
		return err
	}
	issued, err := attest.Issue(ctx, h.Registries.Session(), ref, *d, []artifact.Evidence{evidence}, signers, attest.Options{Keyless: keyless})
	warnOfLeft(h, ref, issued.Left)
	return err
}

// Vouched is what was vouched for.
type Vouched struct {
	Digest     v1.Hash
	Predicates []string // types of the evidence that was issued, of each image the same
}

// Vouch issues all evidence of every image that the reference names.
func Vouch(ctx context.Context, h *home.Home, ref oci.Reference) (*Vouched, error) {
	l, err := Open(ctx, h, Options{})
	if err != nil {
		return nil, err
	}
	defer l.Close()
	top, err := l.session.Manifest(ctx, ref)
	if err != nil {
		return nil, err
	}
	images, err := h.Registries.Images(ctx, ref.At(top.Digest))
	if err != nil {
		return nil, err
	}
	var all []Told
	for _, image := range images {
		all = append(all, Told{Image: image})
	}
	if err := l.account(ctx, ref, top.Descriptor, all); err != nil {
		return nil, err
	}
	out := &Vouched{Digest: top.Digest}
	if len(l.done) > 0 {
		for _, e := range l.done[0].Evidence {
			if !slices.Contains(out.Predicates, e.PredicateType) { // in two forms, perhaps
				out.Predicates = append(out.Predicates, e.PredicateType)
			}
		}
	}
	judge.Remember(ctx, h, ref.String())
	return out, nil
}
