package ledger

import (
	"cmp"
	"context"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"plimsoll.dev/plimsoll/internal/build/rebase"
	"plimsoll.dev/plimsoll/internal/evidence/attest"
	"plimsoll.dev/plimsoll/internal/evidence/sbom"
	"plimsoll.dev/plimsoll/internal/inventory"
	"plimsoll.dev/plimsoll/internal/oci"
	"plimsoll.dev/plimsoll/internal/site/judge"
	"plimsoll.dev/plimsoll/internal/site/known"
)

// Believe gives what tells whether an image in the repository is signed by somebody whom
// the home trusts. Where nothing is issued, nothing would ever be signed: all is believed.
func (l *Ledger) Believe(ctx context.Context, in oci.Reference) func(context.Context, v1.Hash) (bool, error) {
	if l.issuer == nil {
		return nil
	}
	trust := l.home.Believed(ctx)
	return func(ctx context.Context, digest v1.Hash) (bool, error) {
		return attest.Signed(ctx, l.session, in, digest, trust)
	}
}

// Movers account for what a rebase has written, before a tag names it. What nobody trusted
// had signed is not signed for being rebased: else whoever can push an image would only
// have to wait for the next fix to have it vouched for. vouch signs it all the same.
func (l *Ledger) Movers(ctx context.Context, vouch bool) func(context.Context, *oci.Session, rebase.Moved) error {
	if l.issuer == nil {
		return nil
	}
	trust := l.home.Believed(ctx)
	return func(ctx context.Context, session *oci.Session, moved rebase.Moved) error {
		var all []inventory.Image
		signed := true
		for _, image := range moved.Images {
			ours, err := attest.Signed(ctx, session, moved.Name, image.From.Digest, trust)
			if err != nil {
				return err
			}
			one, err := l.move(ctx, session, moved, image, ours, vouch)
			if err != nil {
				return err
			}
			all, signed = append(all, one), signed && (ours || vouch)
		}
		l.mu.Lock()
		l.moves[moved.Name.String()] = move{all, signed} // instead of those of a try that came to nothing
		l.mu.Unlock()
		if moved.Index != nil && signed {
			if _, err := l.issuer.Sign(ctx, session, moved.Ref, *moved.Index); err != nil {
				return err
			}
		}
		return l.untold.note(moves, moved.Ref.String())
	}
}

// move accounts for one image, if it is to be accounted for.
func (l *Ledger) move(ctx context.Context, session *oci.Session, moved rebase.Moved, image rebase.MovedImage, ours, vouch bool) (inventory.Image, error) {
	lazy, err := session.Image(ctx, moved.Ref, image.MediaType, image.Raw, image.RawConfig)
	if err != nil {
		return inventory.Image{}, err
	}
	if !ours && !vouch {
		return l.unaccounted(ctx, moved.Ref, lazy, image.BaseLayers)
	}
	facts := factsOfRebase(moved, image)
	facts.Vouched = !ours
	subject, err := l.subject(moved.Ref, Told{lazy, facts})
	if err != nil {
		return inventory.Image{}, err
	}
	subject.BaseLayers = image.BaseLayers
	return l.issue(ctx, session, subject)
}

// unaccounted gives what the inventory is to know of an image that nobody vouches for.
func (l *Ledger) unaccounted(ctx context.Context, ref oci.Reference, image v1.Image, baseLayers int) (inventory.Image, error) {
	subject, err := sbom.ImageOf(image)
	if err != nil {
		return inventory.Image{}, err
	}
	subject.BaseLayers = baseLayers
	contents, err := l.issuer.Contents.Contents(ctx, subject)
	if err != nil {
		return inventory.Image{}, err
	}
	return known.Of(ref, image, contents)
}

// move is what became of the images of one reference.
type move struct {
	images []inventory.Image
	signed bool
}

// batch is how many images the inventory is told of at a time, and about how many packages
// they may have, which take half a kilobyte each until then.
const (
	batch         = 256
	batchPackages = 32 << 10
)

// Landed hears what became of a reference that was rebased, once for each, and lets the other tags
// name what became of it. It may be called at once for several.
func (l *Ledger) Landed(ctx context.Context, r rebase.Result, others ...oci.Reference) error {
	l.mu.Lock()
	become := l.moves[r.Ref]
	delete(l.moves, r.Ref)
	l.mu.Unlock()
	if r.Status != rebase.StatusRebased && r.Status != rebase.StatusUnchanged {
		return nil
	}
	moved, failed := l.nameRebased(ctx, r, others)
	if r.Status == rebase.StatusUnchanged {
		for _, tag := range moved {
			judge.Remember(ctx, l.home, tag.String())
		}
		return failed
	}
	if !become.signed && len(become.images) > 0 {
		l.home.Warn(r.Ref+": rebased without evidence: nobody who is trusted here signed what it was",
			"look into it, then `plimsoll attest` it; --vouch signs all that is rebased")
	}
	if r.Tag != "" {
		for i := range become.images {
			become.images[i].Reference = r.Tag
		}
	}
	l.telling.Lock()
	defer l.telling.Unlock()
	for _, image := range append(become.images, called(become.images, moved)...) {
		l.done = append(l.done, image)
		l.packages += len(image.Contents.Packages)
	}
	if len(l.done) >= batch || l.packages >= batchPackages {
		l.record(ctx)
	}
	return failed
}

// nameRebased lets tags name what a reference became.
func (l *Ledger) nameRebased(ctx context.Context, r rebase.Result, tags []oci.Reference) ([]oci.Reference, error) {
	if len(tags) == 0 {
		return nil, nil
	}
	at, err := oci.Parse(cmp.Or(r.Tag, r.Ref))
	if err != nil {
		return nil, err
	}
	digest, err := v1.NewHash(r.To)
	if err != nil {
		return nil, err
	}
	return l.name(ctx, at.At(digest), tags)
}
