package plane

import (
	"context"
	"time"

	"plimsoll.dev/plimsoll/internal/controller/figures"
	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/site/caches"
)

const (
	firstBound = 10 * time.Minute // after the start, when there is much else to do
	boundEvery = time.Hour
	boundPause = 5 * time.Millisecond // after each entry that goes
)

// boundCaches keeps the caches of the home within their bounds until ctx ends, and has measure tell of
// them. Every replica has a home of its own.
func (p *Plane) boundCaches(ctx context.Context, kept *caches.Caches, measure *figures.Metrics) {
	timer := time.NewTimer(firstBound)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		done, err := kept.Prune(ctx, caches.PruneOptions{Pause: boundPause})
		if err != nil && ctx.Err() == nil {
			p.log.Warn("caches are not within their bounds", "error", err, "hint", fault.HintOf(err))
		}
		for _, c := range done {
			measure.Cache(c.Name, c.Bytes, c.Removed.Bytes)
		}
		timer.Reset(boundEvery)
	}
}
