package recent_test

import (
	"testing"

	"plimsoll.dev/plimsoll/internal/registry/access/recent"
)

func TestTheOldestIsForgotten(t *testing.T) {
	table := recent.New[int, string](3)
	for _, key := range []int{1, 2, 3} {
		table.Get(key, func() string { return "first" })
	}
	table.Find(1)
	table.Get(4, func() string { return "first" })
	for key, want := range map[int]bool{1: true, 2: false, 3: true, 4: true} {
		if _, ok := table.Find(key); ok != want {
			t.Errorf("%d is there: %t", key, ok)
		}
	}
	if got := table.Get(1, func() string { return "second" }); got != "first" || table.Len() != 3 {
		t.Errorf("got %q of %d", got, table.Len())
	}
	table.Forget(1)
	table.Forget(9)
	if _, ok := table.Find(1); ok || table.Len() != 2 {
		t.Errorf("%d are there", table.Len())
	}
}
