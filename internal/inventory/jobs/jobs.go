// Package jobs takes workers and gives a queue of jobs in the inventory's database, which all
// processes that open it work off together (River, riverqueue.com).
package jobs

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"strings"
	"time"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/riverdriver/riversqlite"
	"github.com/riverqueue/river/rivermigrate"
	"github.com/riverqueue/river/rivertype"

	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/inventory/postgres"
	"plimsoll.dev/plimsoll/internal/inventory/sqlite"
)

// Options are what Open may be told.
type Options struct {
	Parallel int          // jobs that this process works on at a time; 0 is 4
	Log      *slog.Logger // what the queue itself says; nil is nobody
}

// How often a process looks for jobs where nobody tells it of new ones, how long a job may
// take, and after what time one is given up whose process has died.
const (
	poll    = 500 * time.Millisecond
	longest = 3 * time.Hour
	stuck   = 4 * time.Hour
)

// Queue is an open queue. It is safe for concurrent use.
type Queue struct {
	client client
	close  func() error
}

// client is what is needed of river.Client, whatever its database is.
type client interface {
	Insert(ctx context.Context, args river.JobArgs, opts *river.InsertOpts) (*rivertype.JobInsertResult, error)
	Start(ctx context.Context) error
	StopAndCancel(ctx context.Context) error
}

// Open opens the queue in the database at the address, as inventory.Open takes it, and brings
// its tables up to date.
func Open(ctx context.Context, address string, workers *river.Workers, o Options) (*Queue, error) {
	if o.Parallel == 0 {
		o.Parallel = 4
	}
	if o.Log == nil {
		o.Log = slog.New(slog.NewTextHandler(io.Discard, nil))
	}
	config := &river.Config{
		Logger: o.Log, Workers: workers, Queues: map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: o.Parallel}},
		FetchPollInterval: poll, JobTimeout: longest, RescueStuckJobsAfter: stuck,
		// What became of a job stands in the tables of whoever wanted it.
		CompletedJobRetentionPeriod: time.Hour, CancelledJobRetentionPeriod: time.Hour, DiscardedJobRetentionPeriod: time.Hour,
	}
	if path, ok := strings.CutPrefix(address, "sqlite:"); ok {
		db, err := sqlite.Pool(path)
		if err != nil {
			return nil, failure(err)
		}
		config.PollOnly = true // else it looks for news twenty times a second
		return open(ctx, riversqlite.New(db), config, db.Close)
	}
	pool, err := postgres.Pool(ctx, address)
	if err != nil {
		return nil, failure(err)
	}
	return open(ctx, riverpgxv5.New(pool), config, func() error { pool.Close(); return nil })
}

func open[Tx any](ctx context.Context, driver riverdriver.Driver[Tx], config *river.Config, shut func() error) (*Queue, error) {
	if err := migrate(ctx, driver, config.Logger); err != nil {
		return nil, errors.Join(failure(err), shut())
	}
	c, err := river.NewClient(driver, config)
	if err != nil {
		return nil, errors.Join(failure(err), shut())
	}
	return &Queue{c, shut}, nil
}

// tries is how often it is tried to bring the tables up to date: of several processes that do
// so at once one succeeds, and the others look again.
const tries = 20

func migrate[Tx any](ctx context.Context, driver riverdriver.Driver[Tx], log *slog.Logger) error {
	m, err := rivermigrate.New(driver, &rivermigrate.Config{Logger: log})
	for range tries {
		if err != nil {
			return err
		}
		if _, err := m.Migrate(ctx, rivermigrate.DirectionUp, nil); err == nil {
			return nil
		}
		var valid *rivermigrate.ValidateResult
		if valid, err = m.Validate(ctx, nil); err == nil && valid.OK {
			return nil
		}
	}
	_, err = m.Migrate(ctx, rivermigrate.DirectionUp, nil)
	return err
}

// Start begins to work; it ends with Close. ctx ends all jobs.
func (q *Queue) Start(ctx context.Context) error { return failure(q.client.Start(ctx)) }

// Add adds a job. Those with a lower priority, from 1 to 4, come first. It is tried once: who
// adds it sees to it that it is added again.
func (q *Queue) Add(ctx context.Context, args river.JobArgs, priority int) error {
	_, err := q.client.Insert(ctx, args, &river.InsertOpts{Priority: priority, MaxAttempts: 1})
	return failure(err)
}

// Close ends the jobs of this process, waits for them and closes the connections.
func (q *Queue) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	err := q.client.StopAndCancel(ctx)
	return failure(errors.Join(err, q.close()))
}

// failure gives the error that reaches the user.
func failure(err error) error {
	var known *fault.Error
	switch {
	case err == nil, errors.As(err, &known):
		return err
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return fault.New(fault.Canceled, "work at the queue", "", err)
	}
	return fault.New(fault.Unavailable, "work at the queue", "", err).WithHint("is the inventory's database reachable and writable?")
}
