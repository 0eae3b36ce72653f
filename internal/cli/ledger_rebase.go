package cli

import (
	"context"
	"fmt"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"plimsoll.dev/plimsoll/internal/build/rebase"
	"plimsoll.dev/plimsoll/internal/evidence/attest"
	"plimsoll.dev/plimsoll/internal/evidence/sbom"
	"plimsoll.dev/plimsoll/internal/inventory"
	"plimsoll.dev/plimsoll/internal/oci"
)

// believe gives what tells whether an image in the repository is signed by somebody whom
// the home trusts. Where nothing is issued, nothing would ever be signed: all is believed.
func (l *ledger) believe(ctx context.Context, in oci.Reference) func(context.Context, v1.Hash) (bool, error) {
	if l.issuer == nil {
		return nil
	}
	trust := l.env.trustOfHome(ctx)
	return func(ctx context.Context, digest v1.Hash) (bool, error) {
		return attest.Signed(ctx, l.session, in, digest, trust)
	}
}

// movers account for what a rebase has written, before a tag names it. What nobody trusted
// had signed is not signed for being rebased: else whoever can push an image would only
// have to wait for the next fix to have it vouched for. vouch signs it all the same.
func (l *ledger) movers(ctx context.Context, vouch bool) func(context.Context, *oci.Session, rebase.Moved) error {
	if l.issuer == nil {
		return nil
	}
	trust := l.env.trustOfHome(ctx)
	return func(ctx context.Context, session *oci.Session, moved rebase.Moved) error {
		var all []inventory.Image
		signed := true
		for _, image := range moved.Images {
			ours, err := attest.Signed(ctx, session, moved.Name, image.From.Digest, trust)
			if err != nil {
				return err
			}
			known, err := l.move(ctx, session, moved, image, ours, vouch)
			if err != nil {
				return err
			}
			all, signed = append(all, known), signed && (ours || vouch)
		}
		l.mu.Lock()
		l.moves[moved.Name.String()] = move{all, signed} // instead of those of a try that came to nothing
		l.mu.Unlock()
		if moved.Index == nil || !signed {
			return nil
		}
		_, err := l.issuer.Sign(ctx, session, moved.Ref, *moved.Index)
		return err
	}
}

// move accounts for one image, if it is to be accounted for.
func (l *ledger) move(ctx context.Context, session *oci.Session, moved rebase.Moved, image rebase.MovedImage, ours, vouch bool) (inventory.Image, error) {
	lazy, err := session.Image(ctx, moved.Ref, image.MediaType, image.Raw, image.RawConfig)
	if err != nil {
		return inventory.Image{}, err
	}
	if !ours && !vouch {
		return l.unaccounted(ctx, moved.Ref, lazy, image.BaseLayers)
	}
	facts := factsOfRebase(moved, image)
	facts.Vouched = !ours
	subject, err := l.subject(moved.Ref, told{lazy, facts})
	if err != nil {
		return inventory.Image{}, err
	}
	subject.BaseLayers = image.BaseLayers
	return l.issue(ctx, session, subject)
}

// unaccounted gives what the inventory is to know of an image that nobody vouches for.
func (l *ledger) unaccounted(ctx context.Context, ref oci.Reference, image v1.Image, baseLayers int) (inventory.Image, error) {
	subject, err := sbom.ImageOf(image)
	if err != nil {
		return inventory.Image{}, err
	}
	subject.BaseLayers = baseLayers
	contents, err := l.issuer.Contents.Contents(ctx, subject)
	if err != nil {
		return inventory.Image{}, err
	}
	return known(ref, image, contents)
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

// landed hears what became of a reference that was rebased.
func (l *ledger) landed(ctx context.Context, r rebase.Result) {
	l.mu.Lock()
	moved := l.moves[r.Ref]
	delete(l.moves, r.Ref)
	l.mu.Unlock()
	if r.Status != rebase.StatusRebased {
		return
	}
	if !moved.signed && len(moved.images) > 0 {
		fmt.Fprintf(l.env.Err, "warning: %s: rebased without evidence: nobody who is trusted here signed what it was\nhint: look into it, then `plimsoll attest` it; --vouch signs all that is rebased\n", r.Ref)
	}
	for _, image := range moved.images {
		if r.Tag != "" {
			image.Reference = r.Tag
		}
		l.done = append(l.done, image)
		l.packages += len(image.Contents.Packages)
	}
	if len(l.done) >= batch || l.packages >= batchPackages {
		l.record(ctx)
	}
}
