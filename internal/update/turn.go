package update

import (
	"context"
	"errors"
	"time"

	"github.com/riverqueue/river"

	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/inventory/campaigns"
)

// turnArgs are a job: one turn at a campaign.
type turnArgs struct{ campaigns.Turn }

// Kind names the job.
func (turnArgs) Kind() string { return "plimsoll.patch" }

type worker struct {
	river.WorkerDefaults[turnArgs]
	engine *Engine
}

// Work takes the turn. Whatever ends it, what it has not finished is put back, by itself or
// when its lease is over: so there is nothing to try again.
func (w *worker) Work(ctx context.Context, job *river.Job[turnArgs]) error {
	err := w.engine.turn(ctx, job.Args.Turn)
	if err != nil && ctx.Err() == nil {
		w.engine.o.Log.Warn("turn at a campaign", "campaign", job.Args.Campaign, "error", err)
	}
	return nil
}

// longTurn is how long a turn begins new items, so that no job is endless.
const longTurn = 10 * time.Minute

// turn works at a campaign until nothing more can begin.
func (e *Engine) turn(ctx context.Context, t campaigns.Turn) error {
	until := func() time.Time { return e.o.Now().Add(e.o.Lease) }
	if err := e.store.Begin(ctx, t, until()); err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	renewing := make(chan struct{})
	go func() {
		defer close(renewing)
		e.renew(ctx, t, until, cancel)
	}()
	err := e.claimed(ctx, t)
	cancel(nil)
	<-renewing
	// Also when ctx has ended: else others would wait for the lease to be over.
	ending, done := context.WithTimeout(context.WithoutCancel(ctx), e.o.Lease)
	defer done()
	err = errors.Join(err, e.store.End(ending, t))
	e.wake()
	return err
}

// renew keeps the turn, and cancels the work when another has it, or may have.
func (e *Engine) renew(ctx context.Context, t campaigns.Turn, until func() time.Time, lost func(error)) {
	ticker := time.NewTicker(e.o.Lease / 4)
	defer ticker.Stop()
	for renewed := time.Now(); ; {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		asked := time.Now()
		err := e.store.Renew(ctx, t, until())
		switch {
		case err == nil:
			renewed = asked
		case fault.KindOf(err) == fault.Canceled, time.Since(renewed) > e.o.Lease: // else the database may be there again soon
			lost(err)
			return
		}
	}
}

// claimed takes items and works at them, again and again.
func (e *Engine) claimed(ctx context.Context, t campaigns.Turn) error {
	for began := time.Now(); time.Since(began) < longTurn; {
		c, items, err := e.claim(ctx, t)
		if err != nil || len(items) == 0 {
			return err
		}
		r := &round{engine: e, turn: t, campaign: c, began: time.Now()}
		if c.Stage == campaigns.Reverting {
			err = r.takeBack(ctx, items)
		} else {
			err = r.remedy(ctx, items)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// claim takes the next items.
func (e *Engine) claim(ctx context.Context, t campaigns.Turn) (campaigns.Campaign, []Item, error) {
	return e.store.Claim(ctx, t, func(c campaigns.Campaign, tally campaigns.Tally) (campaigns.Want, bool) {
		if c.Ended.IsZero() && c.Stage == campaigns.Reverting {
			return campaigns.Want{Back: true, Most: func(Item) int { return e.o.Rebases }}, true
		}
		return campaigns.Want{Most: func(first Item) int { return e.together(&c, first.Remedy) }}, mayClaim(&c, tally)
	})
}
