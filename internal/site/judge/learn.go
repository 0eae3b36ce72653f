package judge

import (
	"context"
	"fmt"

	"golang.org/x/sync/errgroup"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/inventory"
	"plimsoll.dev/plimsoll/internal/oci"
	"plimsoll.dev/plimsoll/internal/policy/verdicts"
	"plimsoll.dev/plimsoll/internal/site/home"
	"plimsoll.dev/plimsoll/internal/together"
)

// NewLearner gives a judge that keeps no verdicts: it finds out what others decide on. It needs no
// closing.
func NewLearner(ctx context.Context, h *home.Home) (*Judge, error) {
	index, err := h.Inventory(ctx)
	if err != nil {
		return nil, err
	}
	g, err := NewGatherer(ctx, h)
	j := &Judge{home: h, gather: g, index: index}
	j.findings = together.New(gatherFindings, j.keepSome)
	return j, err
}

// Learn gathers the facts of all that a reference names, so that whoever keeps verdicts decides
// anew.
func (j *Judge) Learn(ctx context.Context, text string) error {
	ref, err := oci.Parse(text)
	if err != nil {
		return err
	}
	top, err := j.gather.Session.Manifest(ctx, ref)
	if err != nil {
		return err
	}
	known, err := j.Gather(ctx, verdicts.Image{Repository: ref.Repository(), Digest: top.Digest.String()})
	for _, child := range known.Children {
		if err == nil {
			_, err = j.Gather(ctx, verdicts.Image{Repository: ref.Repository(), Digest: child})
		}
	}
	return err
}

// Relearn gathers the facts of images anew, of which some are kept: they were made again and their
// evidence issued again, or some of that, or a tag, was removed.
func Relearn(ctx context.Context, h *home.Home, refs ...oci.Reference) {
	if len(refs) == 0 {
		return
	}
	h.Tell(ctx, func(index *inventory.Inventory) error {
		which := inventory.Selection{Of: []inventory.Manifest{}}
		for _, ref := range refs {
			which.Of = append(which.Of, inventory.Manifest{Repository: ref.Repository(), Digest: ref.Identifier()})
		}
		var kept []verdicts.Image
		err := index.Facts(ctx, which, func(f artifact.Facts) error {
			kept = append(kept, verdicts.Image{Repository: f.Image.Repository, Digest: f.Image.Digest})
			return nil
		})
		if err != nil || len(kept) == 0 {
			return err
		}
		j, err := NewLearner(ctx, h)
		if err != nil {
			return err
		}
		for _, image := range kept {
			if err = j.Learn(ctx, image.String()); err != nil && fault.KindOf(err) != fault.NotFound { // else there is none any more
				return err
			}
		}
		return nil
	})
}

// Remember tells the inventory what is attached to an image now, and what that makes known of it
// to the policies.
func Remember(ctx context.Context, h *home.Home, text string) {
	h.Tell(ctx, func(index *inventory.Inventory) error {
		j, err := NewLearner(ctx, h)
		if err != nil {
			return err
		}
		images, err := j.gather.Read(ctx, text)
		if err != nil {
			return err
		}
		if err := j.gather.Keep(ctx, index, images); err != nil {
			return err
		}
		return j.Learn(ctx, text)
	})
}

// Gathers is how many images are looked into at once where nobody waits for each: so many that what is found
// out of several is kept together, and fewer than a keeper of verdicts takes, for whoever asks at a gate does
// wait.
const Gathers = 8

// GatherBare finds out the facts of images of which the inventory has none, once begins was told how
// many there are. Those of which nothing can be known are left out, with a warning.
func GatherBare(ctx context.Context, h *home.Home, begins func(images int)) error {
	index, err := h.Inventory(ctx)
	if err != nil {
		return err
	}
	bare, err := index.Bare(ctx)
	if err != nil || len(bare) == 0 {
		return err
	}
	j, err := NewLearner(ctx, h)
	if err != nil {
		return err
	}
	begins(len(bare))
	several, inner := errgroup.WithContext(ctx)
	several.SetLimit(Gathers)
	for _, m := range bare {
		several.Go(func() error {
			image := verdicts.Image(m)
			_, err := j.Gather(inner, image)
			if err != nil && inner.Err() == nil {
				h.Warn(fmt.Sprintf("nothing is known of %s: %s", image, err), "")
				return nil
			}
			return inner.Err()
		})
	}
	return several.Wait()
}
