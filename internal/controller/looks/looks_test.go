package looks_test

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"plimsoll.dev/plimsoll/internal/controller/looks"
)

func TestWait(t *testing.T) {
	now := time.Now()
	tests := []struct {
		name  string
		noted bool
		was   int // what the last look was for
		at    time.Time
		isDue bool
	}{
		{"never looked", false, 0, now, true},
		{"just now", true, 1, now, false},
		{"for something else", true, 2, now, true},
		{"an hour ago", true, 1, now.Add(-time.Hour), true},
		{"as early as jitter may be", true, 1, now.Add(-54 * time.Minute), true},
		{"earlier", true, 1, now.Add(-53 * time.Minute), false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var b looks.Book[int]
			if test.noted {
				b.Note("a", test.was, test.at)
			}
			if wait := b.Wait("a", 1, time.Hour); (wait == 0) != test.isDue || wait > time.Hour {
				t.Errorf("it waits %s", wait)
			}
			if b.Forget("a"); b.Wait("a", test.was, time.Hour) != 0 {
				t.Error("what was forgotten is remembered")
			}
		})
	}
}

func TestIntervals(t *testing.T) {
	for _, none := range []*metav1.Duration{nil, {}, {Duration: -time.Second}} {
		if got := looks.Interval(none); got != 15*time.Minute {
			t.Errorf("%v is %s", none, got)
		}
	}
	if got := looks.Interval(&metav1.Duration{Duration: time.Hour}); got != time.Hour {
		t.Errorf("got %s", got)
	}
	for _, d := range []time.Duration{1, time.Second, time.Hour} {
		for range 1000 {
			if got := looks.Jitter(d); got < d-d/10 || got > d+d/10+1 {
				t.Fatalf("%s became %s", d, got)
			}
		}
	}
}
