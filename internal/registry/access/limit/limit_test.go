package limit

import (
	"fmt"
	"testing"
	"time"
)

var start = time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC)

func TestRates(t *testing.T) {
	r := NewRates()
	for i := range 5 {
		if wait := r.Wait("ann", 2, 5, start); wait != 0 {
			t.Fatalf("request %d waits %s", i, wait)
		}
	}
	if wait := r.Wait("ann", 2, 5, start); wait != 500*time.Millisecond {
		t.Errorf("after the burst the wait is %s", wait)
	}
	if wait := r.Wait("bob", 2, 5, start); wait != 0 {
		t.Errorf("ann's requests make bob wait %s", wait)
	}
	if wait := r.Wait("ann", 2, 5, start.Add(500*time.Millisecond)); wait != 0 {
		t.Errorf("who was refused is made to wait for that, too: %s", wait)
	}
	if wait := r.Wait("ann", 100, 100, start.Add(time.Second)); wait != 0 {
		t.Errorf("a new limit does not count: %s", wait)
	}
}

func TestFailures(t *testing.T) {
	f := NewFailures(3, time.Hour)
	for range 3 {
		if wait := f.Wait("k", start); wait != 0 {
			t.Fatalf("a free attempt waits %s", wait)
		}
		f.Note("k", start)
	}
	for _, want := range []time.Duration{1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300} {
		if wait := f.Wait("k", start); wait != want*time.Second {
			t.Errorf("waits %s, want %ds", wait, want)
		}
		f.Note("k", start)
	}
	if wait := f.Wait("k", start.Add(2*time.Hour)); wait != 0 {
		t.Errorf("nothing is forgiven: %s", wait)
	}
	f.Forgive("k")
	if wait := f.Wait("k", start); wait != 0 {
		t.Errorf("who succeeded waits %s", wait)
	}
}

// TestFewFailuresAreFree: who fails now and then never has to wait.
func TestFewFailuresAreFree(t *testing.T) {
	f := NewFailures(3, time.Hour)
	for i := range 20 {
		now := start.Add(time.Duration(i) * 40 * time.Minute)
		f.Note("k", now)
		if wait := f.Wait("k", now); wait != 0 {
			t.Fatalf("after %d failures waits %s", i+1, wait)
		}
	}
}

func TestSeen(t *testing.T) {
	s := NewSeen()
	if s.Within("k", time.Hour, start) {
		t.Error("it was never seen")
	}
	s.Note("k", start)
	if !s.Within("k", time.Hour, start.Add(time.Hour)) || s.Within("k", time.Hour, start.Add(61*time.Minute)) || s.Within("other", time.Hour, start) {
		t.Error("want what was seen within the hour, and nothing else")
	}
}

func TestSlots(t *testing.T) {
	s := NewSlots()
	one, ok := s.Take("ann", 2)
	_, again := s.Take("ann", 2)
	if _, more := s.Take("ann", 2); !ok || !again || more {
		t.Fatal("want two and no more")
	}
	if _, other := s.Take("bob", 1); !other {
		t.Error("ann's slots are bob's")
	}
	one()
	if _, ok := s.Take("ann", 2); !ok {
		t.Error("what was given back cannot be taken")
	}
}

// TestMemoryIsBounded: whoever comes from ever new addresses pushes out others, but no more is
// remembered.
func TestMemoryIsBounded(t *testing.T) {
	r, f, s := NewRates(), NewFailures(3, time.Hour), NewSums()
	for i := range 3 * most {
		key := fmt.Sprint(i)
		r.Wait(key, 1, 1, start)
		f.Note(key, start)
		s.Add(key, 1)
	}
	for name, n := range map[string]int{"rates": r.known.Len(), "failures": f.known.Len(), "sums": s.known.Len()} {
		if n != most {
			t.Errorf("%s: remembers %d", name, n)
		}
	}
	if s.Add(fmt.Sprint(3*most-1), 1) != 2 || s.Add("0", 1) != 1 {
		t.Error("not the oldest were forgotten")
	}
	slots := NewSlots()
	for i := range most {
		if release, ok := slots.Take(fmt.Sprint(i), 1); ok {
			release()
		}
	}
	if len(slots.taken) != 0 {
		t.Errorf("slots remember %d", len(slots.taken))
	}
}
