package update

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"plimsoll.dev/plimsoll/api/v1alpha1"
	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/inventory/campaigns"
)

// round is the work at the items of one claim.
type round struct {
	engine   *Engine
	turn     campaigns.Turn
	campaign campaigns.Campaign
	began    time.Time
}

// Outcomes are kept when there are so many, or after so long: a crash does no more again, and
// who looks sees how it goes on.
const (
	recorded = 100
	unseen   = time.Second
)

// testedAtOnce is how many images are tested at a time.
const testedAtOnce = 4

// remedy remedies items: those with tests are held until they have passed.
func (r *round) remedy(ctx context.Context, items []Item) error {
	var free, held []Item
	for _, item := range items {
		if len(r.tests(item)) > 0 {
			held = append(held, item)
		} else {
			free = append(free, item)
		}
	}
	err := r.apply(ctx, free, false, func(done []Item) error { return r.record(ctx, done) })
	if err != nil {
		return err
	}
	var fresh, candidates []Item
	for _, item := range held {
		if item.After != "" { // who was here before us has made it
			candidates = append(candidates, item)
		} else {
			fresh = append(fresh, item)
		}
	}
	err = r.apply(ctx, fresh, true, func(done []Item) error {
		for _, item := range done {
			if item.State == campaigns.Moving {
				candidates = append(candidates, item)
			}
		}
		return r.record(ctx, done)
	})
	if err != nil {
		return err
	}
	return r.release(ctx, candidates)
}

// apply has items remedied and gives what became of them to keep, some at a time.
func (r *round) apply(ctx context.Context, items []Item, hold bool, keep func([]Item) error) error {
	if len(items) == 0 {
		return nil
	}
	open := map[int64]Item{}
	for _, item := range items {
		open[item.Number] = item
	}
	var done []Item
	var failed error
	flush := func() {
		if len(done) > 0 && failed == nil {
			failed = keep(done)
		}
		done = nil
	}
	batch := Batch{Patch: r.campaign.Patch, Run: r.campaign.Run, Remedy: items[0].Remedy, Items: items, Hold: hold}
	err := r.engine.o.Remedier.Apply(ctx, batch, func(o Outcome) {
		item, known := open[o.Number]
		if !known {
			return
		}
		delete(open, o.Number)
		r.settle(&item, o, hold)
		if done = append(done, item); len(done) == recorded || time.Since(r.began) > unseen {
			flush()
		}
	})
	if ctx.Err() == nil && err == nil && len(open) > 0 {
		err = errors.New("nothing was reported of it")
	}
	for _, item := range open {
		if ctx.Err() != nil {
			break // it is put back
		}
		r.settle(&item, Outcome{Number: item.Number, Err: err}, hold)
		done = append(done, item)
	}
	flush()
	return errors.Join(failed, context.Cause(ctx))
}

// Retries of what is Unavailable.
const (
	attempts  = 6
	firstWait = 2 * time.Second
	longWait  = 5 * time.Minute
)

// settle notes what became of an item.
func (r *round) settle(item *Item, o Outcome, hold bool) {
	now := r.engine.o.Now()
	item.Bytes += o.Bytes
	if o.Err != nil {
		item.State, item.Error, item.Ended = campaigns.Failed, o.Err.Error(), now
		if hint := fault.HintOf(o.Err); hint != "" {
			item.Error += "; " + hint
		}
		if fault.KindOf(o.Err) == fault.Unavailable && item.Attempts < attempts {
			item.State, item.Ended = campaigns.Planned, time.Time{}
			item.Retry = now.Add(min(longWait, firstWait<<(item.Attempts-1)))
		}
		return
	}
	item.Error = ""
	if item.Before = o.Before; item.Before == "" {
		item.Before = item.From
	}
	item.After = o.After
	switch {
	case o.After == item.Before:
		item.State, item.Error, item.Ended = campaigns.Skipped, "there was nothing to do", now
	case hold:
		item.State = campaigns.Moving
	default:
		item.State, item.Ended = campaigns.Done, now
	}
}

// record keeps what became of items.
func (r *round) record(ctx context.Context, items []Item) error {
	took := time.Since(r.began)
	r.began = time.Now()
	return r.engine.store.Record(ctx, r.turn, items, took)
}

// tests gives the tests that are for an item.
func (r *round) tests(item Item) []v1alpha1.ImageTest {
	var all []v1alpha1.ImageTest
	for _, test := range r.campaign.Spec.Tests {
		if s, err := newSelector(test.Images, nil, nil); err == nil && s.means(repositoryOf(item.Reference), nil) {
			all = append(all, test)
		}
	}
	return all
}

// release tests candidates, and lets the tags name those that pass.
func (r *round) release(ctx context.Context, items []Item) error {
	var group errgroup.Group
	group.SetLimit(testedAtOnce)
	for i := range items {
		group.Go(func() error {
			r.test(ctx, &items[i])
			return nil
		})
	}
	_ = group.Wait() // failures stand in the items
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	var failed, moving []Item
	for _, item := range items {
		if item.State == campaigns.Moving {
			moving = append(moving, item)
		} else {
			failed = append(failed, item)
		}
	}
	if err := r.record(ctx, failed); err != nil {
		return err
	}
	return r.move(ctx, moving, func(item Item) Move {
		return Move{Number: item.Number, Reference: item.Reference, From: item.Before, To: item.After}
	}, func(item *Item, err error) {
		item.State, item.Ended = campaigns.Done, r.engine.o.Now()
		if err != nil {
			r.settle(item, Outcome{Err: err}, true)
		}
	})
}

// test runs the tests of one candidate.
func (r *round) test(ctx context.Context, item *Item) {
	item.Tested = nil
	for _, test := range r.tests(*item) {
		err := r.engine.o.Tester.Test(ctx, item.Reference, item.After, test)
		if err != nil && ctx.Err() == nil {
			r.settle(item, Outcome{Err: fmt.Errorf("test %s: %w", test.Name, err)}, true)
			return
		}
		item.Tested = append(item.Tested, test.Name)
	}
}

// takeBack lets tags name again what they named.
func (r *round) takeBack(ctx context.Context, items []Item) error {
	return r.move(ctx, items, func(item Item) Move {
		return Move{Number: item.Number, Reference: item.Reference, From: item.After, To: item.Before}
	}, func(item *Item, err error) {
		if item.State = campaigns.RolledBack; err != nil {
			item.State, item.Error = campaigns.Failed, "roll back: "+err.Error()
		}
		item.Ended = r.engine.o.Now()
	})
}

// move moves tags, and keeps what became of it.
func (r *round) move(ctx context.Context, items []Item, how func(Item) Move, settle func(*Item, error)) error {
	if len(items) == 0 {
		return nil
	}
	moves := make([]Move, len(items))
	at := map[int64]int{}
	for i, item := range items {
		moves[i], at[item.Number] = how(item), i
	}
	reported := map[int64]bool{}
	err := r.engine.o.Remedier.Move(ctx, moves, func(o Outcome) {
		if i, known := at[o.Number]; known && !reported[o.Number] {
			reported[o.Number] = true
			settle(&items[i], o.Err)
		}
	})
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err == nil {
		err = errors.New("nothing was reported of it")
	}
	for i := range items {
		if !reported[items[i].Number] {
			settle(&items[i], err)
		}
	}
	return r.record(ctx, items)
}
