package archives_test

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"plimsoll.dev/plimsoll/internal/controller/archives"
	"plimsoll.dev/plimsoll/internal/debian/archive"
	"plimsoll.dev/plimsoll/internal/testbed/debarchive"
)

const every = 20 * time.Millisecond

// world is an archive behind a server that counts, and a watch that runs.
type world struct {
	t       *testing.T
	archive *debarchive.Archive
	suite   archive.Suite
	keyring *archive.Keyring
	watch   *archives.Watch

	asked  atomic.Int64 // requests for InRelease
	others atomic.Int64 // any other
	isAway atomic.Bool

	mu    sync.Mutex
	heard []string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, archive: debarchive.New(t, packages("1"))}
	server := w.archive.Serve(t, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			if !strings.HasSuffix(r.URL.Path, "/InRelease") {
				w.others.Add(1)
			} else {
				w.asked.Add(1)
			}
			if w.isAway.Load() {
				rw.WriteHeader(http.StatusNotImplemented) // final: a look does not ask again
				return
			}
			next.ServeHTTP(rw, r)
		})
	})
	w.suite = archive.Suite{Name: "test", Mirror: server.URL}
	var err error
	if w.keyring, err = archive.LoadKeyring(w.archive.Keyring); err != nil {
		t.Fatal(err)
	}
	w.watch = archives.New(archives.Options{Every: every, State: t.TempDir(), Agent: "test"})
	w.run()
	return w
}

// run runs the watch, and hears of what it tells, until the test ends.
func (w *world) run() {
	ctx, cancel := context.WithCancel(context.Background())
	var group sync.WaitGroup
	group.Go(func() { _ = w.watch.Start(ctx) })
	group.Go(func() {
		for {
			select {
			case e := <-w.watch.Changed():
				w.mu.Lock()
				w.heard = append(w.heard, e.Object.GetName())
				w.mu.Unlock()
			case <-ctx.Done():
				return
			}
		}
	})
	w.t.Cleanup(func() {
		cancel()
		group.Wait()
	})
}

func packages(version string) debarchive.Suite {
	return debarchive.Suite{Name: "test", Packages: []debarchive.Package{{Name: "a", Version: version}}}
}

func (w *world) follow(name string) string {
	return w.watch.Follow(w.t.Context(), name, []archive.Suite{w.suite}, w.keyring, "keys")
}

// untilHeard waits until just these have been told, and forgets it.
func (w *world) untilHeard(want ...string) {
	w.t.Helper()
	w.until(func() string {
		w.mu.Lock()
		defer w.mu.Unlock()
		got := slices.Sorted(slices.Values(w.heard))
		if diff := cmp.Diff(want, got); diff != "" {
			return diff
		}
		w.heard = nil
		return ""
	})
}

func (w *world) untilAsked(more int64) {
	w.t.Helper()
	from := w.asked.Load()
	w.until(func() string {
		if w.asked.Load() < from+more {
			return "nobody looks"
		}
		return ""
	})
}

func (w *world) until(missing func() string) {
	w.t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		why := missing()
		if why == "" {
			return
		}
		if time.Now().After(deadline) {
			w.t.Fatal(why)
		}
	}
}

func TestOneLookForAll(t *testing.T) {
	w := newWorld(t)
	first := w.follow("one")
	asked := w.asked.Load()
	for _, name := range []string{"two", "three"} {
		if got := w.follow(name); got != first {
			t.Errorf("%s sees %s, one saw %s", name, got, first)
		}
	}
	w.untilAsked(3)
	w.archive.Rewrite(t, packages("2"))
	w.untilHeard("one", "three", "two")
	if again := w.follow("one"); again == first {
		t.Error("what changed looks as it did")
	}
	w.untilAsked(3)
	if w.others.Load() > 0 {
		t.Errorf("it read %d files that are no InRelease", w.others.Load())
	}
	if asked == 0 {
		t.Error("the first follower was told of an archive that nobody looked at")
	}
	w.untilHeard() // nothing changed since
}

func TestAwayAndBack(t *testing.T) {
	w := newWorld(t)
	first := w.follow("one")
	w.isAway.Store(true)
	w.untilHeard("one")
	if w.follow("one") == first {
		t.Error("what is away looks as it did")
	}
	// Looks become rarer: of the 100 that there would be, a few are left.
	from, began := w.asked.Load(), time.Now()
	w.until(func() string {
		if time.Since(began) < 100*every {
			return "it goes on"
		}
		return ""
	})
	if n := w.asked.Load() - from; n > 10 {
		t.Errorf("%d looks at what is away within %s", n, 100*every)
	}
	w.isAway.Store(false)
	w.untilHeard("one")
	if w.follow("one") != first {
		t.Error("what is back as it was looks otherwise")
	}
}

func TestForgottenSuitesAreNotLookedAt(t *testing.T) {
	w := newWorld(t)
	w.follow("one")
	w.untilAsked(2)
	w.watch.Forget("one")
	other := newWorld(t) // its clock shows that time passes
	other.follow("clock")
	before := w.asked.Load()
	other.untilAsked(10)
	if n := w.asked.Load() - before; n > 1 { // one may have been under way
		t.Errorf("%d looks at a suite that nobody follows", n)
	}
}

func TestOlderReleasesAreNoNews(t *testing.T) {
	w := newWorld(t)
	w.archive.Rewrite(t, debarchive.Suite{Name: "test", Date: time.Now().Add(-time.Minute), Packages: packages("2").Packages})
	first := w.follow("one")
	w.archive.Rewrite(t, debarchive.Suite{Name: "test", Date: time.Now().Add(-time.Hour), Packages: packages("1").Packages})
	w.untilHeard("one") // that something is wrong
	refused := w.follow("one")
	w.archive.Rewrite(t, debarchive.Suite{Name: "test", Date: time.Now().Add(-time.Minute), Packages: packages("2").Packages})
	w.untilHeard("one")
	if refused == first {
		t.Error("a rollback looks like what was there")
	}
}
