// Package limit takes what somebody does and gives whether he has done too much of it. All it
// remembers is bounded.
package limit

import (
	"sync"
	"time"

	"golang.org/x/time/rate"

	"plimsoll.dev/plimsoll/internal/registry/access/recent"
)

// most is how many are remembered, of each kind. Who was not seen for longest is forgotten.
const most = 10_000

// Rates bounds how often something is done. The zero Rates is not usable.
type Rates struct {
	mu    sync.Mutex
	known recent.Table[string, *rate.Limiter]
}

// NewRates gives one under which nothing was done yet.
func NewRates() *Rates { return &Rates{known: recent.New[string, *rate.Limiter](most)} }

// Wait counts one more for the key, and gives 0; or how long until it may be done.
func (r *Rates) Wait(key string, perSecond, burst int, now time.Time) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	limiter := r.known.Get(key, func() *rate.Limiter { return rate.NewLimiter(rate.Limit(perSecond), burst) })
	if limiter.Limit() != rate.Limit(perSecond) || limiter.Burst() != burst {
		limiter.SetLimitAt(now, rate.Limit(perSecond))
		limiter.SetBurstAt(now, burst)
	}
	reserved := limiter.ReserveN(now, 1)
	if !reserved.OK() {
		return time.Second
	}
	wait := reserved.DelayFrom(now)
	if wait > 0 {
		reserved.CancelAt(now)
	}
	return wait
}

// Failures makes whoever fails often wait, longer with each failure.
type Failures struct {
	free   int
	within time.Duration

	mu    sync.Mutex
	known recent.Table[string, *failed]
}

type failed struct {
	times       int
	first, last time.Time
}

const (
	firstWait   = time.Second
	longestWait = 5 * time.Minute
)

// NewFailures gives one under which nobody failed yet. So many failures within that time are
// free; who failed more often is forgiven when he has not failed for as long.
func NewFailures(free int, within time.Duration) *Failures {
	return &Failures{free: free, within: within, known: recent.New[string, *failed](most)}
}

// Wait says how long the key has to wait for its next attempt.
func (f *Failures) Wait(key string, now time.Time) time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	known, ok := f.known.Find(key)
	if !ok || known.times < f.free || now.Sub(known.last) > f.within {
		return 0
	}
	wait := longestWait
	if over := known.times - f.free; over < 9 {
		wait = min(firstWait<<over, longestWait)
	}
	return max(0, known.last.Add(wait).Sub(now))
}

// Note counts a failure.
func (f *Failures) Note(key string, now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	known := f.known.Get(key, func() *failed { return &failed{} })
	if now.Sub(known.last) > f.within || known.times < f.free && now.Sub(known.first) > f.within {
		known.times, known.first = 0, now
	}
	known.times++
	known.last = now
}

// Forgive forgets the failures of one who succeeded.
func (f *Failures) Forgive(key string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.known.Forget(key)
}

// Seen knows when something was last seen.
type Seen struct {
	mu    sync.Mutex
	known recent.Table[string, *time.Time]
}

// NewSeen gives one that saw nothing yet.
func NewSeen() *Seen { return &Seen{known: recent.New[string, *time.Time](most)} }

// Note sees the key now.
func (s *Seen) Note(key string, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	*s.known.Get(key, func() *time.Time { return new(time.Time) }) = now
}

// Within says whether the key was seen so short ago.
func (s *Seen) Within(key string, period time.Duration, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	last, ok := s.known.Find(key)
	return ok && now.Sub(*last) <= period
}

// Slots bounds how much is done at once.
type Slots struct {
	mu    sync.Mutex
	taken map[string]int // no entry for nothing
}

// NewSlots gives one of which nothing is taken.
func NewSlots() *Slots { return &Slots{taken: map[string]int{}} }

// Take takes one of so many, until the function that it gives is called; ok is false when
// none is left.
func (s *Slots) Take(key string, of int) (release func(), ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.taken[key] >= of {
		return nil, false
	}
	s.taken[key]++
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.taken[key]--; s.taken[key] == 0 {
			delete(s.taken, key)
		}
	}, true
}

// Sums adds up numbers by key.
type Sums struct {
	mu    sync.Mutex
	known recent.Table[string, *int64]
}

// NewSums gives one in which all is 0.
func NewSums() *Sums { return &Sums{known: recent.New[string, *int64](most)} }

// Add adds to the sum of the key, and gives it.
func (s *Sums) Add(key string, n int64) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	sum := s.known.Get(key, func() *int64 { return new(int64) })
	*sum += n
	return *sum
}

// Forget makes the sum of the key 0.
func (s *Sums) Forget(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.known.Forget(key)
}
