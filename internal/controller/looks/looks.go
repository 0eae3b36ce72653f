// Package looks takes when each resource was last looked at, and for what, and gives when to look
// again. It remembers for as long as the process lives: a restart looks at everything once.
package looks

import (
	"math/rand/v2"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Book remembers looks that went well, by the name of the resource. For is what a look was for:
// another one is due at once. The zero Book is empty; it is safe for concurrent use.
type Book[For comparable] struct {
	mu   sync.Mutex
	last map[string]look[For]
}

type look[For comparable] struct {
	at  time.Time
	was For
}

// Note remembers a look that began at that time.
func (b *Book[For]) Note(name string, is For, at time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.last == nil {
		b.last = map[string]look[For]{}
	}
	b.last[name] = look[For]{at, is}
}

// Forget forgets a resource.
func (b *Book[For]) Forget(name string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.last, name)
}

// Last gives what the last look was for.
func (b *Book[For]) Last(name string) (was For, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	last, ok := b.last[name]
	return last.was, ok
}

// Wait gives how long there is no reason to look for this; 0 is that one is due.
func (b *Book[For]) Wait(name string, is For, interval time.Duration) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	last, ok := b.last[name]
	if !ok || last.was != is {
		return 0
	}
	return max(0, time.Until(last.at.Add(early(interval))))
}

// fallback is the interval of what names none.
const fallback = 15 * time.Minute

// Interval gives the one that a resource names, or 15 minutes.
func Interval(named *metav1.Duration) time.Duration {
	if named != nil && named.Duration > 0 {
		return named.Duration
	}
	return fallback
}

// Jitter keeps what was made together from being looked at together: it gives the interval, up
// to a tenth more or less.
func Jitter(interval time.Duration) time.Duration { return early(interval) + rand.N(interval/5+1) }

func early(interval time.Duration) time.Duration { return interval - interval/10 }

// Never is how long one sleeps who waits for an event alone: clocks are set, and events are lost.
const Never = 24 * time.Hour
