package pod

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"plimsoll.dev/plimsoll/internal/executor"
	"plimsoll.dev/plimsoll/internal/executor/pod/wire"
	"plimsoll.dev/plimsoll/internal/fault"
)

// TestWhatBecomesOfPods: what a pod's status means for its step.
func TestWhatBecomesOfPods(t *testing.T) {
	waiting := func(reason string) func(*corev1.Pod) {
		return func(p *corev1.Pod) {
			p.Status.ContainerStatuses = []corev1.ContainerStatus{{State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason}}}}
		}
	}
	terminated := func(reason, message string) func(*corev1.Pod) {
		return func(p *corev1.Pod) {
			p.Status.ContainerStatuses = []corev1.ContainerStatus{{State: corev1.ContainerState{
				Terminated: &corev1.ContainerStateTerminated{Reason: reason, Message: message}}}}
		}
	}
	for _, c := range []struct {
		name string
		edit func(*corev1.Pod)
		lost bool
		kind fault.Kind
	}{
		{"new", func(*corev1.Pod) {}, false, 0},
		{"starting", waiting("ContainerCreating"), false, 0},
		{"image tried once", waiting("ErrImagePull"), false, 0},
		{"bad image name", waiting("InvalidImageName"), true, fault.Failed},
		{"folder on a file", terminated("StartError", `mounting "/x" to rootfs at "/etc/passwd": not a directory`), true, fault.Usage},
		{"cannot start", terminated("StartError", "exec format error"), true, fault.Failed},
		{"ended with an error of its own", func(p *corev1.Pod) { p.Status.Phase = corev1.PodFailed; terminated("Error", "")(p) }, false, 0},
		{"evicted", func(p *corev1.Pod) { p.Status.Phase, p.Status.Reason = corev1.PodFailed, "Evicted" }, true, fault.Unavailable},
		{"node out of room", func(p *corev1.Pod) { p.Status.Phase, p.Status.Reason = corev1.PodFailed, "OutOfcpu" }, true, fault.Unavailable},
		{"node lost", func(p *corev1.Pod) { p.Status.Phase = corev1.PodUnknown }, true, fault.Unavailable},
		{"deleted", func(p *corev1.Pod) { p.DeletionTimestamp = &metav1.Time{} }, true, fault.Unavailable},
		{"preempted", func(p *corev1.Pod) {
			p.Status.Conditions = []corev1.PodCondition{{Type: corev1.DisruptionTarget, Status: corev1.ConditionTrue, Reason: "PreemptionByScheduler"}}
		}, true, fault.Unavailable},
	} {
		w := newWatcher(newExecutor(t, Options{}), &corev1.Pod{}, func(error) {})
		p := &corev1.Pod{}
		c.edit(p)
		if err := w.see(p); (err != nil) != c.lost || c.lost && fault.KindOf(err) != c.kind {
			t.Errorf("%s: %v (kind %d), want it lost: %t, kind %d", c.name, err, fault.KindOf(err), c.lost, c.kind)
		}
	}
}

// TestPullsAreTriedForAWhile: an image that cannot be pulled is an error only in the end.
func TestPullsAreTriedForAWhile(t *testing.T) {
	w := newWatcher(newExecutor(t, Options{PullTimeout: time.Hour}), &corev1.Pod{}, func(error) {})
	wait := &corev1.ContainerStateWaiting{Reason: "ImagePullBackOff"}
	if err := w.waits(wait); err != nil {
		t.Errorf("at first: %v", err)
	}
	w.notPulled = w.notPulled.Add(-2 * time.Hour)
	if err := w.waits(wait); fault.KindOf(err) != fault.Unavailable || fault.HintOf(err) == "" {
		t.Errorf("in the end: %v", err)
	}
}

// TestWhyPodsAreLate: the scheduler's own words are the reason.
func TestWhyPodsAreLate(t *testing.T) {
	w := newWatcher(newExecutor(t, Options{}), &corev1.Pod{}, func(error) {})
	w.pod = &corev1.Pod{Status: corev1.PodStatus{Conditions: []corev1.PodCondition{
		{Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Message: "0/3 nodes are available"}}}}
	if err := w.late(); fault.KindOf(err) != fault.Unavailable || !strings.Contains(err.Error(), "0/3 nodes") {
		t.Errorf("got %v", err)
	}
}

// TestResults: what the agent says, and what it is called.
func TestResults(t *testing.T) {
	for _, c := range []struct {
		name string
		end  wire.End
		want executor.Result
	}{
		{"by itself", wire.End{Code: 3}, executor.Result{ExitCode: 3, Reason: executor.Exited}},
		{"as if by a signal", wire.End{Code: 143}, executor.Result{ExitCode: 143, Signal: 15, Reason: executor.Signaled}},
		{"255", wire.End{Code: 255}, executor.Result{ExitCode: 255, Reason: executor.Exited}},
		{"late", wire.End{Code: 0, Late: true}, executor.Result{ExitCode: 137, Signal: 9, Reason: executor.TimedOut}},
		{"no memory", wire.End{Code: 137, OOM: true}, executor.Result{ExitCode: 137, Signal: 9, Reason: executor.OutOfMemory}},
		{"no memory, and no harm", wire.End{OOM: true}, executor.Result{Reason: executor.Exited}},
	} {
		r := &run{}
		if r.conclude(c.end); r.result != c.want {
			t.Errorf("%s: got %+v, want %+v", c.name, r.result, c.want)
		}
	}
	r := &run{step: executor.Step{Limits: executor.Limits{Memory: 100, MilliCPU: 100, Pids: 5, Wall: 1}}}
	r.conclude(wire.End{Memory: 100, MilliCPU: 200, Pids: "seccomp"})
	want := executor.Enforced{CPU: executor.None, Memory: executor.Cgroup, Pids: "seccomp", Wall: executor.Timer}
	if r.result.Enforced != want {
		t.Errorf("limits: got %+v, want %+v", r.result.Enforced, want)
	}
}

// blocked is a writer that says what it gets when it is let to.
type blocked struct{ got chan string }

func (b blocked) Write(p []byte) (int, error) { b.got <- string(p); return len(p), nil }

// TestPrinterHoldsBack: while a writer blocks, what comes is kept, in order, up to a window.
func TestPrinterHoldsBack(t *testing.T) {
	to := blocked{make(chan string)}
	p := newPrinter(to, nil)
	granted := make(chan int, 10)
	done := make(chan struct{})
	go func() { defer close(done); p.print(func(n int) { granted <- n }, nil) }()
	for _, text := range []string{"one", "two"} {
		if err := p.add(wire.Stdout, []byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.add(wire.Stdout, make([]byte, wire.Window)); err == nil {
		t.Error("more than a window was taken")
	}
	if len(granted) > 0 {
		t.Error("credit was given for what nobody has read")
	}
	got := <-to.got
	for len(got) < len("onetwo")+wire.Window && strings.HasPrefix("onetwo", got) && got != "onetwo" {
		got += <-to.got
	}
	p.close()
	if got != "onetwo" {
		t.Errorf("got %.20q", got)
	}
	<-done
}

func TestBrokenWriterIsAskedOnce(t *testing.T) {
	broken, asked := errors.New("disk full"), 0
	p := newPrinter(writer(func([]byte) (int, error) { asked++; return 0, broken }), nil)
	_, fail := context.WithCancelCause(t.Context())
	for _, kind := range []wire.Kind{wire.Stdout, wire.Stderr, wire.Stdout} {
		if err := p.add(kind, []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	p.close()
	p.print(func(int) {}, fail)
	if asked != 1 || !errors.Is(p.failed, broken) {
		t.Errorf("asked %d times, %v", asked, p.failed)
	}
}

type writer func([]byte) (int, error)

func (w writer) Write(p []byte) (int, error) { return w(p) }

var _ io.Writer = writer(nil)
