package verdicts

import (
	"context"
	"time"
)

const (
	// sweepEvery is how often the table is looked through for what time has made stale. Whoever
	// asks meanwhile is never given what stands no more: sweeping is for those who were told.
	sweepEvery = 5 * time.Second

	// fleeting is how long a verdict stands at most that depends on the time in ways nobody can
	// foresee.
	fleeting = time.Minute

	// rereadEvery is how often rules that read the clock are asked again where nobody asks.
	rereadEvery = 10 * time.Minute
)

// sweepLoop does what time makes necessary.
func (k *Keeper) sweepLoop() {
	ticker := time.NewTicker(sweepEvery)
	defer ticker.Stop()
	all := false
	for {
		select {
		case <-k.work.Done():
			return
		case <-k.stale:
			all = true
		case <-ticker.C:
		}
		if err := k.sweep(k.work, all); err == nil {
			all = false
		} else if k.work.Err() == nil {
			k.opts.Log.Error("verdicts could not be brought up to date", "error", err)
		}
	}
}

func (k *Keeper) wakeSweeper() {
	select {
	case k.stale <- struct{}{}:
	default:
	}
}

func (k *Keeper) sweep(ctx context.Context, all bool) error {
	if err := k.clock.keep(false); err != nil {
		return err
	}
	k.announce(ctx)
	k.wakeWriter() // where it failed before
	if over := k.table.over(k.clock.now()); all || len(over) >= many {
		k.recomputing.Lock()
		defer k.recomputing.Unlock()
		_, err := k.recompute(ctx)
		return err
	}
	return nil
}

// over makes due what time may have changed, if that is not so much that all should be decided
// again, and gives it.
func (t *table) over(now time.Time) (images []Image) {
	t.mu.RLock()
	for image, e := range t.entries {
		if e.valid && !e.stands(now) && !now.Before(e.sweepAt()) {
			images = append(images, image)
		}
	}
	t.mu.RUnlock()
	if len(images) < many {
		t.mu.Lock()
		defer t.mu.Unlock()
		for _, image := range images {
			t.makeDue(image)
		}
	}
	return images
}

// sweepAt gives when a verdict is decided again although nobody asks: when it ends. Where it ends so
// soon only because a rule read the clock it is now and then, or when a period of grace or an
// exception ends.
func (e *entry) sweepAt() time.Time {
	until := time.Unix(0, e.until)
	if e.fails > 0 || until.Sub(e.verdict.Decided) > fleeting {
		return until
	}
	at := e.verdict.Decided.Add(rereadEvery)
	for _, r := range e.verdict.Results {
		if r.Deadline != nil && r.Deadline.Before(at) {
			at = *r.Deadline
		}
	}
	for _, x := range e.verdict.Exceptions {
		if x.Expires.Before(at) {
			at = x.Expires
		}
	}
	return at
}
