package update

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"plimsoll.dev/plimsoll/api/v1alpha1"
	"plimsoll.dev/plimsoll/internal/inventory/campaigns"
)

func at(text string) time.Time {
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		panic(err)
	}
	return t
}

// TestWindows holds windows against the clock, through both changes of summer time.
func TestWindows(t *testing.T) {
	night := v1alpha1.PatchWindow{Start: "0 22 * * 1-5", Duration: metav1.Duration{Duration: 6 * time.Hour}, TimeZone: "Europe/Berlin"}
	early := v1alpha1.PatchWindow{Start: "30 2 * * *", Duration: metav1.Duration{Duration: time.Hour}, TimeZone: "Europe/Berlin"}
	long := v1alpha1.PatchWindow{Start: "0 0 * * 6", Duration: metav1.Duration{Duration: 48 * time.Hour}}
	for _, tt := range []struct {
		name   string
		window []v1alpha1.PatchWindow
		now    string
		open   bool
		next   string
	}{
		{"none", nil, "2026-03-02T12:00:00Z", true, ""},
		{"before", []v1alpha1.PatchWindow{night}, "2026-03-02T20:59:59Z", false, "2026-03-02T21:00:00Z"},
		{"its first moment", []v1alpha1.PatchWindow{night}, "2026-03-02T21:00:00Z", true, ""},
		{"past midnight", []v1alpha1.PatchWindow{night}, "2026-03-03T02:59:59Z", true, ""},
		{"its end", []v1alpha1.PatchWindow{night}, "2026-03-03T03:00:00Z", false, "2026-03-03T21:00:00Z"},
		{"from Friday into Saturday", []v1alpha1.PatchWindow{night}, "2026-03-07T02:00:00Z", true, ""},
		{"a weekend", []v1alpha1.PatchWindow{night}, "2026-03-07T12:00:00Z", false, "2026-03-09T21:00:00Z"},
		{"summer time is an hour sooner", []v1alpha1.PatchWindow{night}, "2026-03-30T19:59:59Z", false, "2026-03-30T20:00:00Z"},
		{"begun before the clock goes on", []v1alpha1.PatchWindow{{Start: "0 22 * * 6", Duration: metav1.Duration{Duration: 6 * time.Hour}, TimeZone: "Europe/Berlin"}}, "2026-03-29T02:30:00Z", true, ""},
		{"a start that is left out", []v1alpha1.PatchWindow{early}, "2026-03-29T01:00:00Z", false, "2026-03-30T00:30:00Z"},
		{"a start that comes twice, first", []v1alpha1.PatchWindow{early}, "2026-10-25T00:45:00Z", true, ""},
		{"longer than a day", []v1alpha1.PatchWindow{long}, "2026-03-08T23:59:00Z", true, ""},
		{"the next of several", []v1alpha1.PatchWindow{night, long}, "2026-03-06T12:00:00Z", false, "2026-03-06T21:00:00Z"},
		{"one of several", []v1alpha1.PatchWindow{night, long}, "2026-03-07T12:00:00Z", true, ""},
		{"never", []v1alpha1.PatchWindow{{Start: "0 0 30 2 *", Duration: metav1.Duration{Duration: time.Hour}}}, "2026-03-07T12:00:00Z", false, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			windows, err := newWindows(tt.window)
			if err != nil {
				t.Fatal(err)
			}
			var want time.Time
			if tt.next != "" {
				want = at(tt.next)
			}
			may, next := open(windows, at(tt.now))
			if may != tt.open || !next.Equal(want) {
				t.Errorf("open %t, next %s; want %t, %s", may, next, tt.open, want)
			}
		})
	}
}

// TestAdvance takes a campaign of two waves from each of its moments to the next.
func TestAdvance(t *testing.T) {
	now := at("2026-03-02T12:00:00Z")
	count := func(planned, moving, done, failed int64) map[campaigns.State]int64 {
		return map[campaigns.State]int64{campaigns.Planned: planned, campaigns.Moving: moving, campaigns.Done: done, campaigns.Failed: failed}
	}
	tallied := func(waves ...map[campaigns.State]int64) situation {
		return situation{Tally: campaigns.Tally{Waves: waves}, now: now}
	}
	closed := func(s situation) situation {
		s.windows, _ = newWindows([]v1alpha1.PatchWindow{{Start: "0 22 * * *", Duration: metav1.Duration{Duration: time.Hour}}})
		return s
	}
	frozen := func(s situation) situation {
		s.frozen = []campaigns.Freeze{{Owner: "ops", Reason: "the fair", Until: now.Add(time.Hour)}}
		return s
	}
	fifth := intstr.FromString("20%")
	type moment struct {
		Stage campaigns.Stage
		Wave  int
		Phase v1alpha1.PatchPhase
		Why   string
		Ended bool
	}
	for _, tt := range []struct {
		name string
		c    campaigns.Campaign
		s    situation
		want moment
	}{
		{"it starts", campaigns.Campaign{}, tallied(count(5, 0, 0, 0), count(5, 0, 0, 0)), moment{campaigns.Started, 0, v1alpha1.PatchRunning, "", false}},
		{"its window is closed", campaigns.Campaign{}, closed(tallied(count(5, 0, 0, 0), count(5, 0, 0, 0))), moment{campaigns.Unstarted, 0, v1alpha1.PatchWaiting, "for a window", false}},
		{"what has started is not stopped by a window", campaigns.Campaign{Stage: campaigns.Started}, closed(tallied(count(4, 1, 0, 0), count(5, 0, 0, 0))), moment{campaigns.Started, 0, v1alpha1.PatchRunning, "", false}},
		{"it is paused", campaigns.Campaign{Paused: true}, tallied(count(5, 0, 0, 0), count(5, 0, 0, 0)), moment{campaigns.Unstarted, 0, v1alpha1.PatchPaused, "it was paused", false}},
		{"it is paused under way", campaigns.Campaign{Paused: true, Stage: campaigns.Started}, tallied(count(5, 1, 0, 0), count(5, 0, 0, 0)), moment{campaigns.Started, 0, v1alpha1.PatchPaused, "it was paused", false}},
		{"all is frozen", campaigns.Campaign{}, frozen(tallied(count(5, 0, 0, 0), count(5, 0, 0, 0))), moment{campaigns.Unstarted, 0, v1alpha1.PatchPaused, "ops froze everything: the fair", false}},
		{"an empty wave", campaigns.Campaign{}, tallied(count(0, 0, 0, 0), count(5, 0, 0, 0)), moment{campaigns.Started, 1, v1alpha1.PatchRunning, "", false}},
		{"nothing at all", campaigns.Campaign{}, tallied(count(0, 0, 0, 0), count(0, 0, 0, 0)), moment{campaigns.Unstarted, 1, v1alpha1.PatchDone, "", true}},
		{"a wave soaks", campaigns.Campaign{Stage: campaigns.Started}, tallied(count(0, 0, 5, 0), count(5, 0, 0, 0)), moment{campaigns.Soaking, 0, v1alpha1.PatchWaiting, "wave first soaks", false}},
		{"it has soaked", campaigns.Campaign{Stage: campaigns.Soaking, Due: now}, tallied(count(0, 0, 5, 0), count(5, 0, 0, 0)), moment{campaigns.Started, 1, v1alpha1.PatchRunning, "", false}},
		{"it has soaked, and the window is closed", campaigns.Campaign{Stage: campaigns.Soaking, Due: now}, closed(tallied(count(0, 0, 5, 0), count(5, 0, 0, 0))), moment{campaigns.Unstarted, 1, v1alpha1.PatchWaiting, "for a window", false}},
		{"nobody waits for it to soak", campaigns.Campaign{Stage: campaigns.Started}, tallied(count(0, 0, 5, 0), count(0, 0, 0, 0)), moment{campaigns.Unstarted, 1, v1alpha1.PatchDone, "", true}},
		{"the last wave", campaigns.Campaign{Stage: campaigns.Started, Wave: 1}, tallied(count(0, 0, 5, 0), count(0, 0, 5, 0)), moment{campaigns.Unstarted, 1, v1alpha1.PatchDone, "", true}},
		{"one fails, others are under way", campaigns.Campaign{Stage: campaigns.Started}, tallied(count(3, 1, 0, 1), count(5, 0, 0, 0)), moment{campaigns.Started, 0, v1alpha1.PatchRunning, "", false}},
		{"one fails", campaigns.Campaign{Stage: campaigns.Started}, tallied(count(4, 0, 0, 1), count(5, 0, 0, 0)), moment{campaigns.Started, 0, v1alpha1.PatchHalted, "1 of 5 images of wave first failed", true}},
		{"as many as may", campaigns.Campaign{Stage: campaigns.Started, Spec: v1alpha1.PatchSpec{MaxFailures: &fifth}}, tallied(count(3, 0, 1, 1), count(5, 0, 0, 0)), moment{campaigns.Started, 0, v1alpha1.PatchRunning, "", false}},
		{"it goes on", campaigns.Campaign{Stage: campaigns.Started, Spec: v1alpha1.PatchSpec{OnFailure: v1alpha1.FailureContinue}}, tallied(count(1, 0, 0, 4), count(5, 0, 0, 0)), moment{campaigns.Started, 0, v1alpha1.PatchRunning, "", false}},
		{"it goes back", campaigns.Campaign{Stage: campaigns.Started, Spec: v1alpha1.PatchSpec{OnFailure: v1alpha1.FailureRollback}}, tallied(count(1, 0, 3, 1), count(5, 0, 0, 0)), moment{campaigns.Reverting, 0, v1alpha1.PatchRunning, "1 of 5 images of wave first failed", false}},
		{"it is back", campaigns.Campaign{Stage: campaigns.Reverting, Why: "why"}, tallied(count(1, 0, 0, 1), count(5, 0, 0, 0)), moment{campaigns.Reverting, 0, v1alpha1.PatchRolledBack, "why", true}},
		{"nothing to go back", campaigns.Campaign{Stage: campaigns.Started, Spec: v1alpha1.PatchSpec{OnFailure: v1alpha1.FailureRollback}}, tallied(count(1, 0, 0, 1), count(5, 0, 0, 0)), moment{campaigns.Reverting, 0, v1alpha1.PatchRolledBack, "1 of 2 images of wave first failed", true}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := tt.c
			c.Waves, c.Phase = []string{"first", "rest"}, v1alpha1.PatchPlanned
			c.Spec.Waves = []v1alpha1.PatchWave{{Name: "first", Soak: &metav1.Duration{Duration: time.Hour}}}
			if c.Stage != campaigns.Unstarted {
				c.Phase = v1alpha1.PatchRunning
			}
			advance(&c, tt.s)
			got := moment{c.Stage, c.Wave, c.Phase, c.Why, !c.Ended.IsZero()}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
			again := c
			if advance(&again, tt.s); cmp.Diff(c, again) != "" {
				t.Errorf("once more it is another: %s", cmp.Diff(c, again))
			}
		})
	}
}

// FuzzWindow reads any window: it is refused, or its answer is a sound one.
func FuzzWindow(f *testing.F) {
	for _, seed := range []string{"0 22 * * 1-5", "*/5 * * * *", "0 0 29 2 *", "CRON_TZ=UTC 0 0 * * *", "TZ=", "TZ=UTC 0 0 1 *", "@daily", "60 * * * *", ""} {
		f.Add(seed, "Europe/Berlin", int64(1774000000), int64(time.Hour))
	}
	f.Add("0 2 * * *", "../../etc/passwd", int64(0), int64(-1))
	f.Fuzz(func(t *testing.T, start, zone string, unix, duration int64) {
		windows, err := newWindows([]v1alpha1.PatchWindow{{Start: start, TimeZone: zone, Duration: metav1.Duration{Duration: time.Duration(duration)}}})
		if err != nil {
			return
		}
		now := time.Unix(unix%(1<<33), 0)
		if may, next := open(windows, now); !may && !next.IsZero() && !next.After(now) {
			t.Errorf("%q in %q at %s: closed, and the next begins at %s", start, zone, now, next)
		}
	})
}
