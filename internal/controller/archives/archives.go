// Package archives takes the suites that bases are made from and tells when one of them has
// changed. It reads nothing but their signed Release, once for all that follow a suite.
package archives

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"plimsoll.dev/plimsoll/api/v1alpha1"
	"plimsoll.dev/plimsoll/internal/debian/archive"
	"plimsoll.dev/plimsoll/internal/fault"
)

// Options of a watch.
type Options struct {
	Every time.Duration // between two looks at a suite; 0 is two minutes
	State string        // folder where the dates last seen are remembered; "" is none
	Agent string        // User-Agent of requests
	Log   *slog.Logger  // nil discards
}

const (
	defaultEvery = 2 * time.Minute
	longest      = time.Hour        // between two looks at a suite that is away
	patience     = 30 * time.Second // with one look: somebody may wait for it
)

// Watch looks at suites. It is safe for concurrent use.
type Watch struct {
	o       Options
	changed chan event.GenericEvent
	wake    chan struct{}

	mu     sync.Mutex
	suites map[key]*suite
	by     map[string][]key // what each follower follows
}

// key tells suites apart: who signs them is part of what they are.
type key struct{ mirror, name, signers string }

// suite is what is known of one.
type suite struct {
	keyring  *archive.Keyring
	state    string // its Release's digest, or what is wrong; "" before the first look
	failures int    // looks in a row
	due      time.Time
	looking  sync.Mutex
}

// New gives a watch that follows nothing yet.
func New(o Options) *Watch {
	o.Every = cmp.Or(o.Every, defaultEvery)
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Watch{o: o, changed: make(chan event.GenericEvent), wake: make(chan struct{}, 1), suites: map[key]*suite{}, by: map[string][]key{}}
}

// Changed names BaseImages of which a suite has changed, has gone away or is back. It must be
// read while the watch runs.
func (w *Watch) Changed() <-chan event.GenericEvent { return w.changed }

// Follow has the BaseImage of the name hear of these suites, and of no others. signers tells their keyring from
// other ones. It gives what the suites are now as a text that changes when any of them does; one
// that nobody has followed is looked at first.
func (w *Watch) Follow(ctx context.Context, follower string, suites []archive.Suite, keyring *archive.Keyring, signers string) string {
	var keys []key
	w.mu.Lock()
	for _, s := range suites {
		k := key{s.Mirror, s.Name, signers}
		keys = append(keys, k)
		if w.suites[k] == nil {
			w.suites[k] = &suite{}
		}
		w.suites[k].keyring = keyring // whose file may have changed
	}
	w.by[follower] = keys
	w.drop()
	w.mu.Unlock()
	sum := sha256.New()
	for _, k := range keys {
		fmt.Fprintln(sum, w.first(ctx, k))
	}
	return hex.EncodeToString(sum.Sum(nil))
}

// Forget ends what Follow began.
func (w *Watch) Forget(follower string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.by, follower)
	w.drop()
}

// drop forgets suites that nobody follows.
func (w *Watch) drop() {
	followed := map[key]bool{}
	for _, keys := range w.by {
		for _, k := range keys {
			followed[k] = true
		}
	}
	maps.DeleteFunc(w.suites, func(k key, _ *suite) bool { return !followed[k] })
}

// first gives the state of a suite, and looks if nobody has.
func (w *Watch) first(ctx context.Context, k key) string {
	w.mu.Lock()
	s := w.suites[k]
	w.mu.Unlock()
	if s == nil {
		return ""
	}
	s.looking.Lock()
	defer s.looking.Unlock()
	if s.state == "" {
		w.look(ctx, k, s)
		select {
		case w.wake <- struct{}{}: // the next look at it may be the first that is due
		default:
		}
	}
	return s.state
}

// NeedLeaderElection has one replica alone look.
func (w *Watch) NeedLeaderElection() bool { return true }

// Start looks at each suite when it is due, until ctx ends.
func (w *Watch) Start(ctx context.Context) error {
	clock := time.NewTimer(0)
	defer clock.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-w.wake:
		case <-clock.C:
		}
		for _, k := range w.dueNow(time.Now()) {
			for _, follower := range w.again(ctx, k) {
				select {
				case w.changed <- event.GenericEvent{Object: &v1alpha1.BaseImage{ObjectMeta: metav1.ObjectMeta{Name: follower}}}:
				case <-ctx.Done():
					return nil
				}
			}
		}
		clock.Reset(time.Until(w.next()))
	}
}

// again looks at a suite and gives who is to hear of it.
func (w *Watch) again(ctx context.Context, k key) []string {
	w.mu.Lock()
	s := w.suites[k]
	w.mu.Unlock()
	if s == nil {
		return nil
	}
	s.looking.Lock()
	defer s.looking.Unlock()
	before := s.state
	if w.look(ctx, k, s); s.state == before || before == "" || ctx.Err() != nil {
		return nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	var followers []string
	for follower, keys := range w.by {
		if slices.Contains(keys, k) {
			followers = append(followers, follower)
		}
	}
	slices.Sort(followers)
	return followers
}

// look reads and verifies the suite's Release.
func (w *Watch) look(parent context.Context, k key, s *suite) {
	ctx, cancel := context.WithTimeout(parent, patience)
	defer cancel()
	w.mu.Lock()
	keyring := s.keyring
	w.mu.Unlock()
	signed, err := archive.Open(ctx, archive.Options{
		Suites: []archive.Suite{{Name: k.name, Mirror: k.mirror}}, Keyring: keyring, State: w.o.State, Agent: w.o.Agent,
	})
	if parent.Err() != nil {
		return // that somebody stopped it says nothing of the suite
	}
	state, wait := "", w.o.Every
	if err == nil {
		s.failures = 0
		state = digestOf(signed.Release(k.name))
	} else {
		s.failures++
		wait = min(longest, w.o.Every<<min(s.failures, 16))
		state = fmt.Sprintf("kind %d", fault.KindOf(err))
		w.o.Log.Warn("a suite cannot be looked at", "suite", k.name, "mirror", archive.Redact(k.mirror), "error", err, "again", wait)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	s.state = state
	s.due = time.Now().Add(wait + rand.N(wait/5+1) - wait/10)
}

// digestOf tells a Release from any other: two publications may bear one date.
func digestOf(r *archive.Release) string {
	sum := sha256.New()
	fmt.Fprintln(sum, r.Date.Unix())
	for _, name := range slices.Sorted(maps.Keys(r.Files)) {
		fmt.Fprintln(sum, name, r.Files[name].SHA256)
	}
	return hex.EncodeToString(sum.Sum(nil))
}

func (w *Watch) dueNow(now time.Time) []key {
	w.mu.Lock()
	defer w.mu.Unlock()
	var due []key
	for k, s := range w.suites {
		if !s.due.IsZero() && !s.due.After(now) { // that one was never looked at is for Follow to mend
			due = append(due, k)
		}
	}
	return due
}

// next is when the first suite is due.
func (w *Watch) next() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	next := time.Now().Add(longest)
	for _, s := range w.suites {
		if !s.due.IsZero() && s.due.Before(next) {
			next = s.due
		}
	}
	return next
}
