// Package together takes what several callers want done and has all that has come done at once: where one
// transaction, or one write to a disk, costs as much for ten as for one.
package together

import (
	"sync"
	"time"
)

// Batch gathers calls. It is safe for concurrent use.
type Batch[T any] struct {
	gather time.Duration
	work   func([]T)

	mu      sync.Mutex
	next    *round[T] // nil: nobody waits
	working bool
}

// round is what is done at once.
type round[T any] struct {
	items []T
	done  chan struct{} // closed when they are
}

// New gives a batch whose items work does, never twice at once. What comes of each it leaves where the
// caller finds it. Who comes alone is done at once, again and again. Those who come while others are done,
// or within the time gather after several were, are done together.
func New[T any](gather time.Duration, work func([]T)) *Batch[T] {
	return &Batch[T]{gather: gather, work: work}
}

// Do waits until the item was done, alone or with those that came while others were.
func (b *Batch[T]) Do(item T) {
	b.mu.Lock()
	if b.next == nil {
		b.next = &round[T]{done: make(chan struct{})}
	}
	mine := b.next
	mine.items = append(mine.items, item)
	if !b.working {
		b.working = true
		go b.run()
	}
	b.mu.Unlock()
	<-mine.done
}

// run does what waits, until nothing does.
func (b *Batch[T]) run() {
	for {
		b.mu.Lock()
		now := b.next
		b.next, b.working = nil, now != nil
		b.mu.Unlock()
		if now == nil {
			return
		}
		b.work(now.items)
		close(now.done)
		b.mu.Lock()
		several := len(now.items) > 1 || b.next != nil
		b.mu.Unlock()
		if several {
			time.Sleep(b.gather)
		}
	}
}
