package inventory

import (
	"context"
	"sync"

	"plimsoll.dev/plimsoll/internal/inventory/store"
)

// joiners keeps what was read for one question about facts for the next: thousands are asked about
// one manifest each, and images that are judged one after the other hold the same packages.
type joiners struct {
	mu   sync.Mutex
	idle []*joiner
}

// What is kept between questions: as many as ask at once, and none that read a whole fleet.
const (
	idleJoiners  = 4
	idlePackages = 20_000
)

func (w *joiners) take() *joiner {
	w.mu.Lock()
	defer w.mu.Unlock()
	last := len(w.idle) - 1
	if last < 0 {
		j := &joiner{}
		j.forget()
		return j
	}
	j := w.idle[last]
	w.idle = w.idle[:last]
	return j
}

// give takes back one that nobody uses any more.
func (w *joiners) give(j *joiner) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.idle) < idleJoiners && len(j.packages) <= idlePackages {
		w.idle = append(w.idle, j)
	}
}

// outdated says whether anything that was read of packages is told otherwise now: whoever changes
// what is found in one, or what an advisory of it says, notes news of that package. Packages and
// sets themselves never change.
func (j *joiner) outdated(ctx context.Context, tx store.Tx, now Mark) (bool, error) {
	if now < j.mark {
		return true, nil // it is of a database that was there before this one
	}
	if now == j.mark {
		return false, nil
	}
	changed, err := tx.IDs(ctx, "SELECT p.id FROM packages p WHERE p.news > ?", int64(j.mark))
	for _, id := range changed {
		if j.packages[id] != nil {
			return true, err
		}
	}
	return false, err
}
