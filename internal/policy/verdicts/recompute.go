package verdicts

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/fault"
)

// many is from how many images on it is cheaper to read the facts of all in one stream than
// those of each.
const many = 512

// Stats is what deciding again came to.
type Stats struct {
	Images  int // decided
	Changed int // of these, with another verdict than before
	Took    time.Duration
}

// Reload takes the policies as they are now and decides all images by them. Each keeps the verdict
// of the former ones until it has that of the new. Policies that cannot be loaded change nothing.
func (k *Keeper) Reload(ctx context.Context) (Stats, error) {
	k.recomputing.Lock()
	defer k.recomputing.Unlock()
	set, err := k.load(ctx)
	if err != nil {
		k.opts.Log.Error("policies cannot be loaded: the former ones stay in force", "error", err)
		return Stats{}, err
	}
	k.table.adopt(set)
	return k.recompute(ctx)
}

// Recompute decides all images again, from the facts that are kept of them.
func (k *Keeper) Recompute(ctx context.Context) (Stats, error) {
	k.recomputing.Lock()
	defer k.recomputing.Unlock()
	return k.recompute(ctx)
}

func (k *Keeper) recompute(ctx context.Context) (Stats, error) {
	start := time.Now()
	var images, changed atomic.Int64
	count := func(image Image, before uint64) {
		images.Add(1)
		if k.table.sum(image) != before {
			changed.Add(1)
		}
	}
	indexes, err := k.decideAll(ctx, count)
	if err != nil {
		return Stats{}, err
	}
	// Indexes come after what they name.
	work := make(chan Image)
	var workers sync.WaitGroup
	for range k.opts.Gathers {
		workers.Go(func() {
			for image := range work {
				before := k.table.sum(image)
				<-k.fly(image, 0).done
				count(image, before)
			}
		})
	}
	for _, image := range indexes {
		work <- image
	}
	close(work)
	workers.Wait()
	k.table.leftOver()
	err = k.save(ctx)
	stats := Stats{int(images.Load()), int(changed.Load()), time.Since(start)}
	k.opts.Log.Info("verdicts are up to date", "images", stats.Images, "changed", stats.Changed, "took", stats.Took)
	return stats, err
}

// decideAll decides what facts are kept of, but indexes: these it gives.
func (k *Keeper) decideAll(ctx context.Context, count func(Image, uint64)) (indexes []Image, err error) {
	b := k.table.begin(Image{})
	work := make(chan artifact.Facts, 64)
	var workers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for facts := range work {
				image := Image{facts.Image.Repository, facts.Image.Digest}
				before := k.table.sum(image)
				verdict := b.rules.Decide(facts, k.opts.Where, k.clock.now())
				if k.table.apply(image, b, outcome{verdict: verdict}, nil) {
					count(image, before)
				}
			}
		})
	}
	for facts, err := range k.facts.All(ctx) {
		if err == nil {
			err = errors.Join(ctx.Err(), k.work.Err())
		}
	}
	close(work)
	workers.Wait()
	return indexes, err
}
