package site

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"plimsoll.dev/plimsoll/internal/build/rebase"
	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/inventory"
	"plimsoll.dev/plimsoll/internal/inventory/query"
	"plimsoll.dev/plimsoll/internal/site/known"
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

// agreed wants the inventory to know of an image from whoever made it what all find who look into it: else
// each of them changes what the other one wrote, and all that rests on it is decided again.
func (b *bed) agreed(tag string, index *inventory.Inventory) {
	b.Helper()
	found, err := known.NewReader(b.Context(), b.Home).Read(b.Context(), tag)
	if err != nil {
		b.Fatal(err)
	}
	q, err := query.Parse(`images where ref = "` + tag + `"`)
	if err != nil {
		b.Fatal(err)
	}
	kept, err := index.Query(b.Context(), q, inventory.Page{})
	if err != nil || len(found) != 1 || len(kept.Images) != 1 {
		b.Fatalf("%s: %d are found, %d are kept, %v", tag, len(found), len(kept.Images), err)
	}
	if got, want := places(kept.Images[0].Evidence), places(found[0].Evidence); len(want) == 0 || !slices.Equal(got, want) {
		b.Errorf("%s: the inventory knows of the evidence %q, want %q", tag, got, want)
	}
}

// places gives what evidence there is, where it lies, as far as the inventory keeps that, and who vouches
// for it.
func places(all []inventory.Evidence) []string {
	var out []string
	for _, e := range all {
		if !strings.Contains(e.Digest, ":") {
			e.Digest = "" // an older tag
		}
		out = append(out, strings.Join([]string{e.PredicateType, e.Stored, e.Digest, e.KeyID, e.Identity, fmt.Sprint(e.VerifiedAt.IsZero())}, " "))
	}
	slices.Sort(out)
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
	b.agreed("fleet/app:0", index)
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
