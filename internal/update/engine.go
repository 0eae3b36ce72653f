package update

import (
	"context"
	"errors"
	"log/slog"
	"reflect"
	"time"

	"github.com/riverqueue/river"

	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/inventory"
	"plimsoll.dev/plimsoll/internal/inventory/campaigns"
	"plimsoll.dev/plimsoll/internal/inventory/jobs"
)

// Options are what an Engine may be told.
type Options struct {
	// Remedier changes images. Without one the engine only keeps what is asked for: another
	// process works it off.
	Remedier Remedier

	Tester Tester // runs tests; campaigns with tests are refused without one
	Signer Signer // signs reports; nil leaves them unsigned

	// Plan are options of every plan.
	Plan PlanOptions

	// Inputs gives Plan.Inputs at the moment of a plan. nil: Plan.Inputs as it is.
	Inputs func(ctx context.Context) (string, error)

	Parallel int // turns at campaigns that this process takes at a time; 0 is 4
	Rebases  int // images that are given to the Remedier at once for a rebase; 0 is 250
	Builds   int // and for a rebuild; 0 is 1

	Now    func() time.Time // the clock of windows; nil is time.Now
	Tick   time.Duration    // how often campaigns are looked at; 0 is a second
	Settle time.Duration    // how long more changes are waited for after one; 0 is 20 seconds
	Lease  time.Duration    // after what time without a sign a worker is taken to be dead; 0 is 15 seconds

	Log *slog.Logger // nil is nobody
}

func (o Options) filled() Options {
	set := func(value *int, otherwise int) {
		if *value == 0 {
			*value = otherwise
		}
	}
	setTime := func(value *time.Duration, otherwise time.Duration) {
		if *value == 0 {
			*value = otherwise
		}
	}
	set(&o.Parallel, 4)
	set(&o.Rebases, 250)
	set(&o.Builds, 1)
	setTime(&o.Tick, time.Second)
	setTime(&o.Settle, 20*time.Second)
	setTime(&o.Lease, 15*time.Second)
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return o
}

// Engine keeps campaigns and works them off. It is safe for concurrent use, and any number of
// engines may work at one database.
type Engine struct {
	inv   *inventory.Inventory
	store *campaigns.Store
	queue *jobs.Queue // nil without a Remedier
	o     Options
	woken chan struct{}
}

// Open gives an Engine over an inventory that is open, whose address it is, as
// inventory.Open takes it. Close ends it.
func Open(ctx context.Context, inv *inventory.Inventory, address string, o Options) (*Engine, error) {
	e := &Engine{inv: inv, store: inv.Campaigns(), o: o.filled(), woken: make(chan struct{}, 1)}
	if o.Remedier == nil {
		return e, nil
	}
	workers := river.NewWorkers()
	river.AddWorker(workers, &worker{engine: e})
	var err error
	e.queue, err = jobs.Open(ctx, address, workers, jobs.Options{Parallel: e.o.Parallel, Log: e.o.Log})
	return e, err
}

// Close ends what Open began. What is under way is put back, for others or for later.
func (e *Engine) Close() error {
	if e.queue == nil {
		return nil
	}
	return e.queue.Close()
}

// Run works until ctx ends. Without a Remedier there is nothing to do.
func (e *Engine) Run(ctx context.Context) error {
	if e.queue == nil {
		return fault.Newf(fault.Usage, "work at campaigns", "", "nothing here can change images")
	}
	if err := e.queue.Start(ctx); err != nil {
		return err
	}
	ticker := time.NewTicker(e.o.Tick)
	defer ticker.Stop()
	for {
		if err := e.tick(ctx); err != nil && ctx.Err() == nil {
			e.o.Log.Warn("campaigns wait", "error", err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		case <-e.woken:
		}
	}
}

// wake has campaigns looked at soon.
func (e *Engine) wake() {
	select {
	case e.woken <- struct{}{}:
	default:
	}
}

// tick does what is due. That one campaign cannot go on holds no other up.
func (e *Engine) tick(ctx context.Context) error {
	err := e.planDue(ctx)
	frozen, failed := e.store.Frozen(ctx)
	if failed != nil {
		return errors.Join(err, failed)
	}
	going, failed := e.store.Going(ctx)
	err = errors.Join(err, failed)
	for _, c := range going {
		err = errors.Join(err, e.push(ctx, c, frozen))
	}
	return errors.Join(err, e.report(ctx))
}

// push brings one campaign as far as it can go, and sees to it that somebody works at it.
func (e *Engine) push(ctx context.Context, c campaigns.Campaign, frozen []campaigns.Freeze) error {
	if err := e.store.Reclaim(ctx, c.ID); err != nil {
		return err
	}
	windows, err := newWindows(c.Spec.Windows)
	if err != nil {
		return err
	}
	s := situation{windows: windows, frozen: frozen, now: e.o.Now().Truncate(time.Second)}
	if s.Tally, err = e.store.Tally(ctx, c); err != nil {
		return err
	}
	ahead := c
	if advance(&ahead, s); !reflect.DeepEqual(ahead, c) {
		c, err = e.store.Update(ctx, c.ID, func(c *campaigns.Campaign, t campaigns.Tally) error {
			s.Tally = t
			advance(c, s)
			return nil
		})
		if err != nil {
			return err
		}
		e.o.Log.Info("campaign", "patch", c.Patch, "run", c.Run, "phase", c.Phase, "wave", c.Waves[c.Wave], "why", c.Why)
		if s.Tally, err = e.store.Tally(ctx, c); err != nil { // another wave may be the present one
			return err
		}
	}
	if n := wanted(&c, s); n > 0 {
		return e.offer(ctx, &c, n)
	}
	return nil
}

// offer puts turns into the queue.
func (e *Engine) offer(ctx context.Context, c *campaigns.Campaign, n int) error {
	turns, err := e.store.Offer(ctx, c.ID, slotsOf(c), n, e.o.Now().Add(4*e.o.Lease))
	for _, t := range turns {
		err = errors.Join(err, e.queue.Add(ctx, turnArgs{t}, urgency(c)))
	}
	return err
}

// urgency orders campaigns: those for security before others.
func urgency(c *campaigns.Campaign) int {
	if t := c.Spec.Target; t.Exploited || len(t.Advisories) > 0 {
		return 1
	} else if len(t.Severities) > 0 {
		return 2
	}
	return 3
}
