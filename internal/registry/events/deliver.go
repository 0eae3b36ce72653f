package events

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"plimsoll.dev/plimsoll/internal/fault"
)

const (
	// parallel is how many requests to one webhook are under way at most.
	parallel = 4
	// lookEvery is how often a folder is looked at for what other processes put there.
	lookEvery = 2 * time.Second
	longest   = time.Hour // between two attempts
)

// Deliver delivers what waits and what comes, until ctx ends; requests under way are given up
// then, and made again by whoever delivers next. While another process delivers, it waits.
// Errors are *fault.Error.
func (b *Bus) Deliver(ctx context.Context) error {
	release, err := b.lock(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return fault.New(fault.Failed, "deliver events", b.dir, err)
	}
	defer release()
	var all sync.WaitGroup
	defer all.Wait()
	working := map[string]bool{}
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		for _, h := range b.webhooks() {
			if !working[h.name] {
				working[h.name] = true
				p := &postman{Bus: b, box: b.box(h.name), busy: map[string]bool{}, due: map[string]time.Time{}, done: make(chan outcome, parallel)}
				all.Go(func() { p.work(ctx) })
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// lock waits until no other process delivers.
func (b *Bus) lock(ctx context.Context) (release func(), err error) {
	f, err := os.OpenFile(filepath.Join(b.dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	tick := time.NewTicker(lookEvery / 4)
	defer tick.Stop()
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return func() { f.Close() }, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			f.Close()
			return nil, err
		}
		select {
		case <-ctx.Done():
			f.Close()
			return nil, ctx.Err()
		case <-tick.C:
		}
	}
}

// postman delivers what waits for one webhook.
type postman struct {
	*Bus
	box    *box
	files  []string // that wait, the oldest first, as last looked at
	looked time.Time
	busy   map[string]bool      // what letters under way are about
	due    map[string]time.Time // when what is about that may be tried again
	done   chan outcome
	gone   string // URL that said nobody is to send to it any more
}

// outcome is what became of one attempt.
type outcome struct {
	file, about string
	next        time.Time // of another attempt; zero: there is none
	gone        string    // see postman
}

// lookAtMost is how often a folder is looked at while much comes.
const lookAtMost = 50 * time.Millisecond

func (p *postman) work(ctx context.Context) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for stale := true; ; {
		pause := longest
		if stale {
			if pause = lookAtMost - time.Since(p.looked); pause <= 0 {
				p.look()
				stale, pause = false, longest
			}
		}
		pause = min(pause, p.start(ctx))
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
		case o := <-p.done:
			p.settle(o)
		case <-p.box.wake:
			stale = true
		case <-tick.C:
			stale = true
		case <-timer.C:
		}
		timer.Stop()
		if ctx.Err() != nil {
			for len(p.busy) > 0 {
				p.settle(<-p.done)
			}
			return
		}
	}
}

func (p *postman) look() {
	files, err := p.box.look()
	if err != nil {
		p.o.Logger.Error("events cannot be read", "webhook", p.box.name, "error", err)
		return
	}
	p.files, p.looked = files, time.Now()
}

func (p *postman) settle(o outcome) {
	delete(p.busy, o.about)
	delete(p.due, o.about)
	if o.gone != "" {
		p.gone = o.gone
	}
	if !o.next.IsZero() {
		p.due[o.about] = o.next
		return
	}
	if i, found := slices.BinarySearch(p.files, o.file); found {
		p.files = slices.Delete(p.files, i, i+1)
	}
}

// start begins as many requests as may be under way, and gives how long there is nothing to
// do for sure.
func (p *postman) start(ctx context.Context) time.Duration {
	pause := longest
	h := p.hook()
	if h == nil {
		return pause // it is not configured any more; what waits, waits
	}
	seen := map[string]bool{}
	for _, file := range p.files {
		if len(p.busy) == parallel {
			return pause
		}
		_, about, _ := readName(file)
		if seen[about] || p.busy[about] {
			continue // what came before it about the same goes first
		}
		seen[about] = true
		if wait := time.Until(p.due[about]); wait > 0 {
			pause = min(pause, wait)
			continue
		}
		p.busy[about] = true
		gone := p.gone == h.url
		go func() { p.done <- p.deliver(ctx, h, outcome{file: file, about: about}, gone) }()
	}
	return pause
}

// hook gives the webhook as it is configured now; nil when it is not any more.
func (p *postman) hook() *hook {
	for _, h := range p.webhooks() {
		if h.name == p.box.name {
			return h
		}
	}
	return nil
}

// deliver makes one attempt with the letter of the file.
func (p *postman) deliver(ctx context.Context, h *hook, o outcome, gone bool) outcome {
	l, err := readLetter(filepath.Join(p.box.queue, o.file))
	switch {
	case errors.Is(err, os.ErrNotExist):
		return o
	case err != nil:
		p.o.Logger.Error("an event cannot be read", "webhook", h.name, "file", o.file, "error", err)
		return p.kept(h, o, p.box.setAside(o.file))
	case time.Until(l.Next) > 0 && time.Until(l.Next) < 2*longest: // further off the clock was set back
		o.next = l.Next
		return o
	}
	reply := reply{err: errGone, gone: true}
	if !gone {
		reply = h.send(ctx, l, p.o)
	}
	switch {
	case reply.err == nil:
		return p.kept(h, o, p.box.sent(l))
	case ctx.Err() != nil:
		return o
	}
	p.box.failed.Add(1)
	l.Attempts++
	l.Error = cut(reply.err.Error(), 512)
	if reply.gone {
		o.gone = h.url
	}
	if reply.gone || time.Since(l.Queued) > h.retryFor {
		p.o.Logger.Error("an event was given up", "webhook", h.name, "type", l.Type, "id", l.ID, "attempts", l.Attempts, "error", l.Error)
		return p.kept(h, o, p.box.giveUp(l))
	}
	l.Next = time.Now().Add(max(p.pauseAfter(l.Attempts), min(reply.after, longest))).UTC()
	o.next = l.Next
	return p.kept(h, o, p.box.again(l))
}

// kept makes of a folder that fails a pause.
func (p *postman) kept(h *hook, o outcome, err error) outcome {
	if err != nil {
		p.o.Logger.Error("an event cannot be put away", "webhook", h.name, "file", o.file, "error", err)
		o.next = time.Now().Add(p.o.First)
	}
	return o
}

// pauseAfter gives how long to wait after so many attempts: twice as long each time, and not
// as long for all.
func (p *postman) pauseAfter(attempts int) time.Duration {
	pause := longest
	if shift := attempts - 1; shift < 20 {
		pause = min(longest, p.o.First<<shift)
	}
	return pause/2 + rand.N(pause/2+1)
}

func cut(s string, most int) string { return s[:min(len(s), most)] }
