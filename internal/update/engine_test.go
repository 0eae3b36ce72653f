package update_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"plimsoll.dev/plimsoll/api/v1alpha1"
	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/inventory"
	"plimsoll.dev/plimsoll/internal/inventory/campaigns"
	"plimsoll.dev/plimsoll/internal/inventory/inventorytest"
	"plimsoll.dev/plimsoll/internal/testbed"
	"plimsoll.dev/plimsoll/internal/update"
)

// harbour is an engine at work on some images that all need the same rebase.
type harbour struct {
	testing.TB
	address string
	inv     *inventory.Inventory
	quay    *quay
	engine  *update.Engine
}

var openssl = v1alpha1.PatchTarget{Advisories: []string{"CVE-2026-0001"}}

func shipName(n int) string { return fmt.Sprintf("registry.example/team-%d/app-%d:1", n%3, n) }

// newHarbour starts an engine. change changes it before; it may be nil.
func newHarbour(t testing.TB, address string, images int, change func(*harbour, *update.Options)) *harbour {
	t.Helper()
	h := &harbour{TB: t, address: address, inv: openInventory(t, address, time.Now)}
	h.quay = newQuay(t.TempDir(), h.inv)
	moor(t, h.inv, h.quay, images)
	o := update.Options{Remedier: h.quay, Tick: 20 * time.Millisecond, Settle: time.Millisecond, Lease: 2 * time.Second}
	if change != nil {
		change(h, &o)
	}
	var err error
	if h.engine, err = update.Open(t.Context(), h.inv, address, o); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ran := make(chan error, 1)
	go func() { ran <- h.engine.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ran; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		if err := h.engine.Close(); err != nil {
			t.Error(err)
		}
	})
	return h
}

// moor puts images in that need a rebase, and their base, which has the fix.
func moor(t testing.TB, inv *inventory.Inventory, q *quay, images int) {
	t.Helper()
	all := []inventory.Image{base(runBase, fixed)}
	for n := range images {
		image := app(shipName(n), runBase, "3.5.1")
		all = append(all, image)
		if err := q.set(image.Reference, image.Contents.Image); err != nil {
			t.Fatal(err)
		}
	}
	put(t, inv, all...)
}

func (h *harbour) apply(name string, spec v1alpha1.PatchSpec) campaigns.Campaign {
	h.Helper()
	c, err := h.engine.Apply(h.Context(), name, spec)
	if err != nil {
		h.Fatal(err)
	}
	return c
}

// until waits for a status.
func (h *harbour) until(name, what string, holds func(update.Status) bool) update.Status {
	h.Helper()
	var s update.Status
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		var err error
		if s, err = h.engine.Status(h.Context(), name); err == nil && holds(s) {
			return s
		}
		if time.Now().After(deadline) {
			h.Fatalf("not %s within a minute: %v, %s %s: %+v", what, err, s.Phase, s.Why, s.Counts)
		}
	}
}

func (h *harbour) ended(name string) update.Status {
	h.Helper()
	return h.until(name, "ended and reported", func(s update.Status) bool { return !s.Ended.IsZero() && s.Report != "" })
}

// databases runs a test on both.
func databases(t *testing.T, test func(*testing.T, string)) {
	t.Run("SQLite", func(t *testing.T) { test(t, sqliteAddress(t)) })
	t.Run("PostgreSQL", func(t *testing.T) { test(t, inventorytest.Database(t, testbed.Postgres(t))) })
}

// TestCampaign takes some images through waves, and proves it.
func TestCampaign(t *testing.T) {
	databases(t, func(t *testing.T, address string) {
		h := newHarbour(t, address, 30, nil)
		spec := v1alpha1.PatchSpec{Target: openssl, Waves: []v1alpha1.PatchWave{
			{Name: "canary", Share: share("10%")}, {Name: "first", Repositories: []string{"registry.example/team-1/*"}, Soak: &metav1.Duration{Duration: time.Second}},
		}}
		c := h.apply("ssl", spec)
		if again := h.apply("ssl", spec); again.ID != c.ID {
			t.Errorf("the same plan again is campaign %d, not %d", again.ID, c.ID)
		}
		s := h.ended("ssl")
		if s.Phase != v1alpha1.PatchDone || s.Counts.Done != 30 || s.Counts.Failed > 0 {
			t.Fatalf("%s %s: %+v", s.Phase, s.Why, s.Counts)
		}
		var names []string
		var sizes int64
		for _, w := range s.Waves {
			names, sizes = append(names, w.Name), sizes+w.Images
		}
		if diff := cmp.Diff([]string{"canary", "first", "rest"}, names); diff != "" || sizes != 30 || s.Waves[0].Images != 3 {
			t.Errorf("%s: %+v", diff, s.Waves)
		}
		for line, n := range h.quay.journal() {
			if n != 1 {
				t.Errorf("%d times %s", n, line)
			}
		}
		proof(t, h, "ssl", 30)
		if again := newPlan(t, h.inv, spec); again.Len() != 0 {
			t.Errorf("there is still something to do: %v", lines(again))
		}
		if p := newPlan(t, h.inv, v1alpha1.PatchSpec{Target: v1alpha1.PatchTarget{All: true}}); p.Len() != 0 {
			t.Errorf("%v", lines(p))
		}
	})
}

// proof holds a report against what the tags name.
func proof(t *testing.T, h *harbour, name string, images int) {
	t.Helper()
	r, envelope, err := h.engine.Report(t.Context(), name)
	if err != nil || len(envelope) == 0 || len(r.Images) != images {
		t.Fatalf("a report of %d images: %v", len(r.Images), err)
	}
	waves := map[string]int{}
	var last time.Time
	for _, i := range r.Images {
		waves[i.Wave]++
		if i.State != campaigns.Done || i.After != h.quay.names(i.Reference) || i.Before == i.After {
			t.Errorf("%s is %s: %s to %s", i.Reference, i.State, i.Before, i.After)
		}
		if diff := cmp.Diff([]string{"CVE-2026-0001 openssl 3.5.1"}, i.Gone); diff != "" || len(i.Left) > 0 {
			t.Errorf("%s: %s, left %v", i.Reference, diff, i.Left)
		}
		if i.Wave == "rest" && waves["first"] > 0 && i.Started.Before(last.Add(time.Second)) {
			t.Errorf("%s began at %s, and the wave before ended at %s", i.Reference, i.Started, last)
		}
		if i.Wave == "first" && i.Ended.After(last) {
			last = i.Ended
		}
	}
}

// TestFailures lets some images fail, and looks at what follows.
func TestFailures(t *testing.T) {
	two := intstr.FromInt32(2)
	failing := func(n int) func(*harbour, *update.Options) {
		return func(h *harbour, o *update.Options) {
			o.Rebases = 3
			h.quay.refuse = func(reference string) error {
				for i := range n {
					if reference == shipName(i) {
						return fault.Newf(fault.Failed, "rebase", reference, "it will not")
					}
				}
				return nil
			}
		}
	}
	one := []v1alpha1.PatchWave{{Name: "all"}}
	for _, tt := range []struct {
		name         string
		failing      int
		spec         v1alpha1.PatchSpec
		phase        v1alpha1.PatchPhase
		done, failed int64 // -1: any
		back         bool
	}{
		{"as many as may", 2, v1alpha1.PatchSpec{MaxFailures: &two}, v1alpha1.PatchDone, 10, 2, false},
		{"halt", 3, v1alpha1.PatchSpec{MaxFailures: &two}, v1alpha1.PatchHalted, -1, 3, false},
		{"roll back", 3, v1alpha1.PatchSpec{MaxFailures: &two, OnFailure: v1alpha1.FailureRollback, Waves: one}, v1alpha1.PatchRolledBack, 0, 3, true},
		{"go on", 3, v1alpha1.PatchSpec{OnFailure: v1alpha1.FailureContinue}, v1alpha1.PatchDone, 9, 3, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := newHarbour(t, sqliteAddress(t), 12, failing(tt.failing))
			tt.spec.Target, tt.spec.Parallel = openssl, 3
			h.apply("ssl", tt.spec)
			s := h.ended("ssl")
			if s.Phase != tt.phase || tt.done >= 0 && s.Counts.Done != tt.done || s.Counts.Failed != tt.failed {
				t.Errorf("%s %s: %+v", s.Phase, s.Why, s.Counts)
			}
			for n := range 12 {
				if was := app(shipName(n), runBase, "3.5.1").Contents.Image; tt.back && h.quay.names(shipName(n)) != was {
					t.Errorf("%s is not back", shipName(n))
				}
			}
		})
	}
}

// TestTriesAgain lets a registry be away for a while.
func TestTriesAgain(t *testing.T) {
	away := make(chan struct{}, 3)
	for range cap(away) {
		away <- struct{}{}
	}
	h := newHarbour(t, sqliteAddress(t), 2, func(h *harbour, o *update.Options) {
		h.quay.refuse = func(reference string) error {
			select {
			case <-away:
				return fault.Newf(fault.Unavailable, "rebase", reference, "the registry is away")
			default:
				return nil
			}
		}
	})
	h.apply("ssl", v1alpha1.PatchSpec{Target: openssl})
	if s := h.ended("ssl"); s.Phase != v1alpha1.PatchDone || s.Counts.Done != 2 {
		t.Errorf("%s: %+v", s.Phase, s.Counts)
	}
}

// tester passes images but those named.
type tester struct{ fails []string }

func (f tester) Test(_ context.Context, reference, digest string, test v1alpha1.ImageTest) error {
	if digest != app(reference, runBase, fixed).Contents.Image {
		return fmt.Errorf("it is %s that is tested", digest)
	}
	if slices.Contains(f.fails, reference) {
		return errors.New("it answers 500")
	}
	return nil
}

// TestTests holds tags back until their images have passed.
func TestTests(t *testing.T) {
	h := newHarbour(t, sqliteAddress(t), 6, func(_ *harbour, o *update.Options) { o.Tester = tester{[]string{shipName(1)}} })
	spec := v1alpha1.PatchSpec{Target: openssl, OnFailure: v1alpha1.FailureContinue, Tests: []v1alpha1.ImageTest{
		{Name: "answers", HTTP: &v1alpha1.HTTPCheck{}, Images: []string{"registry.example/team-1/*"}}, {Name: "starts", Command: []string{"/bin/true"}, Images: []string{"registry.example/team-1/*"}},
	}}
	h.apply("ssl", spec)
	s := h.ended("ssl")
	if s.Phase != v1alpha1.PatchDone || s.Counts.Done != 5 || s.Counts.Failed != 1 {
		t.Errorf("%s: %+v", s.Phase, s.Counts)
	}
	journal := h.quay.journal()
	if was := app(shipName(1), runBase, "3.5.1").Contents.Image; h.quay.names(shipName(1)) != was || journal["tagged "+shipName(1)] > 0 {
		t.Error("the tag of what has failed its test was moved")
	}
	if journal["made "+shipName(4)] != 1 || journal["tagged "+shipName(4)] != 1 || journal["moved "+shipName(0)] != 1 {
		t.Errorf("%v", journal)
	}
	r, _, err := h.engine.Report(t.Context(), "ssl")
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range r.Images {
		if i.Reference == shipName(4) && cmp.Diff([]string{"answers", "starts"}, i.Tests) != "" {
			t.Errorf("%s passed %v", i.Reference, i.Tests)
		}
		if i.Reference == shipName(1) && (!strings.Contains(i.Error, "test answers: it answers 500") || len(i.Left) != 1) {
			t.Errorf("%s: %q, left %v", i.Reference, i.Error, i.Left)
		}
	}
}

// TestPauseAndFreeze stops a campaign in the middle, and lets it go on.
func TestPauseAndFreeze(t *testing.T) {
	h := newHarbour(t, sqliteAddress(t), 60, func(h *harbour, o *update.Options) {
		h.quay.delay, o.Rebases = 10*time.Millisecond, 2
	})
	h.apply("ssl", v1alpha1.PatchSpec{Target: openssl, Parallel: 2})
	h.until("ssl", "begun", func(s update.Status) bool { return s.Counts.Done > 0 })
	if err := h.engine.Pause(t.Context(), "ssl"); err != nil {
		t.Fatal(err)
	}
	resting := func(s update.Status) bool { return s.Phase == v1alpha1.PatchPaused && s.Counts.Moving == 0 }
	before := h.until("ssl", "paused", resting).Counts.Done
	if _, err := h.engine.Freeze(t.Context(), "ops", "the fair", time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if err := h.engine.Resume(t.Context(), "ssl"); err != nil {
		t.Fatal(err)
	}
	s := h.until("ssl", "frozen", func(s update.Status) bool { return resting(s) && strings.Contains(s.Why, "the fair") })
	if s.Counts.Done != before || before == 60 || len(s.Frozen) != 1 || s.Due.IsZero() {
		t.Errorf("%d were done before, %d when frozen until %s", before, s.Counts.Done, s.Due)
	}
	if n, err := h.engine.Thaw(t.Context(), "ops"); n != 1 || err != nil {
		t.Errorf("thawed %d: %v", n, err)
	}
	if s := h.ended("ssl"); s.Counts.Done != 60 {
		t.Errorf("%+v", s.Counts)
	}
	if err := h.engine.Pause(t.Context(), "ssl"); err == nil {
		t.Error("what has ended was paused")
	}
	if _, err := h.engine.Freeze(t.Context(), "", "why", time.Now().Add(time.Hour)); fault.KindOf(err) != fault.Usage {
		t.Errorf("a freeze without an owner: %v", err)
	}
}

// TestAutomatic lets changes begin campaigns, each once.
func TestAutomatic(t *testing.T) {
	h := newHarbour(t, sqliteAddress(t), 4, func(h *harbour, o *update.Options) {
		h.quay.refuse = func(reference string) error {
			if reference == shipName(0) {
				return errors.New("never")
			}
			return nil
		}
	})
	spec := v1alpha1.PatchSpec{Target: openssl, Automatic: true, OnFailure: v1alpha1.FailureContinue}
	changed := func() {
		t.Helper()
		for range 20 { // a burst
			if err := h.engine.Changed(t.Context(), update.Change{Kind: update.BasePublished, Name: runBase}); err != nil {
				t.Fatal(err)
			}
		}
	}
	changed()
	if err := h.engine.Ensure(t.Context(), "auto", spec); err != nil {
		t.Fatal(err)
	}
	s := h.ended("auto")
	if s.Run != 1 || s.Counts.Done != 3 || s.Counts.Failed != 1 {
		t.Errorf("run %d: %+v", s.Run, s.Counts)
	}
	// What has failed is not tried again with the same inputs, and a new image is remedied.
	late := app("registry.example/late:1", runBase, "3.5.1")
	if err := h.quay.set(late.Reference, late.Contents.Image); err != nil {
		t.Fatal(err)
	}
	changed()
	h.until("auto", "planned", func(update.Status) bool { return h.settled() })
	put(t, h.inv, late)
	changed()
	s = h.until("auto", "run again", func(s update.Status) bool { return s.Run > 1 && !s.Ended.IsZero() })
	if s.Run != 2 || s.Counts.Total != 1 || s.Counts.Done != 1 || !strings.Contains(s.Told, runBase) {
		t.Errorf("run %d, told %q: %+v", s.Run, s.Told, s.Counts)
	}
	// Somebody moves the tag back, again and again.
	for range 3 {
		put(t, h.inv, late)
		changed()
		h.until("auto", "planned", func(update.Status) bool { return h.settled() })
	}
	if s := h.ended("auto"); s.Run != 2 {
		t.Errorf("a tag that moves back began run %d", s.Run)
	}
}

// settled says that nothing is to be planned.
func (h *harbour) settled() bool {
	patches, err := h.inv.Campaigns().Patches(h.Context())
	if err != nil {
		h.Fatal(err)
	}
	return !slices.ContainsFunc(patches, func(p campaigns.Patch) bool { return !p.Due.IsZero() })
}

// TestApplyRefuses lists specs that are not worked off.
func TestApplyRefuses(t *testing.T) {
	h := newHarbour(t, sqliteAddress(t), 1, nil)
	bad := intstr.FromString("many")
	for name, spec := range map[string]v1alpha1.PatchSpec{
		"a window":      {Target: openssl, Windows: []v1alpha1.PatchWindow{{Start: "soon", Duration: metav1.Duration{Duration: time.Hour}}}},
		"a zone":        {Target: openssl, Windows: []v1alpha1.PatchWindow{{Start: "0 22 * * *", TimeZone: "Atlantis/Centre", Duration: metav1.Duration{Duration: time.Hour}}}},
		"no duration":   {Target: openssl, Windows: []v1alpha1.PatchWindow{{Start: "0 22 * * *"}}},
		"a number":      {Target: openssl, MaxFailures: &bad},
		"an action":     {Target: openssl, OnFailure: "Panic"},
		"no tester":     {Target: openssl, Tests: []v1alpha1.ImageTest{{Name: "t", Command: []string{"true"}}}},
		"an empty test": {Target: openssl, Tests: []v1alpha1.ImageTest{{Name: "t"}}},
	} {
		if _, err := h.engine.Apply(t.Context(), "x", spec); fault.KindOf(err) != fault.Usage {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if _, err := h.engine.Status(t.Context(), "x"); fault.KindOf(err) != fault.NotFound {
		t.Errorf("got %v", err)
	}
}
