package campaigns_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"plimsoll.dev/plimsoll/api/v1alpha1"
	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/inventory"
	"plimsoll.dev/plimsoll/internal/inventory/campaigns"
	"plimsoll.dev/plimsoll/internal/inventory/inventorytest"
	"plimsoll.dev/plimsoll/internal/testbed"
)

// clock is a time that tests move.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// stores runs a test on both databases.
func stores(t *testing.T, test func(*testing.T, *campaigns.Store, *clock)) {
	for name, address := range map[string]func(*testing.T) string{
		"SQLite":     func(t *testing.T) string { return "sqlite:" + filepath.Join(t.TempDir(), "inventory.db") },
		"PostgreSQL": func(t *testing.T) string { return inventorytest.Database(t, testbed.Postgres(t)) },
	} {
		t.Run(name, func(t *testing.T) {
			c := &clock{now: time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)}
			inv, err := inventory.Open(t.Context(), address(t), inventory.Options{Now: c.Now})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = inv.Close() })
			test(t, inv.Campaigns(), c)
		})
	}
}

// item gives the nth of a campaign.
func item(n int) campaigns.Item {
	return campaigns.Item{
		Number: int64(n), Reference: fmt.Sprintf("registry.example/app-%d:1", n), From: fmt.Sprintf("sha256:%064d", n), Team: "a",
		Remedy: []artifact.Remedy{artifact.RemedyRebase, artifact.RemedyOverride, artifact.RemedyNone}[n%3],
		Fixes:  []campaigns.Cause{{Advisory: "CVE-1", Severity: artifact.SeverityHigh, Package: "openssl", Version: "1", Fixed: "2"}}, Attempt: [16]byte{byte(n)},
	}
}

// create keeps a campaign of so many items.
func create(t *testing.T, s *campaigns.Store, name, plan string, items int) (campaigns.Campaign, bool) {
	t.Helper()
	c, created, err := s.Create(t.Context(), campaigns.Campaign{Patch: name, Plan: plan, Radius: []byte("{}"), Waves: []string{"rest"}}, func(after, n int) []campaigns.Item {
		var some []campaigns.Item
		for i := after + 1; i <= min(after+n, items); i++ {
			some = append(some, item(i))
		}
		return some
	})
	if err != nil {
		t.Fatal(err)
	}
	return c, created
}

// change updates a campaign.
func change(t *testing.T, s *campaigns.Store, id int64, do func(*campaigns.Campaign)) {
	t.Helper()
	if _, err := s.Update(t.Context(), id, func(c *campaigns.Campaign, _ campaigns.Tally) error { do(c); return nil }); err != nil {
		t.Fatal(err)
	}
}

// TestRuns: a campaign that has not started gives way to a newer plan, one that has does not.
func TestRuns(t *testing.T) {
	stores(t, func(t *testing.T, s *campaigns.Store, c *clock) {
		first, created := create(t, s, "ssl", "one", 6)
		if again, more := create(t, s, "ssl", "one", 6); !created || more || again.ID != first.ID {
			t.Errorf("the same plan is campaign %d, then %d", first.ID, again.ID)
		}
		second, created := create(t, s, "ssl", "two", 12)
		if !created || second.Run != 1 || second.ID == first.ID {
			t.Errorf("a newer plan: %t, %+v", created, second)
		}
		change(t, s, second.ID, func(c *campaigns.Campaign) { c.Started = c.Created })
		if third, created := create(t, s, "ssl", "three", 3); created || third.ID != second.ID {
			t.Errorf("a plan for one that has started: %t, %+v", created, third)
		}
		change(t, s, second.ID, func(c *campaigns.Campaign) { c.Ended, c.Phase = c.Created, v1alpha1.PatchDone })
		last, created := create(t, s, "ssl", "three", 3)
		if !created || last.Run != 2 {
			t.Errorf("a plan for one that has ended: %t, %+v", created, last)
		}
		items, err := s.Items(t.Context(), second.ID, campaigns.Filter{Wave: -1})
		if err != nil || len(items) != 12 || items[3].Attempt != item(4).Attempt {
			t.Fatalf("%d items: %v", len(items), err)
		}
		want := item(1)
		want.State = campaigns.Planned
		if diff := cmp.Diff(want, items[0]); diff != "" {
			t.Error(diff)
		}
		if items[1].State != campaigns.Skipped {
			t.Errorf("one that nothing is done with is %s", items[1].State)
		}
		if err := s.Remove(t.Context(), "ssl"); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Latest(t.Context(), "ssl"); fault.KindOf(err) != fault.NotFound {
			t.Errorf("what was removed: %v", err)
		}
	})
}

// TestTurns: a slot has one turn, whose work nobody else writes over, and what a dead one had is
// there for the next.
func TestTurns(t *testing.T) {
	stores(t, func(t *testing.T, s *campaigns.Store, clock *clock) {
		ctx := t.Context()
		c, _ := create(t, s, "ssl", "one", 9)
		until := func() time.Time { return clock.Now().Add(10 * time.Second) }
		offered, err := s.Offer(ctx, c.ID, 2, 5, until())
		if err != nil || len(offered) != 2 {
			t.Fatalf("%v, %v", offered, err)
		}
		if more, err := s.Offer(ctx, c.ID, 2, 5, until()); err != nil || len(more) > 0 {
			t.Errorf("slots that are taken were offered: %v, %v", more, err)
		}
		claim := func(turn campaigns.Turn, n int) ([]campaigns.Item, error) {
			_, items, err := s.Claim(ctx, turn, func(campaigns.Campaign, campaigns.Tally) (campaigns.Want, bool) {
				return campaigns.Want{Most: func(campaigns.Item) int { return n }}, true
			})
			return items, err
		}
		old := offered[0]
		if err := s.Begin(ctx, old, until()); err != nil {
			t.Fatal(err)
		}
		items, err := claim(old, 10)
		if err != nil || len(items) != 3 || items[0].Remedy != items[2].Remedy {
			t.Fatalf("%+v, %v", items, err)
		}
		clock.add(time.Minute) // its process is dead
		if err := s.Reclaim(ctx, c.ID); err != nil {
			t.Fatal(err)
		}
		offered, err = s.Offer(ctx, c.ID, 2, 1, until())
		if err != nil || len(offered) != 1 || offered[0].Number != 2 {
			t.Fatalf("%v, %v", offered, err)
		}
		next := offered[0]
		if err := s.Begin(ctx, next, until()); err != nil {
			t.Fatal(err)
		}
		again, err := claim(next, 10)
		if err != nil || len(again) != 3 || again[0].Number != items[0].Number || again[0].Attempts != 2 {
			t.Errorf("%+v, %v", again, err)
		}
		// The old one was not dead after all.
		items[0].State = campaigns.Failed
		_, claimed := claim(old, 1)
		for what, err := range map[string]error{
			"begin": s.Begin(ctx, old, until()), "renew": s.Renew(ctx, old, until()), "record": s.Record(ctx, old, items, 0), "end": s.End(ctx, old), "claim": claimed,
		} {
			if fault.KindOf(err) != fault.Canceled {
				t.Errorf("%s of a turn that was lost: %v", what, err)
			}
		}
		for i := range again {
			again[i].State, again[i].After, again[i].Bytes = campaigns.Done, again[i].From, 100
		}
		if err := errors.Join(s.Record(ctx, next, again, 3*time.Second), s.End(ctx, next)); err != nil {
			t.Fatal(err)
		}
		tally, err := s.Tally(ctx, c)
		if err != nil || tally.Of(0, campaigns.Done) != 3 || tally.Of(0, campaigns.Planned) != 3 || tally.Of(-1, campaigns.Skipped) != 3 || tally.Ready != 3 {
			t.Errorf("%+v, %v", tally, err)
		}
		paces, err := s.Paces(ctx)
		if diff := cmp.Diff(map[artifact.Remedy]campaigns.Pace{again[0].Remedy: {Images: 3, Seconds: 3, Bytes: 300}}, paces); err != nil || diff != "" {
			t.Errorf("%v: %s", err, diff)
		}
	})
}

// TestTold: a burst of changes is one, and what is told while somebody plans is not lost.
func TestTold(t *testing.T) {
	stores(t, func(t *testing.T, s *campaigns.Store, clock *clock) {
		ctx := t.Context()
		must := func(err error) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
		}
		must(s.Declare(ctx, "auto", v1alpha1.PatchSpec{Automatic: true}))
		for n := range 5 {
			must(s.Tell(ctx, "auto", fmt.Sprint("change ", n), clock.Now().Add(time.Duration(n+1)*time.Second)))
		}
		if _, due, err := s.TakeDue(ctx, clock.Now().Add(time.Minute)); err != nil || due {
			t.Errorf("it is due at once: %v", err)
		}
		clock.add(time.Second)
		p, due, err := s.TakeDue(ctx, clock.Now().Add(time.Minute))
		if err != nil || !due || p.Told != "change 0" || !p.Spec.Automatic {
			t.Errorf("%t, %+v, %v", due, p, err)
		}
		if _, due, err := s.TakeDue(ctx, clock.Now().Add(time.Minute)); err != nil || due {
			t.Errorf("two plan it: %v", err)
		}
		must(s.Tell(ctx, "auto", "meanwhile", clock.Now()))
		must(s.Planned(ctx, p, clock.Now().Add(time.Second)))
		clock.add(time.Second)
		p, due, err = s.TakeDue(ctx, clock.Now().Add(time.Minute))
		if err != nil || !due || p.Told != "meanwhile" {
			t.Errorf("what was told meanwhile: %t, %+v, %v", due, p, err)
		}
		clock.add(2 * time.Minute) // whoever plans it is dead
		if p, due, err = s.TakeDue(ctx, clock.Now().Add(time.Minute)); err != nil || !due {
			t.Errorf("what nobody has planned: %t, %v", due, err)
		}
		must(s.Planned(ctx, p, clock.Now()))
		clock.add(time.Hour)
		if _, due, err := s.TakeDue(ctx, clock.Now()); err != nil || due {
			t.Errorf("what was planned is due again: %v", err)
		}
	})
}
