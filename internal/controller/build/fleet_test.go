package build

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"plimsoll.dev/plimsoll/api/v1alpha1"
	"plimsoll.dev/plimsoll/internal/controller/image"
)

// estate declares many Images that are built already, as a restart finds them: each has its status
// and its first Build.
func (y *yard) estate(t testing.TB, n int) {
	t.Helper()
	var work sync.WaitGroup
	next := make(chan int)
	for range 16 {
		work.Go(func() {
			for k := range next {
				if err := y.settled(t, k); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for k := range n {
		next <- k
	}
	close(next)
	work.Wait()
}

// settled makes one of them.
func (y *yard) settled(t testing.TB, k int) error {
	i := &v1alpha1.Image{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: fmt.Sprint("app-", k), Labels: map[string]string{v1alpha1.LabelTeam: fmt.Sprint("team-", k%50)}}}
	i.Spec = v1alpha1.ImageSpec{
		Tag: "default/" + i.Name + ":1", Builder: v1alpha1.ClusterReference{Name: "standard"},
		Source: v1alpha1.ImageSource{Git: &v1alpha1.GitSource{URL: fmt.Sprintf("https://git.example.com/shop-%d.git", k%100), Revision: "main"}},
	}
	if err := y.Client.Create(t.Context(), i); err != nil {
		return err
	}
	_, settings := image.Settings(&i.Spec)
	inputs := v1alpha1.BuildInputs{Source: "commit1", Builder: "builder1", Settings: settings, RunImage: "run:1", RunDigest: "run1"}
	b := image.New(i, 1, v1alpha1.BuildSpec{
		Method: v1alpha1.MethodBuild, Priority: v1alpha1.PriorityCommit, Inputs: inputs,
		Reasons: []v1alpha1.BuildReason{{Type: v1alpha1.ReasonConfig, Is: settings, Detail: "the first build of this Image"}},
	})
	if err := y.Client.Create(t.Context(), b); err != nil {
		return err
	}
	done := metav1.NewTime(time.Now().Add(-time.Hour))
	ended(&b.Status, b.Generation, Outcome{Digest: "sha256:" + i.Name, Tags: []string{i.Spec.Tag}, RunImage: &v1alpha1.Published{Image: "run:1", Digest: "run1"}, Buildpacks: []string{"plimsoll/go@1"}}, nil)
	b.Status.CompletedAt = &done
	if err := y.Client.Status().Update(t.Context(), b); err != nil {
		return err
	}
	i.Status = v1alpha1.ImageStatus{
		LatestImage: &v1alpha1.Published{Image: i.Spec.Tag, Digest: b.Status.Digest},
		LatestBuild: b.Name, LatestReason: v1alpha1.ReasonConfig, Builds: 1, Inputs: inputs,
		Source: v1alpha1.SourceStatus{Revision: "commit1"},
	}
	i.Status.ObservedGeneration = i.Generation
	i.Status.Conditions = []metav1.Condition{{
		Type: v1alpha1.ConditionReady, Status: metav1.ConditionTrue, Reason: image.UpToDate, Message: "the tag names an image of the newest inputs",
		ObservedGeneration: i.Generation, LastTransitionTime: done,
	}}
	return y.Client.Status().Update(t.Context(), i)
}

// rebased waits until all Images stand on the run image.
func (y *yard) rebased(t testing.TB, n int, run string) {
	t.Helper()
	done := 0
	for deadline := time.Now().Add(10 * time.Minute); time.Now().Before(deadline); time.Sleep(pauseFor(n)) {
		var list v1alpha1.ImageList
		if err := y.Client.List(t.Context(), &list); err != nil {
			t.Fatal(err)
		}
		done = 0
		for i := range list.Items {
			if list.Items[i].Status.Inputs.RunDigest == run {
				done++
			}
		}
		if done >= n {
			return
		}
	}
	t.Fatalf("%d of %d are rebased", done, n)
}

// TestAFleetIsRebased has a base change under three hundred Images, which costs one write an Image, events
// of the base only, and leaves nothing behind but what stands in the Images.
func TestAFleetIsRebased(t *testing.T) {
	const n = 300
	y := newYard(t, Options{FleetSize: 100})
	y.stop()
	y.estate(t, n)
	base := y.base(t, "run:1")
	y.writes.Store(0)
	y.start(t)
	y.builder(t, "builder1", "run2") // it is not there yet when they are first looked at, or is
	y.rebased(t, n, "run2")
	if writes := y.writes.Load(); writes != n {
		t.Errorf("%d requests that change something for %d Images", writes, n)
	}
	var list v1alpha1.BuildList
	if err := y.Client.List(t.Context(), &list); err != nil || len(list.Items) != n {
		t.Errorf("there are %d Builds, %v", len(list.Items), err)
	}
	y.hands.mu.Lock()
	fleets, built := y.hands.fleets, y.hands.builds
	y.hands.mu.Unlock()
	seen := map[string]bool{}
	for _, fleet := range fleets {
		if len(fleet) > 100 {
			t.Errorf("a fleet of %d", len(fleet))
		}
		for _, name := range fleet {
			if seen[name] {
				t.Errorf("%s was rebased twice", name)
			}
			seen[name] = true
		}
	}
	if len(seen) != n || len(built) > 0 {
		t.Errorf("%d rebases in %d fleets, %d builds", len(seen), len(fleets), len(built))
	}
	y.Until(t, func() string { return y.toldOf(t, base, n) })
	t.Run("a restart without change writes nothing", func(t *testing.T) {
		y.stop()
		y.writes.Store(0)
		y.start(t)
		y.ready(t, y.declare(t, "last", nil), metav1.ConditionTrue, image.UpToDate)
		y.rest(t)
		y.images.WakeAll(t.Context())
		y.rest(t)
		if writes := y.writes.Load(); writes > 10 {
			t.Errorf("%d requests change something", writes)
		}
	})
}

// base declares a BaseImage that has published the tag.
func (y *yard) base(t testing.TB, tag string) *v1alpha1.BaseImage {
	t.Helper()
	base := &v1alpha1.BaseImage{
		ObjectMeta: metav1.ObjectMeta{Name: "run"},
		Spec:       v1alpha1.BaseImageSpec{Archive: v1alpha1.Archive{Suites: []string{"test"}}, Packages: []string{"base-files"}},
	}
	y.Create(t, base)
	base.Status.Published = &v1alpha1.Published{Image: tag, Digest: "run1"}
	if err := y.Client.Status().Update(t.Context(), base); err != nil {
		t.Fatal(err)
	}
	return base
}

// toldOf says what is missing of events of the base that tell of n images, and of no other event.
func (y *yard) toldOf(t testing.TB, base *v1alpha1.BaseImage, n int) string {
	t.Helper()
	var list corev1.EventList
	if err := y.Client.List(t.Context(), &list); err != nil {
		t.Fatal(err)
	}
	told := 0
	for _, e := range list.Items {
		switch {
		case e.InvolvedObject.UID == base.UID && e.Reason == Rebased:
			moved := 0
			if _, err := fmt.Sscan(e.Message, &moved); err != nil {
				t.Fatalf("%q: %v", e.Message, err)
			}
			told += moved * int(e.Count)
		case e.InvolvedObject.Kind == v1alpha1.ImageKind || e.InvolvedObject.Kind == v1alpha1.BuildKind:
			t.Fatalf("there is an event of %s %s: %s: %s", e.InvolvedObject.Kind, e.InvolvedObject.Name, e.Reason, e.Message)
		}
	}
	if told != n {
		return fmt.Sprintf("the base tells of %d images", told)
	}
	return ""
}

// TestAFleetIsRebasedInTheEnd though the registry is away at first, for a moment.
func TestAFleetIsRebasedInTheEnd(t *testing.T) {
	const n = 20
	y := newYard(t, Options{Retry: 10 * time.Millisecond})
	y.stop()
	y.estate(t, n)
	y.hands.away = mostUnwritten - 1
	y.start(t)
	y.builder(t, "builder1", "run2")
	y.rebased(t, n, "run2")
	if tried := y.hands.tries(); len(tried) != n || tried["app-1-r2"] != mostUnwritten {
		t.Errorf("%d rebases, one tried %d times", len(tried), tried["app-1-r2"])
	}
}

// pauseFor is how long to wait between two looks at so many Images: looking must not cost what is
// measured.
func pauseFor(n int) time.Duration {
	return min(time.Duration(n)*time.Millisecond, 2*time.Second)
}

func TestGather(t *testing.T) {
	r := &runner{options: Options{FleetSize: 2}, line: line{waiting: map[types.NamespacedName]*entry{}, kicked: make(chan struct{}, 1)}}
	ended, end := context.WithCancel(t.Context())
	end()
	for _, test := range []struct {
		name   string
		rebase bool
		ctx    context.Context
		want   bool
	}{
		{"nothing waits, and no more comes", false, t.Context(), true},
		{"the process ends meanwhile", false, ended, false},
		{"too few for a fleet, and no more come", true, t.Context(), true},
		{"enough for a fleet: nothing is waited for", true, ended, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			if test.rebase {
				r.add(&entry{name: types.NamespacedName{Name: test.name}, uid: types.UID(test.name), rebase: true})
			}
			if got := r.gather(test.ctx); got != test.want {
				t.Errorf("got %v", got)
			}
		})
	}
}
