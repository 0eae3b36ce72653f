package build

import (
	"fmt"
	"slices"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"plimsoll.dev/plimsoll/api/v1alpha1"
	"plimsoll.dev/plimsoll/internal/controller/image"
	"plimsoll.dev/plimsoll/internal/controller/queue"
	"plimsoll.dev/plimsoll/internal/fault"
)

// TestRebasesInMemory goes through what becomes of rebases that no API has.
func TestRebasesInMemory(t *testing.T) {
	y := newYard(t, Options{Retry: 10 * time.Millisecond})
	for _, c := range []struct {
		name string
		test func(t *testing.T, y *yard, i *v1alpha1.Image, run string)
	}{
		{"well", goesWell},
		{"denied", isDenied},
		{"away", isAway},
		{"untaken", isNotTaken},
		{"overtaken", isOvertaken},
		{"gone", goesWithItsImage},
		{"ended", endsWithTheProcess},
	} {
		t.Run(c.name, func(t *testing.T) {
			y.hands.put(0, nil)
			i := y.declare(t, c.name, nil)
			y.phase(t, i, 1, v1alpha1.BuildSucceeded)
			y.ready(t, i, metav1.ConditionTrue, image.UpToDate)
			c.test(t, y, i, "run-"+c.name)
		})
	}
}

// stands waits until the Image's status says that it stands on the run image, and nothing is kept of it.
func (y *yard) stands(t *testing.T, i *v1alpha1.Image, run string) {
	t.Helper()
	y.Until(t, func() string {
		y.Get(t, i)
		if on := i.Status.Inputs.RunDigest; on != run {
			return "it stands on " + on
		}
		if left := y.rebases.Of(client.ObjectKeyFromObject(i)); len(left) > 0 {
			return fmt.Sprintf("%s is kept, %s", left[0].Name, left[0].Status.Phase)
		}
		return ""
	})
}

func goesWell(t *testing.T, y *yard, i *v1alpha1.Image, run string) {
	y.builder(t, "builder1", run)
	y.stands(t, i, run)
	if n := len(y.builds(t, i)); n != 1 {
		t.Errorf("there are %d Builds", n)
	}
	s := i.Status
	if len(s.Rebases) != 1 || s.Builds != 2 || s.LatestBuild != "well-r2" || s.LatestImage.Digest != "sha256:well-r2" {
		t.Fatalf("the status is %+v", s)
	}
	if r := s.Rebases[0]; r.Digest != "sha256:well-r2" || r.RunDigest != run || r.CompletedAt == nil || r.Reasons[0].Type != v1alpha1.ReasonBase {
		t.Errorf("it tells of %+v", r)
	}
}

func isDenied(t *testing.T, y *yard, i *v1alpha1.Image, run string) {
	name := i.Name
	y.hands.put(0, func(job Job) (Outcome, error) {
		if job.Image.Name == name {
			return Outcome{}, fault.Newf(fault.Denied, "rebase onto", run, "it is quarantined")
		}
		return y.hands.outcome(job), nil
	})
	y.builder(t, "builder1", run)
	b := y.inPhase(t, i, "denied-r2", v1alpha1.BuildFailed)
	if b.Status.Attempts != 1 || b.Status.Message == "" || b.Spec.Number != 2 || !image.Owns(i, b) {
		t.Errorf("it is written down as %+v", b)
	}
	y.ready(t, i, metav1.ConditionFalse, image.BuildFailed)
	y.Until(t, func() string {
		if got := y.Events(t, b); !slices.Equal(got, []string{"Failed"}) {
			return fmt.Sprintf("its events are %v", got)
		}
		return ""
	})
	y.hands.put(0, nil)
	y.builder(t, "builder1", run+"-fixed")
	y.stands(t, i, run+"-fixed")
	if s := i.Status; s.LatestBuild != "denied-r3" || len(s.Rebases) != 1 {
		t.Errorf("after that the status is %+v", s)
	}
}

func isAway(t *testing.T, y *yard, i *v1alpha1.Image, run string) {
	y.hands.put(mostUnwritten+1, nil)
	y.builder(t, "builder1", run)
	b := y.inPhase(t, i, "away-r2", v1alpha1.BuildSucceeded)
	if b.Status.Attempts != mostUnwritten+2 {
		t.Errorf("it took %d attempts", b.Status.Attempts)
	}
	y.stands(t, i, run)
	if s := i.Status; len(s.Rebases) != 0 || s.LatestBuild != b.Name || s.LatestImage.Digest != b.Status.Digest {
		t.Errorf("the status is %+v", s)
	}
}

// isNotTaken has somebody else have the name that a failure is to be written down by.
func isNotTaken(t *testing.T, y *yard, i *v1alpha1.Image, run string) {
	other := image.New(i, 2, v1alpha1.BuildSpec{
		Method: v1alpha1.MethodRebase, Priority: v1alpha1.PriorityRoutine, Reasons: []v1alpha1.BuildReason{{Type: v1alpha1.ReasonTrigger}},
	})
	other.Name, other.Spec.Image.Name, other.OwnerReferences = "untaken-r2", "nobody", nil
	tries, name := 0, i.Name
	y.hands.put(0, func(job Job) (Outcome, error) {
		if job.Image.Name != name {
			return y.hands.outcome(job), nil
		}
		if tries++; tries == 1 {
			y.Create(t, other)
		}
		if tries < 4 {
			return Outcome{}, fault.Newf(fault.Failed, "rebase", run, "no")
		}
		return y.hands.outcome(job), nil
	})
	y.builder(t, "builder1", run)
	y.Until(t, func() string {
		y.Get(t, i)
		if on := i.Status.Inputs.RunDigest; on != run {
			return "it stands on " + on
		}
		return ""
	})
}

// isOvertaken has a campaign make a Build of the number that a rebase has, which waits.
func isOvertaken(t *testing.T, y *yard, i *v1alpha1.Image, run string) {
	begun, let := make(chan string, 100), make(chan struct{})
	name := i.Name
	y.hands.put(0, func(job Job) (Outcome, error) {
		if job.Image.Name == name {
			begun <- job.Build.Name
			<-let
		}
		return y.hands.outcome(job), nil
	})
	inputs := i.Status.Inputs
	inputs.RunDigest = run
	b := image.New(i, 2, v1alpha1.BuildSpec{
		Method: v1alpha1.MethodRebase, Priority: v1alpha1.PrioritySecurity, Inputs: inputs,
		Reasons: []v1alpha1.BuildReason{{Type: v1alpha1.ReasonBase}},
	})
	b.Labels[v1alpha1.LabelPatch] = "openssl"
	y.Create(t, b)
	if name := <-begun; name != "overtaken-b2" {
		t.Fatalf("%s has begun", name)
	}
	y.builder(t, "builder1", run)
	late := image.New(i, 2, b.Spec)
	late.Name = "overtaken-r2"
	y.rebases.Add(late)
	close(let)
	y.phase(t, i, 2, v1alpha1.BuildSucceeded)
	y.stands(t, i, run)
	if s := i.Status; s.LatestBuild != b.Name || len(s.Rebases) != 0 {
		t.Errorf("the status is %+v", s)
	}
	if tried := y.hands.tries(); tried["overtaken-r2"] != 0 {
		t.Errorf("what had its number taken was tried %d times", tried["overtaken-r2"])
	}
}

func goesWithItsImage(t *testing.T, y *yard, i *v1alpha1.Image, run string) {
	name := client.ObjectKeyFromObject(i)
	begun, let := make(chan struct{}), make(chan struct{})
	y.hands.put(0, func(job Job) (Outcome, error) {
		if job.Image.UID == i.UID {
			close(begun)
			<-let
		}
		return y.hands.outcome(job), nil
	})
	y.builder(t, "builder1", run)
	<-begun
	if of := y.rebases.Of(name); len(of) != 1 || of[0].Status.Phase != v1alpha1.BuildRunning {
		t.Errorf("there is %+v", of)
	}
	y.Delete(t, i)
	y.Until(t, func() string {
		if left := y.rebases.Of(name); len(left) > 0 {
			return left[0].Name + " is kept"
		}
		return ""
	})
	close(let)
	again := y.declare(t, i.Name, nil)
	y.ready(t, again, metav1.ConditionTrue, image.UpToDate)
	y.stands(t, again, run)
	if len(again.Status.Rebases) != 0 {
		t.Errorf("the Image that came after it tells of %+v", again.Status.Rebases)
	}
}

func endsWithTheProcess(t *testing.T, y *yard, i *v1alpha1.Image, run string) {
	begun, stopped := make(chan struct{}), make(chan struct{})
	name := i.Name
	y.hands.put(0, func(job Job) (Outcome, error) {
		if job.Image.Name == name {
			close(begun)
			<-stopped
			return Outcome{}, fault.Newf(fault.Canceled, "rebase", run, "this ends")
		}
		return y.hands.outcome(job), nil
	})
	y.builder(t, "builder1", run)
	<-begun
	y.rest(t) // controller-runtime's queue may hang for a while when it ends with something in it
	ending := make(chan struct{})
	go func() {
		defer close(ending)
		y.stop()
	}()
	<-y.rebases.runner.ending
	close(stopped)
	<-ending
	y.hands.put(0, nil)
	y.start(t)
	y.stands(t, i, run)
	if s := i.Status; len(s.Rebases) != 1 || s.Rebases[0].Number != 2 {
		t.Errorf("the status is %+v", s)
	}
}

// TestPlanned goes through what the line keeps of rebases that no API has.
func TestPlanned(t *testing.T) {
	of := types.NamespacedName{Namespace: "default", Name: "shop"}
	newLine := func() *line {
		return &line{
			waiting: map[types.NamespacedName]*entry{}, running: map[types.NamespacedName]*entry{}, over: map[types.NamespacedName]types.UID{},
			planned: map[types.NamespacedName][]*entry{}, kicked: make(chan struct{}, 1),
		}
	}
	rebase := func(uid, version string) *entry {
		b := &v1alpha1.Build{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "shop-r2", UID: types.UID(uid), ResourceVersion: version}}
		b.Spec = v1alpha1.BuildSpec{Image: v1alpha1.LocalReference{Name: "shop"}, Number: 2, Method: v1alpha1.MethodRebase}
		return newEntry(b)
	}
	empty := func(t *testing.T, l *line) {
		t.Helper()
		if len(l.planned)+len(l.waiting)+len(l.running) > 0 {
			t.Errorf("it keeps %v, %v, %v", l.planned, l.waiting, l.running)
		}
	}
	t.Run("what is there is not planned again", func(t *testing.T) {
		l, e := newLine(), rebase("a", "")
		l.plan(e)
		l.plan(rebase("b", ""))
		if len(l.of(of)) != 1 || l.waiting[e.name] != e || len(l.unended()) != 1 {
			t.Errorf("it has %v", l.of(of))
		}
		l.unplan(e.build)
		empty(t, l)
	})
	t.Run("what has its name in the API is another", func(t *testing.T) {
		l, e, other := newLine(), rebase("a", ""), rebase("b", "1")
		l.plan(e)
		l.add(other)
		l.interrupt(other.name, errCanceled)
		if told := l.drop(other.name); told.Name != "" {
			t.Errorf("the Image %s is told", told)
		}
		if len(l.of(of)) != 1 || l.waiting[e.name] != e || len(l.waiting) != 1 {
			t.Error("it is forgotten")
		}
	})
	t.Run("what is written is kept until the cache has it", func(t *testing.T) {
		l, e, now := newLine(), rebase("a", ""), rebase("b", "1")
		l.plan(e)
		l.begin(t.Context(), []queue.Item{e.item})
		l.unplan(e.build)       // it runs
		l.add(rebase("b", "1")) // the cache is first
		l.written(e, now)
		these := l.of(of)
		if len(these) != 1 || these[0].UID != "b" || these[0] == now.build {
			t.Fatalf("it has %v", these)
		}
		l.unplan(these[0]) // the cache has its end before who ran it is done with it
		l.finish(now, nil, false)
		if l.over[now.name] != "b" {
			t.Error("the cache is believed")
		}
		empty(t, l)
	})
	t.Run("or until it has gone", func(t *testing.T) {
		l, e, now := newLine(), rebase("a", ""), rebase("b", "1")
		l.plan(e)
		l.begin(t.Context(), []queue.Item{e.item})
		l.written(e, now)
		l.finish(now, nil, false)
		if told := l.drop(now.name); told != of {
			t.Errorf("the Image %s is told", told)
		}
		empty(t, l)
	})
	t.Run("nobody hears of what was forgotten while it ran", func(t *testing.T) {
		l, e := newLine(), rebase("a", "")
		l.plan(e)
		began := l.begin(t.Context(), []queue.Item{e.item})[0]
		l.forget(of)
		<-began.ctx.Done()
		if l.replan(e, rebase("a", "")) {
			t.Error("it waits again")
		}
		empty(t, l)
	})
	t.Run("the line is looked at again for what waits for an end", func(t *testing.T) {
		for _, waits := range []bool{true, false} {
			l, e, more := newLine(), rebase("a", ""), rebase("b", "1")
			more.item.Number = 3
			l.plan(e)
			if waits {
				l.add(more)
			}
			_, fleet, _ := l.next(t.Context(), queue.Limits{}, 1)
			if len(fleet) != 1 || fleet[0].entry != e {
				t.Fatalf("there start %v", fleet)
			}
			<-l.kicked // when it was planned
			ended := *e
			ended.build = e.build.DeepCopy()
			ended.build.Status.Phase = v1alpha1.BuildSucceeded
			l.replan(e, &ended)
			if kicked := len(l.kicked) == 1; kicked != waits {
				t.Errorf("something waits: %t; it is looked at: %t", waits, kicked)
			}
		}
	})
}
