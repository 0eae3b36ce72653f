package build

import (
	"context"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"

	"plimsoll.dev/plimsoll/api/v1alpha1"
	"plimsoll.dev/plimsoll/internal/controller/image"
)

// Rebased is the reason of the event of a BaseImage that says how many images were put on it.
const Rebased = "Rebased"

// How often is looked whether there is something to tell of images that were moved, and how long those
// that keep moving are collected.
const (
	tellEvery = 5 * time.Second
	tellLate  = time.Minute
)

// moved counts images by the run image they were put on, until somebody was told: an event of each
// would be thousands, which nobody reads and the API has to bear.
type moved struct {
	mu    sync.Mutex
	now   map[v1alpha1.Published]int
	since time.Time // when the first of them was counted
	still bool      // none was since the last look
}

func (m *moved) count(on v1alpha1.Published) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.now == nil {
		m.now, m.since = map[v1alpha1.Published]int{}, time.Now()
	}
	m.now[on]++
	m.still = false
}

// due gives what is to be told now: all, when nothing has moved since it was asked last, or for long.
func (m *moved) due() (out map[v1alpha1.Published]int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.still || m.now != nil && time.Since(m.since) > tellLate {
		out, m.now = m.now, nil
	}
	m.still = true
	return out
}

// tellMoved makes an event of each base that images were put on.
func (r *runner) tellMoved(ctx context.Context) {
	for on, n := range r.moved.due() {
		base := image.Base(ctx, r.client, on.Image)
		if base == nil {
			continue // the Builds say it
		}
		what := fmt.Sprint(n, " images were")
		if n == 1 {
			what = "1 image was"
		}
		r.events.Eventf(base, corev1.EventTypeNormal, Rebased, "%s put on %s", what, on.Digest)
	}
}
