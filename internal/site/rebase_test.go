package site

import (
	"context"
	"fmt"
	"slices"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"plimsoll.dev/plimsoll/internal/build/rebase"
	"plimsoll.dev/plimsoll/internal/fault"
)

// fleet builds an image and names it by so many tags.
func (b *bed) fleet(tags int) []RebaseItem {
	b.Helper()
	r := b.request("fleet/app:0", "hello")
	items := []RebaseItem{{Tag: "fleet/app:0"}}
	for i := 1; i < tags; i++ {
		tag := fmt.Sprintf("fleet/app:%d", i)
		r.AdditionalTags = append(r.AdditionalTags, b.tag(tag))
		items = append(items, RebaseItem{Tag: tag})
	}
	b.built(r)
	return items
}

// rebase rebases items, and gives what became of each by its tag.
func (b *bed) rebase(items []RebaseItem) map[string]RebaseOutcome {
	b.Helper()
	out := map[string]RebaseOutcome{}
	if err := b.Rebase(b.Context(), items, RebaseOptions{}, func(o RebaseOutcome) { out[o.Item.Tag] = o }); err != nil {
		b.Fatal(err)
	}
	return out
}

// TestRebase: each item goes onto its run image, all its tags name the result with all evidence, and
// one that fails does not stop the others.
func TestRebase(t *testing.T) {
	b := newBed(t)
	items := b.fleet(3)
	before := b.head("fleet/app:0")
	b.run("2")
	items[0].AdditionalTags = []string{"fleet/app:b2", "mirror/app:b2"}
	items[1].RunImage = "run:1"
	items[2].AdditionalTags = []string{"not a tag"}
	items = append(items, RebaseItem{Tag: "fleet/gone:1"}, RebaseItem{Tag: "not a tag"})
	out := b.rebase(items)
	want := map[string]rebase.Status{
		"fleet/app:0": rebase.StatusRebased, "fleet/app:1": rebase.StatusRebased, "fleet/app:2": rebase.StatusFailed,
		"fleet/gone:1": rebase.StatusFailed, "not a tag": rebase.StatusFailed,
	}
	for tag, status := range want {
		if got := out[tag]; got.Status != status || (status == rebase.StatusFailed) != (got.Err != nil) {
			t.Errorf("%s: %s, %v; want %s", tag, got.Status, got.Err, status)
		}
	}
	if kind := fault.KindOf(out["fleet/gone:1"].Err); kind != fault.NotFound {
		t.Errorf("what is not there is of kind %v", kind)
	}
	moved := out["fleet/app:0"].To
	for _, tag := range []string{"fleet/app:0", "fleet/app:1", "fleet/app:2", "fleet/app:b2", "mirror/app:b2"} {
		if got := b.head(tag); got != moved || got == before {
			t.Errorf("%s names %s, want %s", tag, got, moved)
		}
		b.vouched(tag)
	}
	index, err := b.Inventory(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if known, err := index.References(t.Context(), "mirror/app:b2"); err != nil || len(known) != 1 {
		t.Errorf("the inventory knows %q of the other tag, %v", known, err)
	}
	if again := b.rebase(items[:1])["fleet/app:0"]; again.Status != rebase.StatusUnchanged {
		t.Errorf("without news it is %s, %v", again.Status, again.Err)
	}
}

// TestRebaseWaitsForItsTurn: a tag that is being built is rebased after that, and holds up no other.
func TestRebaseWaitsForItsTurn(t *testing.T) {
	b := newBed(t)
	items := b.fleet(3)
	b.run("2")
	end, err := b.tags.take(t.Context(), "fleet/app:0")
	if err != nil {
		t.Fatal(err)
	}
	var order []string
	err = b.Rebase(t.Context(), items, RebaseOptions{Jobs: 1}, func(o RebaseOutcome) {
		if order = append(order, o.Item.Tag); len(order) == 2 {
			end()
		}
	})
	if err != nil || !slices.Equal(order, []string{"fleet/app:1", "fleet/app:2", "fleet/app:0"}) {
		t.Errorf("rebased in the order %q, %v", order, err)
	}
	if len(b.tags.taken) > 0 {
		t.Errorf("turns are left: %v", b.tags.taken)
	}
}

// TestInterruptedRebaseEndsItsTurns: who is interrupted while waiting leaves no tag locked.
func TestInterruptedRebaseEndsItsTurns(t *testing.T) {
	b := open(t, t.TempDir())
	end, err := b.tags.take(t.Context(), "app:1")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() {
		done <- b.Rebase(ctx, []RebaseItem{{Tag: "app:1"}, {Tag: "app:2"}}, RebaseOptions{}, func(RebaseOutcome) {})
	}()
	until(t, "the rebase waits", func() bool {
		b.tags.mu.Lock()
		defer b.tags.mu.Unlock()
		return b.tags.taken["app:1"].waiting == 2
	})
	cancel()
	if err := <-done; fault.KindOf(err) != fault.Canceled {
		t.Errorf("it ended with %v", err)
	}
	end()
	if len(b.tags.taken) > 0 {
		t.Errorf("turns are left: %v", b.tags.taken)
	}
}

// TestResolve: each name is asked for once, and says what is wrong with it.
func TestResolve(t *testing.T) {
	b := open(t, t.TempDir())
	b.base("run:1", "1", v1.Config{})
	got := b.Resolve(t.Context(), "run:1", "gone:1", "run:1", "not a tag")
	if got[0].Err != nil || got[0].Digest != got[2].Digest || got[0].Ref != "run:1" {
		t.Errorf("%+v", got)
	}
	for i, kind := range map[int]fault.Kind{1: fault.NotFound, 3: fault.Usage} {
		if got[i].Err == nil || fault.KindOf(got[i].Err) != kind {
			t.Errorf("%s: %v", got[i].Ref, got[i].Err)
		}
	}
}
