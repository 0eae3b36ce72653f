// Package remedy takes the items of campaigns and gives them carried out in a home: images rebased,
// tags moved, candidates tested, reports signed.
package remedy

import (
	"context"
	"sync"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/build/rebase"
	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/site"
	"plimsoll.dev/plimsoll/internal/update"
)

// Home is an update.Remedier that rebases the images of a home. It builds nothing: where the source
// of an image is, and with what it is built, is for whoever declares it to say.
type Home struct {
	Site  *site.Site
	Means site.Means
}

// Apply implements update.Remedier.
func (h Home) Apply(ctx context.Context, batch update.Batch, report func(update.Outcome)) error {
	if batch.Remedy != artifact.RemedyRebase {
		for _, item := range batch.Items {
			report(update.Outcome{Number: item.Number, Err: unbuildable(item.Reference)})
		}
		return nil
	}
	numbers := map[string]int64{}
	items := make([]site.RebaseItem, len(batch.Items))
	for i, item := range batch.Items {
		numbers[item.Reference] = item.Number
		items[i].Tag = item.Reference
	}
	return h.Site.Rebase(ctx, items, site.RebaseOptions{Hold: batch.Hold, Means: h.Means}, func(o site.RebaseOutcome) {
		out := update.Outcome{Number: numbers[o.Item.Tag], Before: o.From, After: o.To, Bytes: o.Pushed, Err: o.Err}
		if o.Status == rebase.StatusUnchanged {
			out.Before = "" // it was rebased before, or never needed to be: the engine knows what it planned for
		}
		report(out)
	})
}

func unbuildable(reference string) error {
	return fault.Newf(fault.Denied, "build again", reference, "nothing here knows how to build it").
		WithHint("declare it as an Image in a control plane, or build it again yourself: plimsoll build")
}

// Move implements update.Remedier.
func (h Home) Move(ctx context.Context, moves []update.Move, report func(update.Outcome)) error {
	tags := make([]site.TagMove, len(moves))
	for i, m := range moves {
		tags[i] = site.TagMove{Tag: m.Reference, From: m.From, To: m.To}
	}
	var reporting sync.Mutex
	return h.Site.Move(ctx, tags, h.Means, func(i int, err error) {
		reporting.Lock()
		defer reporting.Unlock()
		report(update.Outcome{Number: moves[i].Number, Before: moves[i].From, After: moves[i].To, Err: err})
	})
}
