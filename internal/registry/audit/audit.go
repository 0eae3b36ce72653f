// Package audit takes what requests came to and gives a log that only grows: one JSON line a
// record, each naming the hash of the line before, with signed checkpoints between them.
//
// A log is a folder of segments, which are named by their first record. Several processes may
// write to one: each batch is written under a lock, by whoever holds it, where the last ended.
// A batch is on the disk before the next is begun, and what a killed writer left of a line is
// cut off, and told in a record, by the next.
//
// What the log can show: that a line was changed, removed, put in or moved, and that the end
// is missing as far back as the newest checkpoint. What it cannot show by itself: that the
// whole folder was set back to an earlier state. Whoever keeps a checkpoint elsewhere (see
// Options.Checkpointed) can hold the log against it.
package audit

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/registry/call"
)

// Signer signs checkpoints. *keys.Signer is one.
type Signer interface {
	// Sign signs the message, which it hashes itself.
	Sign(ctx context.Context, message []byte) ([]byte, error)
	// Hint names the key.
	Hint() string
}

// Options of a log.
type Options struct {
	// Signer signs checkpoints. Nil: they are not signed, and show accidents only.
	Signer Signer
	// Reads says which pulls that were allowed are written. Empty: ReadsFirst.
	Reads Reads
	// SegmentBytes is the size beyond which a segment is ended. Zero: 64 MiB. A segment also
	// ends with the day, in UTC.
	SegmentBytes int64
	// CheckpointEvery is after how many records there is a checkpoint. Zero: 1000. There is
	// one ten minutes after a record as well, and when a log is closed.
	CheckpointEvery int
	// Checkpointed is told of each checkpoint once it is on the disk, so that it can be kept
	// elsewhere. It may be nil, and must be quick.
	Checkpointed func(Checkpoint)
	// Logger gets what goes wrong. Nil: nothing is logged.
	Logger *slog.Logger
}

const (
	defaultSegment    = 64 << 20
	defaultEvery      = 1000
	checkpointAfter   = 10 * time.Minute
	queueLength       = 4096
	batchMost         = 512
	retryFirst        = 100 * time.Millisecond
	retryMost         = 5 * time.Second
	signatureDeadline = 10 * time.Second
)

// Log is an open log. It is safe for concurrent use.
type Log struct {
	o     Options
	log   *slog.Logger
	chain *chain // of the writing goroutine alone
	first firsts

	queue   chan item
	closing chan struct{}
	ended   chan struct{}
	once    sync.Once

	lost    atomic.Uint64 // records that were not taken, until a record says so
	dropped atomic.Uint64 // the same since the log was opened
	written atomic.Uint64
	oldest  atomic.Int64 // when the oldest record that is not written yet was taken, in Unix nanoseconds; 0: there is none
	failing atomic.Pointer[error]
}

// item is a record on its way.
type item struct {
	entry Entry
	done  chan error // told when it is on the disk; may be nil
}

// Open opens the log in the folder, which is made when missing, and begins to write. Errors
// are *fault.Error: Denied where the log ends before its newest checkpoint.
func Open(dir string, o Options) (*Log, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.SegmentBytes == 0 {
		o.SegmentBytes = defaultSegment
	}
	if o.CheckpointEvery == 0 {
		o.CheckpointEvery = defaultEvery
	}
	if o.Reads == "" {
		o.Reads = ReadsFirst
	}
	c := &chain{dir: dir, o: o}
	made, err := c.open()
	if err != nil {
		return nil, err
	}
	l := &Log{
		o: o, log: o.Logger, chain: c,
		queue: make(chan item, queueLength), closing: make(chan struct{}), ended: make(chan struct{}),
	}
	l.tell(made)
	go l.write()
	return l, nil
}

// Hear takes the record of a request, if it is one to be kept. It waits while the queue is
// full, but for pulls that were allowed: those are counted as lost then.
func (l *Log) Hear(r *call.Record) {
	e, must := l.of(r)
	switch {
	case e == nil:
		return
	case must:
		select {
		case l.queue <- item{entry: *e}:
			return
		case <-l.closing:
		}
	default:
		select {
		case l.queue <- item{entry: *e}:
			return
		default:
		}
	}
	l.lost.Add(1)
	l.dropped.Add(1)
}

// Append writes a record of something that was no request, and waits until it is on the disk.
// Its sequence, hash and, where it is zero, its time are filled in. Errors are *fault.Error.
func (l *Log) Append(ctx context.Context, e Entry) error {
	e.Checkpoint = nil
	one := item{entry: e.bounded(), done: make(chan error, 1)}
	select {
	case l.queue <- one:
	case <-l.closing:
		return fault.Newf(fault.Failed, "write audit log", l.chain.dir, "it is closed")
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-one.done:
		return err
	case <-l.ended:
		return fault.Newf(fault.Failed, "write audit log", l.chain.dir, "it was closed before")
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Door refuses what would change the store while no record of it could be written.
func (l *Log) Door(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead && l.Ready() != nil {
			w.Header().Set("Retry-After", "5")
			call.Refusal{Status: http.StatusServiceUnavailable, Code: "UNAVAILABLE", Message: "the audit log cannot be written, so nothing may be changed"}.Write(w)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// Ready gives why records cannot be written at the moment; nil when they can.
func (l *Log) Ready() error {
	if err := l.failing.Load(); err != nil {
		return *err
	}
	return nil
}

// Stats says how a log is doing.
type Stats struct {
	Queued  int           // records that wait to be written
	Lag     time.Duration // since the oldest of them came
	Written uint64        // since the log was opened
	Dropped uint64        // the same: pulls that were not written, and all that came after Close
}

// Stats gives how the log is doing.
func (l *Log) Stats() Stats {
	s := Stats{Queued: len(l.queue), Written: l.written.Load(), Dropped: l.dropped.Load()}
	if since := l.oldest.Load(); since != 0 {
		s.Lag = time.Since(time.Unix(0, since))
	}
	return s
}

// Close writes what is queued and a checkpoint, and ends the log. What comes later is lost.
func (l *Log) Close() error {
	l.once.Do(func() { close(l.closing) })
	<-l.ended
	return l.Ready()
}

// write is the goroutine that owns the chain.
func (l *Log) write() {
	defer close(l.ended)
	defer l.chain.close()
	tick := time.NewTicker(time.Minute)
	defer tick.Stop()
	for {
		select {
		case one := <-l.queue:
			l.store(l.batch(one))
		case <-tick.C:
			l.store(nil)
		case <-l.closing:
			l.finish()
			return
		}
	}
}

// batch takes what else waits.
func (l *Log) batch(first item) []item {
	l.oldest.Store(time.Now().UnixNano())
	batch := []item{first}
	for len(batch) < batchMost {
		select {
		case one := <-l.queue:
			batch = append(batch, one)
		default:
			return batch
		}
	}
	return batch
}

// store writes a batch, and goes on trying until it is written or the log is closed.
func (l *Log) store(batch []item) {
	for wait := retryFirst; ; wait = min(2*wait, retryMost) {
		err := l.try(batch, false)
		if err == nil {
			return
		}
		l.log.Error("the audit log cannot be written", "error", err, "waiting", len(batch)+len(l.queue))
		select {
		case <-time.After(wait):
		case <-l.closing:
			answer(batch, err)
			return
		}
	}
}

// try writes a batch once. closing asks for a checkpoint at its end.
func (l *Log) try(batch []item, closing bool) error {
	entries := make([]Entry, 0, len(batch)+1)
	for _, one := range batch {
		entries = append(entries, one.entry)
	}
	lost := l.lost.Load()
	if lost > 0 {
		entries = append(entries, Entry{Action: ActionLost, Outcome: Failed, Why: fmt.Sprintf("%d records of pulls were not written: too many waited", lost)})
	}
	made, err := l.chain.append(entries, closing)
	if err != nil {
		l.failing.Store(&err)
		return err
	}
	l.lost.Add(-lost)
	l.failing.Store(nil)
	l.oldest.Store(0)
	l.written.Add(uint64(len(entries)))
	answer(batch, nil)
	l.tell(made)
	return nil
}

func (l *Log) tell(made []Checkpoint) {
	if l.o.Checkpointed == nil {
		return
	}
	for _, point := range made {
		l.o.Checkpointed(point)
	}
}

func answer(batch []item, err error) {
	for _, one := range batch {
		if one.done != nil {
			one.done <- err
		}
	}
}

// finish writes what is left, once.
func (l *Log) finish() {
	for {
		var batch []item
		select {
		case one := <-l.queue:
			batch = l.batch(one)
		default:
		}
		if err := l.try(batch, len(batch) == 0); err != nil {
			l.log.Error("the audit log cannot be written", "error", err, "lost", len(batch)+len(l.queue))
			answer(batch, err)
			return
		}
		if len(batch) == 0 {
			return
		}
	}
}

// errTruncated says that a log ends too early.
var errTruncated = errors.New("it ends before its newest checkpoint: records were removed")
