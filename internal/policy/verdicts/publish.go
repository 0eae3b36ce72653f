package verdicts

import (
	"container/heap"
	"context"
	"errors"
	"maps"
	"sync"
	"time"
)

const (
	publishers     = 2                // that tell others at once
	publishTimeout = 2 * time.Minute  // of one try
	lastRepublish  = 10 * time.Minute // the longest wait between two tries
)

// publishLoop tells others what the queue holds.
func (k *Keeper) publishLoop() {
	for {
		image, tries, ok := k.queue.take(k.work)
		if !ok {
			return
		}
		again := time.Duration(-1)
		if err := k.publish(image); err != nil && k.work.Err() == nil {
			again = min(lastRepublish, time.Second<<min(tries, 20))
			k.opts.Log.Warn("a verdict could not be published", "image", image.String(), "attempt", tries+1, "error", err)
		}
		k.queue.finish(image, again)
	}
}

// publish tells others of the verdict that an image has now, unless that is what they were told.
func (k *Keeper) publish(image Image) error {
	number := k.journal.pending(opUntold, image)
	change, ok, err := k.table.untold(image)
	switch {
	case err != nil:
		return err
	case ok:
		ctx, cancel := context.WithTimeout(k.work, publishTimeout)
		defer cancel()
		if err := k.opts.Publish(ctx, change); err != nil {
			return err
		}
		k.table.nowTold(image, change.Verdict.Gates)
	}
	k.done(opUntold, image, number)
	return nil
}

// untold gives what others do not know of an image; ok is false when they know all, or when there
// is no such image any more.
func (t *table) untold(image Image) (change Change, ok bool, err error) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	switch e := t.entries[image]; {
	case e == nil || e.verdict == nil || maps.Equal(e.told, e.verdict.Gates):
		return Change{}, false, nil
	case e.failing():
		return Change{}, false, errors.New("its facts cannot be gathered just now")
	default:
		return Change{Verdict: *e.verdict, Before: e.told}, true, nil
	}
}

func (t *table) nowTold(image Image, told gates) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if e := t.entries[image]; e != nil {
		e.told = told
	}
}

// queue holds the images of which others are to be told, each once, the one first that may be
// tried first.
type queue struct {
	mu    sync.Mutex
	items items
	known map[Image]*item
	wake  chan struct{} // closed and made anew when something may be taken
}

// item is an image in the queue, or one that somebody has taken from it.
type item struct {
	image Image
	at    time.Time // when it may be tried
	tries int
	taken bool
	again bool // there is more to tell since it was taken
}

type items []*item

func (s items) Len() int           { return len(s) }
func (s items) Less(i, j int) bool { return s[i].at.Before(s[j].at) }
func (s items) Swap(i, j int)      { s[i], s[j] = s[j], s[i] }
func (s *items) Push(x any)        { *s = append(*s, x.(*item)) }
func (s *items) Pop() any {
	last := (*s)[len(*s)-1]
	*s = (*s)[:len(*s)-1]
	return last
}

func newQueue() *queue { return &queue{known: map[Image]*item{}, wake: make(chan struct{})} }

// push adds images; one that is there already stays where it is.
func (q *queue) push(images []Image) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, image := range images {
		if known := q.known[image]; known != nil {
			known.again = known.taken
			continue
		}
		q.add(&item{image: image, at: time.Now()})
	}
}

func (q *queue) add(i *item) {
	q.known[i.image] = i
	heap.Push(&q.items, i)
	close(q.wake)
	q.wake = make(chan struct{})
}

// take waits for an image; ok is false when ctx ends. Nobody else gets it until finish.
func (q *queue) take(ctx context.Context) (image Image, tries int, ok bool) {
	for {
		q.mu.Lock()
		wake, wait := q.wake, time.Hour
		if len(q.items) > 0 {
			if wait = time.Until(q.items[0].at); wait <= 0 {
				i := heap.Pop(&q.items).(*item)
				i.taken = true
				q.mu.Unlock()
				return i.image, i.tries, true
			}
		}
		q.mu.Unlock()
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return Image{}, 0, false
		case <-wake:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// finish gives back an image that was taken, to be tried again after a while, or never when that
// is negative and nothing came meanwhile.
func (q *queue) finish(image Image, again time.Duration) {
	q.mu.Lock()
	defer q.mu.Unlock()
	i := q.known[image]
	delete(q.known, image)
	switch {
	case again >= 0:
		q.add(&item{image: image, at: time.Now().Add(again), tries: i.tries + 1})
	case i.again:
		q.add(&item{image: image, at: time.Now()})
	}
}
