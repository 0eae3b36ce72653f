package inventorytest

import (
	"fmt"
	"sync"
	"testing"

	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/inventory"
)

// testConcurrentStarts opens an empty database many times at once, as processes that share
// nothing but the database do.
func testConcurrentStarts(t *testing.T, address string) {
	var starts sync.WaitGroup
	for range 8 {
		starts.Go(func() {
			inv, err := inventory.Open(t.Context(), address, inventory.Options{})
			if err != nil {
				t.Error(err)
				return
			}
			if _, err := inv.Stats(t.Context()); err != nil {
				t.Error(err)
			}
			if err := inv.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	starts.Wait()
}

// testConcurrentWriters lets several write what they share, and others read meanwhile.
func testConcurrentWriters(t *testing.T, address string) {
	const writers, each = 4, 25
	c := newClock()
	var writing, reading sync.WaitGroup
	done := make(chan struct{})
	for w := range writers {
		inv := open(t, address, c)
		writing.Go(func() {
			for n := range each {
				image := Fleet()[n%4]
				image.Reference = fmt.Sprintf("registry.example/w%d:%d", w, n)
				image.Contents.Image = sum(image.Reference)
				if err := inv.Put(t.Context(), image); err != nil {
					t.Error(err)
				}
			}
			if _, err := inv.Rematch(t.Context(), inventory.Which{}, match(Advisories())); err != nil {
				t.Error(err)
			}
		})
	}
	for range 2 {
		inv := open(t, address, c)
		reading.Go(func() {
			for last := 0; ; {
				total := ask(t, inv, `what contains glibc`).Total
				if total < last {
					t.Errorf("%d images after %d", total, last)
				}
				last = total
				select {
				case <-done:
					return
				default:
				}
			}
		})
	}
	writing.Wait()
	close(done)
	reading.Wait()
	inv := open(t, address, c)
	stats, err := inv.Stats(t.Context())
	if err != nil || stats.Images != writers*each || stats.Packages != 8 || stats.Stacks != 3 || stats.Findings != 4 {
		t.Errorf("got %+v, %v", stats, err)
	}
}

func testNewerSchema(t *testing.T, address string) {
	c := newClock()
	open(t, address, c)
	Exec(t, address, "INSERT INTO schema_version (version) VALUES (1000)")
	_, err := inventory.Open(t.Context(), address, inventory.Options{})
	if err == nil || fault.HintOf(err) == "" {
		t.Errorf("got %v, want a refusal with a hint", err)
	}
}
