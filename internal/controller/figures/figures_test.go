package figures

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"plimsoll.dev/plimsoll/api/v1alpha1"
)

var now = time.Date(2026, 11, 2, 12, 0, 0, 0, time.UTC)

// estate is a watch cache that holds what a test says.
type estate struct {
	client.Reader
	images   []v1alpha1.Image
	builds   []v1alpha1.Build
	unlisted []v1alpha1.Build
	bases    []v1alpha1.BaseImage
	builders []v1alpha1.Builder
	feeds    []v1alpha1.AdvisoryFeed
	asked    int
	err      error
}

func (e *estate) List(_ context.Context, list client.ObjectList, _ ...client.ListOption) error {
	e.asked++
	switch list := list.(type) {
	case *v1alpha1.ImageList:
		list.Items = e.images
	case *v1alpha1.BuildList:
		list.Items = e.builds
	case *v1alpha1.BaseImageList:
		list.Items = e.bases
	case *v1alpha1.BuilderList:
		list.Items = e.builders
	case *v1alpha1.AdvisoryFeedList:
		list.Items = e.feeds
	}
	return e.err
}

func ready(is metav1.ConditionStatus, reason string) v1alpha1.Status {
	return v1alpha1.Status{Conditions: []metav1.Condition{{Type: v1alpha1.ConditionReady, Status: is, Reason: reason}}}
}

func newImage(is metav1.ConditionStatus, reason, verdict string) (i v1alpha1.Image) {
	i.Status.Status = ready(is, reason)
	if verdict != "" {
		i.Status.Verdict = &v1alpha1.VerdictStatus{Action: verdict}
	}
	return i
}

func newBuild(name string, method v1alpha1.BuildMethod, priority v1alpha1.BuildPriority, phase v1alpha1.BuildPhase, age time.Duration) (b v1alpha1.Build) {
	b.Namespace, b.Name, b.CreationTimestamp = "shop", name, metav1.NewTime(now.Add(-age))
	b.Spec.Image.Name, b.Spec.Method, b.Spec.Priority = "web", method, priority
	b.Spec.Reasons = []v1alpha1.BuildReason{{Type: v1alpha1.ReasonCommit}}
	b.Status.Phase = phase
	return b
}

// rebases gives those that are in no API.
func (e *estate) rebases() (out []*v1alpha1.Build) {
	for i := range e.unlisted {
		out = append(out, &e.unlisted[i])
	}
	return out
}

func newCounter() *Counter {
	e := newEstate()
	return NewCounter(e, e.rebases)
}

func newEstate() *estate {
	const build, rebase = v1alpha1.MethodBuild, v1alpha1.MethodRebase
	begun := newBuild("late", build, v1alpha1.PriorityCommit, v1alpha1.BuildRunning, time.Hour)
	begun.Status.StartedAt = &metav1.Time{Time: now.Add(-time.Minute)}
	e := &estate{
		images: []v1alpha1.Image{
			newImage("True", "UpToDate", "allow"), newImage("True", "UpToDate", "deny"), newImage("False", "BuildFailed", ""), {},
		},
		builds: []v1alpha1.Build{
			newBuild("over", build, v1alpha1.PriorityCommit, v1alpha1.BuildSucceeded, 9*time.Hour),
			begun,
			newBuild("early", build, v1alpha1.PriorityCommit, v1alpha1.BuildRunning, 2*time.Minute),
			newBuild("waits", build, v1alpha1.PriorityCommit, v1alpha1.BuildQueued, 3*time.Minute),
			newBuild("waits-more", build, v1alpha1.PriorityCommit, v1alpha1.BuildQueued, 4*time.Minute),
			newBuild("fix", rebase, v1alpha1.PrioritySecurity, v1alpha1.BuildQueued, 5*time.Second),
		},
		unlisted: []v1alpha1.Build{newBuild("fix-too", rebase, v1alpha1.PrioritySecurity, v1alpha1.BuildQueued, 7*time.Second)},
		bases:    []v1alpha1.BaseImage{{Status: v1alpha1.BaseImageStatus{Status: ready("Unknown", "Building")}}},
		builders: []v1alpha1.Builder{{Status: v1alpha1.BuilderStatus{Status: ready("True", "Published")}}},
	}
	fresh := v1alpha1.AdvisoryFeed{Status: v1alpha1.AdvisoryFeedStatus{Status: ready("True", "Synced"), SyncedAt: &metav1.Time{Time: now.Add(-time.Hour)}}}
	fresh.Name = "debian"
	e.feeds = []v1alpha1.AdvisoryFeed{{ObjectMeta: metav1.ObjectMeta{Name: "osv"}}, fresh}
	return e
}

func TestCount(t *testing.T) {
	e := newEstate()
	got, err := count(t.Context(), e, e.rebases(), now)
	if err != nil {
		t.Fatal(err)
	}
	commit, security := v1alpha1.PriorityCommit, v1alpha1.PrioritySecurity
	want := Figures{
		At:       now,
		Images:   map[State]int{{"True", "UpToDate"}: 2, {"False", "BuildFailed"}: 1, {"Unknown", "New"}: 1},
		Verdicts: map[string]int{"allow": 1, "deny": 1, "": 2},
		Bases:    map[State]int{{"Unknown", "Building"}: 1},
		Builders: map[State]int{{"True", "Published"}: 1},
		Waiting: map[Line]Waiting{
			{v1alpha1.MethodBuild, commit}:    {2, now.Add(-4 * time.Minute)},
			{v1alpha1.MethodRebase, security}: {2, now.Add(-7 * time.Second)},
		},
		Running: []Running{
			{"shop", "web", "early", "COMMIT", now.Add(-2 * time.Minute)},
			{"shop", "web", "late", "COMMIT", now.Add(-time.Minute)},
		},
		Builds:   2,
		Feeds:    []Feed{{"debian", true, now.Add(-time.Hour)}, {"osv", false, time.Time{}}},
		Problems: 1,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestWhoeverAsksAllTheTimeCostsNothing(t *testing.T) {
	e := newEstate()
	c := NewCounter(e, e.rebases)
	for range 1000 {
		if _, err := c.Count(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if e.asked != 5 {
		t.Errorf("the cache was asked %d times", e.asked)
	}
}

func TestMetrics(t *testing.T) {
	counter := newCounter()
	m := NewMetrics(counter)
	b := newBuild("web-b1", v1alpha1.MethodRebase, v1alpha1.PrioritySecurity, v1alpha1.BuildSucceeded, 0)
	m.Ended(&b, 2*time.Second)
	b.Status.Phase = v1alpha1.BuildFailed
	m.Ended(&b, 2*time.Second)
	want := `
# HELP plimsoll_builds_total Builds that have ended, by method and result.
# TYPE plimsoll_builds_total counter
plimsoll_builds_total{method="Rebase",result="Failed"} 1
plimsoll_builds_total{method="Rebase",result="Succeeded"} 1
# HELP plimsoll_builds_waiting Builds that wait, by method and priority. Rebases count until their end.
# TYPE plimsoll_builds_waiting gauge
plimsoll_builds_waiting{method="Build",priority="Commit"} 2
plimsoll_builds_waiting{method="Build",priority="Routine"} 0
plimsoll_builds_waiting{method="Build",priority="Security"} 0
plimsoll_builds_waiting{method="Rebase",priority="Security"} 2
# HELP plimsoll_images_verdict Images, by the verdict at the registry's gate; none where nobody has decided.
# TYPE plimsoll_images_verdict gauge
plimsoll_images_verdict{action="allow"} 1
plimsoll_images_verdict{action="deny"} 1
plimsoll_images_verdict{action="none"} 2
`
	if err := testutil.CollectAndCompare(m, strings.NewReader(want), "plimsoll_builds_total", "plimsoll_builds_waiting", "plimsoll_images_verdict"); err != nil {
		t.Error(err)
	}
	if problems, err := testutil.CollectAndLint(m); err != nil || len(problems) > 0 {
		t.Errorf("%v %v", problems, err)
	}
}

func TestACacheThatDoesNotAnswerHidesNoCounters(t *testing.T) {
	e := newEstate()
	e.err = context.DeadlineExceeded
	m := NewMetrics(NewCounter(e, e.rebases))
	b := newBuild("web-b1", v1alpha1.MethodBuild, v1alpha1.PriorityCommit, v1alpha1.BuildFailed, 0)
	m.Ended(&b, time.Second)
	if n := testutil.CollectAndCount(m, "plimsoll_builds_total"); n != 1 {
		t.Errorf("there are %d counters", n)
	}
}

// TestThePageNamesEveryMetric holds docs/metrics.md against what there is.
func TestThePageNamesEveryMetric(t *testing.T) {
	text, err := os.ReadFile("../../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	described := make(chan *prometheus.Desc)
	go func() {
		defer close(described)
		NewMetrics(newCounter()).Describe(described)
	}()
	n := 0
	for d := range described {
		n++
		said := d.String() // Desc{fqName: "NAME", help: "HELP", …, variableLabels: {a,b}}
		name := cut(t, said, `fqName: "`, `"`)
		var labels []string
		for label := range strings.SplitSeq(cut(t, said, "variableLabels: {", "}"), ",") {
			if label != "" {
				labels = append(labels, "`"+label+"`")
			}
		}
		line := fmt.Sprintf("| `%s` | %s | %s |", name, strings.Join(labels, ", "), cut(t, said, `help: "`, `", const`))
		if !strings.Contains(string(text), strings.ReplaceAll(line, "|  |", "| |")) {
			t.Errorf("it lacks the line\n%s", line)
		}
	}
	if got := strings.Count(string(text), "\n| `plimsoll_"); got != n {
		t.Errorf("it has %d lines for %d metrics", got, n)
	}
}

func cut(t *testing.T, text, from, to string) string {
	t.Helper()
	_, rest, ok := strings.Cut(text, from)
	out, _, end := strings.Cut(rest, to)
	if !ok || !end {
		t.Fatalf("%q has no %q", text, from)
	}
	return out
}
