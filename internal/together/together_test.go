package together_test

import (
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"plimsoll.dev/plimsoll/internal/together"
)

// TestBatch: each item is done once before its caller goes on, never two rounds at once, and those that
// come while one is done are done together.
func TestBatch(t *testing.T) {
	const callers = 50
	var rounds [][]int
	results := make([]int, callers)
	begun, goOn := make(chan struct{}), make(chan struct{})
	b := together.New(0, func(items []int) { // one at a time: the race detector sees it otherwise
		if rounds = append(rounds, slices.Clone(items)); len(rounds) == 1 {
			close(begun)
			<-goOn
		}
		for _, i := range items {
			results[i]++
		}
	})
	var all sync.WaitGroup
	do := func(i int) {
		b.Do(i)
		if results[i] != 1 {
			t.Errorf("%d was done %d times", i, results[i])
		}
	}
	all.Go(func() { do(0) })
	<-begun
	for i := 1; i < callers; i++ {
		all.Go(func() { do(i) })
	}
	close(goOn)
	all.Wait()
	if len(rounds[0]) != 1 || len(rounds) > callers {
		t.Errorf("%d rounds, the first of %d", len(rounds), len(rounds[0]))
	}
	done := slices.Concat(rounds...)
	slices.Sort(done)
	if len(done) != callers || len(slices.Compact(done)) != callers {
		t.Errorf("done were %v", done)
	}
	b.Do(0) // it rests, and begins again
	if results[0] != 2 {
		t.Error("nothing is done after a rest")
	}
}

// TestGather: who comes alone never waits; where several come, those are done together who come within the
// time.
func TestGather(t *testing.T) {
	const ms = time.Millisecond
	synctest.Test(t, func(t *testing.T) {
		var rounds [][]int
		b := together.New(time.Second, func(items []int) {
			rounds = append(rounds, slices.Sorted(slices.Values(items)))
			time.Sleep(10 * ms)
		})
		var all sync.WaitGroup
		began := time.Now()
		for i, c := range []struct{ comes, done time.Duration }{
			{0, 10 * ms}, {20 * ms, 30 * ms}, {25 * ms, 1040 * ms}, {900 * ms, 1040 * ms}, {1500 * ms, 2050 * ms}, {5000 * ms, 5010 * ms},
		} {
			all.Go(func() {
				time.Sleep(c.comes)
				b.Do(i)
				if at := time.Since(began); at != c.done {
					t.Errorf("%d is done after %s, want %s", i, at, c.done)
				}
			})
		}
		all.Wait()
		if want := [][]int{{0}, {1}, {2, 3}, {4}, {5}}; !slices.EqualFunc(rounds, want, slices.Equal[[]int]) {
			t.Errorf("rounds %v, want %v", rounds, want)
		}
	})
}
