// Package poll takes what Images are made from and gives what that is now: it asks each distinct
// source at an interval, whoever and however many follow it, less often while it does not answer,
// and at once when somebody knows better.
package poll

import (
	"cmp"
	"container/heap"
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// Question is what is asked. Two Images with the same Question share its answer; the service
// account is part of it, so that nobody learns what only another's credentials can see.
type Question struct {
	Kind     Kind
	Location string // a git URL, an archive's URL, an artifact's REF
	Revision string // branch, tag or commit of git; "" is the default branch

	Namespace      string
	ServiceAccount string
}

// Kind says what a Question is about.
type Kind string

// The kinds.
const (
	Git      Kind = "git"
	Archive  Kind = "archive"
	Artifact Kind = "artifact"
)

// Sources asks sources.
type Sources interface {
	// Revision gives what the source is now: a commit's id, or the digest of an archive or
	// artifact. last is what it said the last time, whose Validator makes the request a
	// conditional one where there is such a thing; zero the first time.
	Revision(ctx context.Context, q Question, last Answer) (Answer, error)

	// Paths gives the files in which two commits differ. An error of kind Unavailable is tried
	// again; any other says that nobody can tell, as after a forced push.
	Paths(ctx context.Context, q Question, from, to string) ([]string, error)
}

// Answer is what a source said.
type Answer struct {
	Revision  string
	Validator string // for the next conditional request: an ETag, say
}

// State is what is known of a source.
type State struct {
	Revision string // "": it has not answered yet
	Err      error  // why it did not answer the last time
	Failures int    // how often in a row
}

// Options of a Poller.
type Options struct {
	Interval time.Duration // of sources whose followers name none; 0 is 5 minutes
	Longest  time.Duration // between two questions to one that does not answer; 0 is an hour
	Timeout  time.Duration // of one question; 0 is 2 minutes
	Parallel int           // questions at a time; 0 is 4
}

// Alarming is after how many failures in a row followers are told: once is a hiccup.
const Alarming = 3

// Poller asks. Its methods are safe for concurrent use.
type Poller struct {
	sources Sources
	options Options
	changed func(types.NamespacedName)

	mu      sync.Mutex
	asked   map[Question]*entry
	follows map[types.NamespacedName]Question
	due     dueHeap
	wake    chan struct{} // says that due has another first
}

// New gives a Poller that calls changed, which must not block, for each follower of a source of
// which something else is known than before. It asks when Start runs.
func New(sources Sources, changed func(types.NamespacedName), o Options) *Poller {
	o.Interval = cmp.Or(o.Interval, 5*time.Minute)
	o.Longest = cmp.Or(o.Longest, time.Hour)
	o.Timeout = cmp.Or(o.Timeout, 2*time.Minute)
	o.Parallel = cmp.Or(o.Parallel, 4)
	return &Poller{
		sources: sources, options: o, changed: changed,
		asked: map[Question]*entry{}, follows: map[types.NamespacedName]Question{}, wake: make(chan struct{}, 1),
	}
}

// entry is a source that somebody follows.
type entry struct {
	question  Question
	followers map[types.NamespacedName]time.Duration // and how often they want it asked
	answer    Answer
	err       error
	failures  int

	differs map[[2]string]*difference // between two commits

	next   time.Time
	at     int // in the heap; -1: it is being asked
	urgent bool
}

// Follow gives what is known of what the Image is made from, and has it asked from now on. known
// is what the Image remembers of it; interval is how often it wants it asked, 0 is the default.
func (p *Poller) Follow(image types.NamespacedName, q Question, known string, interval time.Duration) State {
	p.mu.Lock()
	defer p.mu.Unlock()
	if was, ok := p.follows[image]; ok && was != q {
		p.leave(image)
	}
	p.follows[image] = q
	e, ok := p.asked[q]
	if !ok {
		e = &entry{question: q, followers: map[types.NamespacedName]time.Duration{}, answer: Answer{Revision: known}, at: -1}
		p.asked[q] = e
	}
	e.followers[image] = cmp.Or(interval, p.options.Interval)
	switch {
	case !ok && known != "": // a restart: thousands are not asked at once
		p.schedule(e, time.Duration(rand.Float64()*float64(e.interval())))
	case !ok:
		p.schedule(e, 0)
	case e.at >= 0 && e.failures == 0 && time.Until(e.next) > e.interval():
		p.schedule(e, e.interval()) // somebody is less patient
	}
	return State{Revision: e.answer.Revision, Err: e.err, Failures: e.failures}
}

// Forget ends what Follow began.
func (p *Poller) Forget(image types.NamespacedName) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.leave(image)
}

// leave takes the follower from its source, which nobody asks any more when it was the last.
func (p *Poller) leave(image types.NamespacedName) {
	q, ok := p.follows[image]
	if !ok {
		return
	}
	delete(p.follows, image)
	e := p.asked[q]
	delete(e.followers, image)
	if len(e.followers) > 0 {
		return
	}
	delete(p.asked, q)
	if e.at >= 0 {
		heap.Remove(&p.due, e.at)
	}
}

// Ask has the source of the Image asked at once: a webhook said that it has changed. It is false
// for an Image that follows none.
func (p *Poller) Ask(image types.NamespacedName) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	q, ok := p.follows[image]
	if !ok {
		return false
	}
	e := p.asked[q]
	e.urgent = true // also when it is being asked: the answer may be older than what is known
	if e.at >= 0 {
		p.schedule(e, 0)
	}
	return true
}

// Touches says whether the files in which two commits differ are among those that match. known is
// false while nobody knows yet: then the follower is told when somebody does.
func (p *Poller) Touches(image types.NamespacedName, from, to string, match func(path string) bool) (touches, known bool) {
	p.mu.Lock()
	q, ok := p.follows[image]
	if !ok {
		p.mu.Unlock()
		return false, false
	}
	e := p.asked[q]
	d := e.difference(from, to)
	if !d.known && !d.wanted {
		d.wanted = true
		if e.at >= 0 {
			p.schedule(e, 0)
		}
	}
	known, all, paths := d.known, d.all, d.paths // immutable once known
	p.mu.Unlock()
	if !known || all {
		return all, known
	}
	for _, path := range paths {
		if match(path) {
			return true, true
		}
	}
	return false, true
}

// interval is that of the least patient follower.
func (e *entry) interval() time.Duration {
	var least time.Duration
	for _, interval := range e.followers {
		if least == 0 || interval < least {
			least = interval
		}
	}
	return least
}

// schedule has the entry asked after the time.
func (p *Poller) schedule(e *entry, after time.Duration) {
	e.next = time.Now().Add(after)
	if e.at < 0 {
		heap.Push(&p.due, e)
	} else {
		heap.Fix(&p.due, e.at)
	}
	if e.at == 0 {
		select {
		case p.wake <- struct{}{}:
		default:
		}
	}
}
