package verdicts

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"time"

	"plimsoll.dev/plimsoll/artifact"
)

// many is from how many images on it is cheaper to read the facts of all in one stream than those
// of each.
const many = 512

// Stats is what deciding again came to.
type Stats struct {
	Images  int // that have a verdict
	Changed int // of these, with another than before
	Took    time.Duration
}

// Reload takes the policies as they are now and decides all images by them. Each keeps the verdict
// of the former ones until it has that of the new. Policies that cannot be loaded change nothing;
// what fails after that is tried again.
func (k *Keeper) Reload(ctx context.Context) (Stats, error) {
	k.recomputing.Lock()
	defer k.recomputing.Unlock()
	set, err := k.load(ctx)
	if err != nil {
		k.opts.Log.Error("policies cannot be loaded: the former ones stay in force", "error", err)
		return Stats{}, err
	}
	k.table.adopt(set)
	return k.untilDone(k.recompute(ctx))
}

// Recompute decides all images again, from the facts that are kept of them. What fails is tried
// again.
func (k *Keeper) Recompute(ctx context.Context) (Stats, error) {
	k.recomputing.Lock()
	defer k.recomputing.Unlock()
	return k.untilDone(k.recompute(ctx))
}

// untilDone leaves to the sweeper what failed: else old verdicts would stand.
func (k *Keeper) untilDone(stats Stats, err error) (Stats, error) {
	if err != nil {
		k.wakeSweeper()
	}
	return stats, err
}

// recompute is Recompute, once. The caller holds recomputing.
func (k *Keeper) recompute(ctx context.Context) (Stats, error) {
	start := time.Now()
	b := k.table.begin(Image{})
	indexes, err := k.decideAll(ctx, b)
	if err != nil {
		return Stats{}, err
	}
	if err := k.decideIndexes(ctx, indexes); err != nil {
		return Stats{}, err
	}
	k.table.leftOver()
	if err := k.save(ctx); err != nil {
		return Stats{}, err
	}
	stats := k.table.since(b.tick)
	stats.Took = time.Since(start)
	k.opts.Log.Info("verdicts are up to date", "images", stats.Images, "changed", stats.Changed, "took", stats.Took)
	return stats, nil
}

// decideAll decides what facts are kept of, but indexes: these it gives.
func (k *Keeper) decideAll(ctx context.Context, b basis) (indexes []Image, err error) {
	work := make(chan artifact.Facts, 64)
	var workers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for facts := range work {
				verdict := b.rules.Decide(facts, k.opts.Where, k.clock.now())
				// What does not hold any more is due, or being decided from newer facts.
				_ = k.table.apply(Image{facts.Image.Repository, facts.Image.Digest}, b, outcome{verdict: verdict, platform: facts.Image.Platform}, nil)
			}
		})
	}
	for facts, failure := range k.facts.All(ctx) {
		if err = errors.Join(failure, ctx.Err(), k.work.Err()); err != nil {
			break
		}
		image := Image{facts.Image.Repository, facts.Image.Digest}
		switch {
		case image.check() != nil: // nobody can ask for it
		case len(facts.Children) > 0:
			indexes = append(indexes, image)
		default:
			work <- facts
		}
	}
	close(work)
	workers.Wait()
	return indexes, err
}

// decideIndexes decides indexes once what they name is decided.
func (k *Keeper) decideIndexes(ctx context.Context, indexes []Image) error {
	flights := make(chan *flight, cap(k.gathering)) // as many at once
	var landed sync.WaitGroup
	landed.Go(func() {
		for f := range flights {
			select {
			case <-f.done:
			case <-ctx.Done():
			}
		}
	})
	for _, index := range indexes {
		flights <- k.refresh(index)
	}
	close(flights)
	landed.Wait()
	return ctx.Err()
}

// since counts what has a verdict, and of this what became another since the tick.
func (t *table) since(tick uint64) (s Stats) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	for _, e := range t.entries {
		if e.verdict == nil {
			continue
		}
		s.Images++
		if e.moved > tick {
			s.Changed++
		}
	}
	return s
}
