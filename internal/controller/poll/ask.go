package poll

import (
	"container/heap"
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"plimsoll.dev/plimsoll/internal/fault"
)

// Start asks until ctx ends, and waits for the questions that are under way.
func (p *Poller) Start(ctx context.Context) error {
	var asking sync.WaitGroup
	defer asking.Wait()
	free := make(chan struct{}, p.options.Parallel)
	for {
		select {
		case <-ctx.Done():
			return nil
		case free <- struct{}{}:
		}
		e := p.await(ctx)
		if e == nil {
			return nil
		}
		asking.Go(func() {
			p.ask(ctx, e)
			<-free
		})
	}
}

// await gives the next entry that is due, out of the heap; nil when ctx ends.
func (p *Poller) await(ctx context.Context) *entry {
	for {
		e, wait := p.first()
		if e != nil {
			return e
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-p.wake:
			timer.Stop()
		case <-timer.C:
		}
	}
}

// first takes the first entry if it is due, or says how long to wait.
func (p *Poller) first() (*entry, time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.due) == 0 {
		return nil, p.options.Longest
	}
	if wait := time.Until(p.due[0].next); wait > 0 {
		return nil, wait
	}
	e := heap.Pop(&p.due).(*entry)
	e.urgent = false
	return e, 0
}

// ask asks the entry's source, and lines it up again.
func (p *Poller) ask(ctx context.Context, e *entry) {
	limited, cancel := context.WithTimeout(ctx, p.options.Timeout)
	defer cancel()
	p.mu.Lock()
	last := e.answer
	p.mu.Unlock()
	answer, err := p.sources.Revision(limited, e.question, last)
	if ctx.Err() != nil {
		return // it is not the source's fault
	}
	p.mu.Lock()
	told := e.learn(answer, err)
	p.mu.Unlock()
	if err == nil {
		told = p.differences(limited, e) || told
	}
	p.mu.Lock()
	if p.asked[e.question] == e { // else nobody follows it any more
		switch {
		case e.urgent:
			p.schedule(e, 0)
		case e.wanting() && e.failures == 0:
			p.schedule(e, 0)
		default:
			p.schedule(e, e.pause(p.options.Longest))
		}
	}
	var followers []types.NamespacedName
	if told {
		for name := range e.followers {
			followers = append(followers, name)
		}
	}
	p.mu.Unlock()
	for _, name := range followers {
		p.changed(name)
	}
}

// learn takes the answer, and says whether followers care.
func (e *entry) learn(answer Answer, err error) bool {
	alarmed := e.failures >= Alarming || e.failures > 0 && e.answer.Revision == ""
	if err != nil {
		e.err = err
		e.failures++
		return !alarmed && (e.failures >= Alarming || e.answer.Revision == "")
	}
	news := answer.Revision != e.answer.Revision
	if news {
		e.prune(answer.Revision)
	}
	e.answer, e.err, e.failures = answer, nil, 0
	return news || alarmed
}

// pause is how long to wait until the next question, give or take a tenth, so that what began
// together does not stay together.
func (e *entry) pause(longest time.Duration) time.Duration {
	pause := e.interval()
	for range e.failures {
		if pause >= longest {
			break
		}
		pause = min(2*pause, longest)
	}
	return time.Duration(float64(pause) * (0.9 + 0.2*rand.Float64()))
}

// difference is what lies between two commits.
type difference struct {
	wanted bool // somebody asks
	known  bool
	all    bool // nobody can tell: as if all had changed
	paths  []string
}

// mostPaths is how many files are remembered of a difference: more are all.
const mostPaths = 50_000

func (e *entry) difference(from, to string) *difference {
	if e.differs == nil {
		e.differs = map[[2]string]*difference{}
	}
	d, ok := e.differs[[2]string{from, to}]
	if !ok {
		d = &difference{}
		e.differs[[2]string{from, to}] = d
	}
	return d
}

// prune forgets what led to another revision than that.
func (e *entry) prune(revision string) {
	for key := range e.differs {
		if key[1] != revision {
			delete(e.differs, key)
		}
	}
}

func (e *entry) wanting() bool {
	for _, d := range e.differs {
		if d.wanted {
			return true
		}
	}
	return false
}

// differences finds those that are wanted, and says whether any is known now.
func (p *Poller) differences(ctx context.Context, e *entry) (told bool) {
	p.mu.Lock()
	wanted := map[[2]string]*difference{}
	for key, d := range e.differs {
		if d.wanted {
			wanted[key] = d
		}
	}
	p.mu.Unlock()
	for key, d := range wanted {
		paths, err := p.sources.Paths(ctx, e.question, key[0], key[1])
		p.mu.Lock()
		switch {
		case ctx.Err() != nil, fault.KindOf(err) == fault.Unavailable:
			e.failures++ // so that it is asked less often
		case err != nil, len(paths) > mostPaths:
			d.wanted, d.known, d.all, told = false, true, true, true
		default:
			d.wanted, d.known, d.paths, told = false, true, paths, true
		}
		p.mu.Unlock()
	}
	return told
}

// dueHeap orders entries by when they are to be asked (container/heap).
type dueHeap []*entry

func (h dueHeap) Len() int           { return len(h) }
func (h dueHeap) Less(i, j int) bool { return h[i].next.Before(h[j].next) }
func (h dueHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].at, h[j].at = i, j
}

func (h *dueHeap) Push(x any) {
	e := x.(*entry)
	e.at = len(*h)
	*h = append(*h, e)
}

func (h *dueHeap) Pop() any {
	old := *h
	e := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	e.at = -1
	return e
}
