package audit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"plimsoll.dev/plimsoll/internal/aside"
	"plimsoll.dev/plimsoll/internal/fault"
)

// chain is the end of a log, as this process last saw it.
type chain struct {
	dir  string
	o    Options
	lock *os.File

	file    *os.File // the last segment; nil when there is none yet
	size    int64    // bytes of it that are whole lines
	next    uint64   // sequence of the next line
	last    string   // hash of the last line
	day     string   // on which the segment was begun, UTC
	pending int      // records since the last checkpoint
	since   time.Time
	torn    int64 // bytes cut off, of which no record tells yet
}

const (
	lockFile = "lock"
	headFile = "head" // the newest checkpoint's line
	prefix   = "audit-"
	suffix   = ".jsonl"
)

// segmentName sorts by the sequence of the segment's first line.
func segmentName(first uint64) string { return fmt.Sprintf("%s%020d%s", prefix, first, suffix) }

func segmentFirst(name string) (uint64, bool) {
	digits := strings.TrimSuffix(strings.TrimPrefix(name, prefix), suffix)
	first, err := strconv.ParseUint(digits, 10, 64)
	return first, err == nil && segmentName(first) == name
}

// segments gives the names of a log's segments in order.
func segments(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries { // sorted by name, so by sequence
		if _, ok := segmentFirst(e.Name()); ok && e.Type().IsRegular() {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

// open finds the end of the log, and begins one where there is none. It gives the checkpoints
// made.
func (c *chain) open() (made []Checkpoint, err error) {
	err = os.MkdirAll(c.dir, 0o700)
	if err == nil {
		c.lock, err = os.OpenFile(filepath.Join(c.dir, lockFile), os.O_RDWR|os.O_CREATE, 0o600)
	}
	if err == nil {
		made, err = c.append(nil, false)
	}
	if err == nil {
		return made, nil
	}
	c.close()
	failed := fault.New(fault.Failed, "open audit log", c.dir, err).WithHint("choose a folder this user may write to")
	if errors.Is(err, errTruncated) {
		failed.Kind = fault.Denied
		failed.Hint = "keep the folder as it is for whoever looks into it, and move it away: a new log is begun then"
	}
	return nil, failed
}

func (c *chain) close() {
	for _, f := range []*os.File{c.file, c.lock} {
		if f != nil {
			f.Close()
		}
	}
}

// append writes entries and, where one is due or wanted, a checkpoint. It gives the
// checkpoints made. When it fails nothing of the batch is in the log.
func (c *chain) append(entries []Entry, checkpoint bool) ([]Checkpoint, error) {
	if err := flock(c.lock, unix.LOCK_EX); err != nil {
		return nil, err
	}
	defer func() { _ = unix.Flock(int(c.lock.Fd()), unix.LOCK_UN) }()
	if err := c.catchUp(); err != nil {
		return nil, err
	}
	if c.torn > 0 {
		c.o.Logger.Warn("cut off what a killed writer left in the audit log", "bytes", c.torn)
		entries = append([]Entry{{Action: ActionRecovered, Outcome: Done, Why: fmt.Sprintf("%d bytes of a line that was never whole were cut off", c.torn)}}, entries...)
	}
	w := &writing{chain: *c}
	if err := w.write(entries, checkpoint); err != nil {
		w.undo(c)
		return nil, err
	}
	if w.file != c.file && c.file != nil {
		c.file.Close()
	}
	*c = w.chain
	c.torn = 0
	return w.made, nil
}

// lockPatience is how long another writer's batch may take.
const lockPatience = 10 * time.Second

// flock waits for the lock on an open file.
func flock(f *os.File, how int) error {
	for deadline := time.Now().Add(lockPatience); ; time.Sleep(time.Millisecond) {
		err := unix.Flock(int(f.Fd()), how|unix.LOCK_NB)
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			return err
		}
		if time.Now().After(deadline) {
			return errors.New("another process has locked it")
		}
	}
}

// catchUp moves to the end of the log: another process may have written. It cuts off what is
// no whole line there.
func (c *chain) catchUp() error {
	names, err := segments(c.dir)
	if err != nil {
		return err
	}
	if len(names) == 0 {
		if c.file != nil || c.headSequence() > 0 {
			return errTruncated
		}
		c.next, c.last = 1, noPrevious
		return nil
	}
	name := names[len(names)-1]
	if c.file == nil || filepath.Base(c.file.Name()) != name {
		if err := c.enter(name); err != nil {
			return err
		}
	}
	info, err := os.Stat(c.file.Name())
	switch {
	case err != nil:
		return err
	case info.Size() < c.size:
		return errTruncated
	case info.Size() == c.size && c.size > 0:
		return nil
	}
	entered := c.size == 0
	if err := c.read(info.Size() - c.size); err != nil {
		return err
	}
	c.torn += info.Size() - c.size
	switch {
	case c.size == 0: // it was begun, but never got a line
		if err := errors.Join(c.file.Close(), os.Remove(c.file.Name())); err != nil {
			return err
		}
		c.file = nil
		return c.catchUp()
	case entered && c.headSequence() >= c.next:
		return errTruncated
	}
	return c.file.Truncate(c.size)
}

// enter opens a segment, of which nothing is known yet.
func (c *chain) enter(name string) error {
	file, err := os.OpenFile(filepath.Join(c.dir, name), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	if c.file != nil {
		c.file.Close()
	}
	c.file, c.size, c.next, c.pending = file, 0, 0, 0
	return nil
}

// read follows the lines in the next bytes of the segment. That they hang together is for
// Verify to say: a log that was meddled with is written on, or nobody could report it.
func (c *chain) read(n int64) error {
	c.since = time.Now()
	end := c.size + n
	lines := newLines(io.NewSectionReader(c.file, c.size, n))
	for {
		line, err := lines.next()
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, errTorn):
			return nil
		case errors.Is(err, errLong):
			return c.unfinished(end)
		case err != nil:
			return err
		}
		e, err := parse(line)
		if err != nil {
			return fmt.Errorf("%s: %w", filepath.Base(c.file.Name()), err)
		}
		if c.size == 0 {
			c.day = e.Time.UTC().Format(time.DateOnly)
		}
		c.pending++
		if e.Checkpoint != nil {
			c.pending = 0
		}
		c.next, c.last, c.size = e.Sequence+1, hashOf(line), c.size+int64(len(line))+1
	}
}

// unfinished gives an error unless all up to the end is of one line, that was never whole:
// what follows a line that is too long may be records, and is not ours to cut off.
func (c *chain) unfinished(end int64) error {
	rest := io.NewSectionReader(c.file, c.size, end-c.size)
	for chunk := make([]byte, maxLine); ; {
		n, err := rest.Read(chunk)
		switch {
		case bytes.IndexByte(chunk[:n], '\n') >= 0:
			return fmt.Errorf("%s: %w", filepath.Base(c.file.Name()), errLong)
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
	}
}

// headSequence gives which checkpoint is the newest; 0 when there was none yet.
func (c *chain) headSequence() uint64 {
	line, err := os.ReadFile(filepath.Join(c.dir, headFile))
	if err != nil {
		return 0
	}
	e, err := parse(bytes.TrimSuffix(line, []byte("\n")))
	if err != nil {
		return 0
	}
	return e.Sequence
}

// writing is one batch on its way, and the chain as it will be.
type writing struct {
	chain
	text []byte
	head []byte // line of the newest checkpoint made
	made []Checkpoint
}

func (w *writing) write(entries []Entry, closing bool) error {
	now := time.Now().UTC()
	if w.file == nil || len(entries) > 0 && (w.size >= w.o.SegmentBytes || w.day != now.Format(time.DateOnly)) {
		if err := w.rotate(now); err != nil {
			return err
		}
	}
	for i := range entries {
		if err := w.add(&entries[i]); err != nil {
			return err
		}
	}
	if w.pending >= w.o.CheckpointEvery || w.pending > 0 && (closing || now.Sub(w.since) > checkpointAfter) {
		if err := w.point(now); err != nil {
			return err
		}
	}
	if len(w.text) == 0 {
		return nil
	}
	if _, err := w.file.WriteAt(w.text, w.size); err != nil {
		return err
	}
	if err := w.file.Sync(); err != nil {
		return err
	}
	w.size += int64(len(w.text))
	if w.head == nil {
		return nil
	}
	// Only now: a crash must never leave a checkpoint that the log does not hold.
	return aside.WriteDurable(filepath.Join(w.dir, headFile), w.head)
}

// rotate begins a segment, with a checkpoint that carries the chain over.
func (w *writing) rotate(now time.Time) error {
	name := filepath.Join(w.dir, segmentName(w.next))
	file, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	w.file, w.size, w.day = file, 0, now.Format(time.DateOnly)
	if err := syncDir(w.dir); err != nil {
		return err
	}
	return w.point(now)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// add appends one entry's line to the text.
func (w *writing) add(e *Entry) error {
	e.Sequence, e.Previous = w.next, w.last
	if e.Time.IsZero() {
		e.Time = time.Now().UTC()
	}
	line, hash, err := e.line()
	if err != nil {
		return err
	}
	w.text = append(w.text, line...)
	w.next, w.last, w.pending = w.next+1, hash, w.pending+1
	return nil
}

// point adds a checkpoint.
func (w *writing) point(now time.Time) error {
	e := Entry{Sequence: w.next, Previous: w.last, Time: now, Action: ActionCheckpoint, Outcome: Done, Checkpoint: &Signed{}}
	if signer := w.o.Signer; signer != nil {
		ctx, cancel := context.WithTimeout(context.Background(), signatureDeadline)
		defer cancel()
		signature, err := signer.Sign(ctx, e.checkpoint().Message())
		if err != nil {
			return fmt.Errorf("sign checkpoint: %w", err)
		}
		e.Checkpoint = &Signed{Key: signer.Hint(), Signature: signature}
	}
	start := len(w.text)
	if err := w.add(&e); err != nil {
		return err
	}
	w.head, w.made = bytes.Clone(w.text[start:]), append(w.made, e.checkpoint())
	w.pending, w.since = 0, now
	return nil
}

// undo takes back what is on the disk of a batch that failed.
func (w *writing) undo(before *chain) {
	switch {
	case w.file == nil:
	case w.file != before.file: // begun by this batch
		w.file.Close()
		_ = os.Remove(w.file.Name()) // one that stays has no whole line, and is taken back later
	default:
		_ = w.file.Truncate(before.size) // what stays is cut off by whoever writes next
	}
}
