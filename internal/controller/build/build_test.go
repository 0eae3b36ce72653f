package build

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"plimsoll.dev/plimsoll/api/v1alpha1"
	"plimsoll.dev/plimsoll/internal/controller/image"
	"plimsoll.dev/plimsoll/internal/controller/logs"
	"plimsoll.dev/plimsoll/internal/fault"
)

var away = fault.Newf(fault.Unavailable, "push image", "registry.example.com", "connection refused")

// TestBuilds goes through what can become of a Build, on one API server.
func TestBuilds(t *testing.T) {
	y := newYard(t, Options{Retry: 10 * time.Millisecond})
	for _, test := range []struct {
		name string
		run  func(t *testing.T, y *yard)
	}{
		{"one that succeeds says how", succeeds},
		{"what is away is asked again", retries},
		{"what fails is not repeated until somebody changes something", fails},
		{"one that runs is canceled", cancels},
		{"one whose Image goes ends", ends},
		{"a mistake of the worker fails one Build", panics},
		{"one that takes too long ends", timesOut},
		{"changes while one runs come to one more", coalesces},
		{"the annotation asks for one more", triggers},
		{"no secret is told", tellsNothing},
		{"one that was under way is begun anew", restarts},
	} {
		t.Run(test.name, func(t *testing.T) {
			y.hands.do(nil)
			test.run(t, y)
		})
	}
}

func succeeds(t *testing.T, y *yard) {
	y.hands.do(func(_ context.Context, job Job, log io.Writer, step func(v1alpha1.BuildStep)) (Outcome, error) {
		fmt.Fprintln(log, "building", job.Image.Name)
		step(v1alpha1.BuildStep{Name: "detect", Text: "plimsoll/go"})
		step(v1alpha1.BuildStep{Name: "build"})
		return y.hands.outcome(job), nil
	})
	i := y.declare(t, "succeeds", nil)
	b := y.phase(t, i, 1, v1alpha1.BuildSucceeded)
	if len(b.Status.Steps) != 2 || b.Status.Digest != "sha256:succeeds-b1" || b.Status.Attempts != 1 || b.Status.CompletedAt == nil {
		t.Errorf("its status is %+v", b.Status)
	}
	y.ready(t, i, metav1.ConditionTrue, image.UpToDate)
	if i.Status.LatestImage.Digest != b.Status.Digest || i.Status.Inputs.RunDigest == "" || i.Status.Builds != 1 {
		t.Errorf("the Image's status is %+v", i.Status)
	}
	var log bytes.Buffer
	if err := y.logs.Read(t.Context(), "default", b.Name, true, &log); err != nil || log.String() != "building succeeds\n" {
		t.Errorf("its log is %q, %v", log.String(), err)
	}
	y.Delete(t, b)
	y.Until(t, func() string {
		if err := y.logs.Read(t.Context(), "default", b.Name, false, &log); fault.KindOf(err) != fault.NotFound {
			return "its log is still there"
		}
		return ""
	})
}

func retries(t *testing.T, y *yard) {
	tried := 0
	y.hands.do(func(_ context.Context, job Job, _ io.Writer, _ func(v1alpha1.BuildStep)) (Outcome, error) {
		if tried++; tried < 4 {
			return Outcome{}, away
		}
		return y.hands.outcome(job), nil
	})
	i := y.declare(t, "retries", nil)
	if b := y.phase(t, i, 1, v1alpha1.BuildSucceeded); b.Status.Attempts != 4 || b.Status.RetryAt != nil || b.Status.Message != "" {
		t.Errorf("its status is %+v", b.Status)
	}
}

func fails(t *testing.T, y *yard) {
	y.hands.do(func(_ context.Context, _ Job, log io.Writer, _ func(v1alpha1.BuildStep)) (Outcome, error) {
		logs.Begin(log, "detect", "")
		fmt.Fprintln(log, "plimsoll/nodejs fits")
		logs.Begin(log, "build", "")
		fmt.Fprint(log, "npm ERR! missing: left-pad\nERROR: failed to build: exit status 1")
		return Outcome{}, fault.Newf(fault.Failed, "build", "shop", "npm ended with 1").WithHint("mend the source")
	})
	i := y.declare(t, "fails", nil)
	b := y.phase(t, i, 1, v1alpha1.BuildFailed)
	want := "build: shop: npm ended with 1 (mend the source)\n  npm ERR! missing: left-pad\nits whole log: plimsoll logs --namespace default fails-b1"
	if diff := cmp.Diff(want, b.Status.Message); diff != "" {
		t.Error(diff)
	}
	y.Until(t, func() string {
		if got := y.Events(t, b); !slices.Equal(got, []string{"Queued", "Started", "Failed"}) {
			return fmt.Sprintf("its events are %v", got)
		}
		return ""
	})
	if message := y.ready(t, i, metav1.ConditionFalse, image.BuildFailed); !strings.Contains(message, "fails-b1") || !strings.Contains(message, "npm ended with 1") {
		t.Errorf("the Image says %q", message)
	}
	y.images.Wake(client.ObjectKeyFromObject(i))
	y.images.Ask(client.ObjectKeyFromObject(i))
	other := y.declare(t, "fails-later", nil) // when this one was seen, the others were, too
	y.phase(t, other, 1, v1alpha1.BuildFailed)
	if n := len(y.builds(t, i)); n != 1 {
		t.Fatalf("there are %d Builds from the same inputs", n)
	}
	y.hands.do(nil)
	y.Change(t, i, func() {
		i.Spec.Build.Resources.Limits = corev1.ResourceList{}
		i.Spec.Build.Timeout = &metav1.Duration{Duration: 2 * time.Hour}
	})
	y.phase(t, i, 2, v1alpha1.BuildSucceeded)
	y.ready(t, i, metav1.ConditionTrue, image.UpToDate)
}

// holding is a worker's build that says when it has begun and goes on when it is let go, or ends
// with its context.
func holding(y *yard) (begun chan string, let chan struct{}) {
	begun, let = make(chan string, 100), make(chan struct{})
	y.hands.do(func(ctx context.Context, job Job, _ io.Writer, _ func(v1alpha1.BuildStep)) (Outcome, error) {
		begun <- job.Build.Name
		select {
		case <-ctx.Done():
			return Outcome{}, fault.New(fault.Canceled, "build", job.Build.Name, ctx.Err())
		case <-let:
			return y.hands.outcome(job), nil
		}
	})
	return begun, let
}

func cancels(t *testing.T, y *yard) {
	begun, _ := holding(y)
	i := y.declare(t, "cancels", nil)
	<-begun
	b := y.phase(t, i, 1, v1alpha1.BuildRunning)
	y.ready(t, i, metav1.ConditionUnknown, image.Building)
	y.Change(t, b, func() { b.Annotations[AnnotationCancel] = "yes" })
	if b = y.phase(t, i, 1, v1alpha1.BuildCanceled); b.Status.Message == "" {
		t.Error("it does not say why")
	}
	y.ready(t, i, metav1.ConditionFalse, image.BuildFailed)
	if n := len(y.builds(t, i)); n != 1 {
		t.Errorf("there are %d Builds: it was begun again", n)
	}
}

func ends(t *testing.T, y *yard) {
	ended := make(chan struct{})
	begun := make(chan string, 1)
	y.hands.do(func(ctx context.Context, job Job, _ io.Writer, _ func(v1alpha1.BuildStep)) (Outcome, error) {
		begun <- job.Build.Name
		<-ctx.Done()
		close(ended)
		return Outcome{}, ctx.Err()
	})
	i := y.declare(t, "ends", nil)
	<-begun
	y.Delete(t, i)
	select { // the cluster's garbage collector takes its Builds
	case <-ended:
	case <-time.After(time.Minute):
		t.Fatal("it runs on")
	}
}

func panics(t *testing.T, y *yard) {
	y.hands.do(func(context.Context, Job, io.Writer, func(v1alpha1.BuildStep)) (Outcome, error) { panic("nil map") })
	i := y.declare(t, "panics", nil)
	y.phase(t, i, 1, v1alpha1.BuildFailed)
	var log bytes.Buffer
	if err := y.logs.Read(t.Context(), "default", "panics-b1", false, &log); err != nil || !strings.Contains(log.String(), "nil map") {
		t.Errorf("the log says %q, %v", log.String(), err)
	}
}

func timesOut(t *testing.T, y *yard) {
	ctx := make(chan time.Duration, 1)
	y.hands.do(func(c context.Context, job Job, _ io.Writer, _ func(v1alpha1.BuildStep)) (Outcome, error) {
		deadline, _ := c.Deadline()
		ctx <- time.Until(deadline)
		return Outcome{}, errTime(time.Minute)
	})
	i := y.declare(t, "times-out", func(s *v1alpha1.ImageSpec) { s.Build.Timeout = &metav1.Duration{Duration: time.Minute} })
	if left := <-ctx; left <= 0 || left > time.Minute {
		t.Errorf("it has %s", left)
	}
	if b := y.phase(t, i, 1, v1alpha1.BuildFailed); !strings.Contains(b.Status.Message, "longer than 1m0s") {
		t.Errorf("it says %q", b.Status.Message)
	}
}

func coalesces(t *testing.T, y *yard) {
	y.push("commit1")
	begun, let := holding(y)
	i := y.declare(t, "coalesces", nil)
	<-begun
	y.phase(t, i, 1, v1alpha1.BuildRunning)
	for n := range 5 {
		y.push(fmt.Sprint("burst", n), i)
		y.Change(t, i, func() { i.Spec.Build.Process = fmt.Sprint("process", n) })
	}
	close(let)
	y.phase(t, i, 2, v1alpha1.BuildSucceeded)
	y.ready(t, i, metav1.ConditionTrue, image.UpToDate)
	y.Until(t, func() string {
		y.Get(t, i)
		if i.Status.Inputs.Source != "burst4" {
			return "it is made from " + i.Status.Inputs.Source
		}
		return ""
	})
	if n := len(y.builds(t, i)); n > 3 { // the source may have been asked between
		t.Errorf("ten changes came to %d Builds", n)
	}
}

func triggers(t *testing.T, y *yard) {
	forced := make(chan bool, 10)
	y.hands.do(func(_ context.Context, job Job, _ io.Writer, _ func(v1alpha1.BuildStep)) (Outcome, error) {
		if job.Image.Name == "triggers" {
			forced <- job.Force
		}
		return y.hands.outcome(job), nil
	})
	i := y.declare(t, "triggers", nil)
	y.phase(t, i, 1, v1alpha1.BuildSucceeded)
	y.Change(t, i, func() { i.Annotations = map[string]string{v1alpha1.AnnotationBuild: "now"} })
	b := y.phase(t, i, 2, v1alpha1.BuildSucceeded)
	if diff := cmp.Diff(v1alpha1.ReasonTrigger, b.Spec.Reasons[0].Type); diff != "" || <-forced || !<-forced {
		t.Errorf("its reason (-want +got):\n%s", diff)
	}
	y.Until(t, func() string {
		y.Get(t, i)
		if i.Status.Trigger != "now" {
			return "the trigger is not remembered"
		}
		return ""
	})
	y.Change(t, i, func() { i.Annotations["other"] = "thing" })
	y.images.Wake(client.ObjectKeyFromObject(i))
	other := y.declare(t, "triggers-later", nil)
	y.phase(t, other, 1, v1alpha1.BuildSucceeded)
	if n := len(y.builds(t, i)); n != 2 {
		t.Errorf("there are %d Builds", n)
	}
}

// tellsNothing plants secrets, has the worker tell them wherever it can, and looks everywhere.
func tellsNothing(t *testing.T, y *yard) {
	const planted = "PLANTED-in-a-secret"
	y.Create(t, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "planted"}, Data: map[string][]byte{"key": []byte(planted)}})
	y.Create(t, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "planted"}, Secrets: []corev1.ObjectReference{{Name: "planted"}}})
	tries := 0
	y.hands.do(func(_ context.Context, job Job, log io.Writer, step func(v1alpha1.BuildStep)) (Outcome, error) {
		secret := string(job.Secrets.Environment["TOKEN"])
		if secret != planted {
			return Outcome{}, fault.Newf(fault.Failed, "read", "TOKEN", "it is not there")
		}
		fmt.Fprintf(log, "TOKEN=%s\nand unfinished %s", secret, secret)
		step(v1alpha1.BuildStep{Name: "detect", Text: "with " + secret})
		if tries++; tries == 1 {
			return Outcome{}, fault.Newf(fault.Unavailable, "fetch "+secret, secret, "away "+secret).WithHint("try " + secret)
		}
		return Outcome{}, fault.Newf(fault.Failed, "fetch "+secret, secret, "broken "+secret).WithHint("try " + secret)
	})
	i := y.declare(t, "planted", func(s *v1alpha1.ImageSpec) {
		s.ServiceAccountName = "planted"
		s.Build.Env = []corev1.EnvVar{{Name: "TOKEN", ValueFrom: &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{LocalObjectReference: corev1.LocalObjectReference{Name: "planted"}, Key: "key"}}}}
	})
	b := y.phase(t, i, 1, v1alpha1.BuildFailed)
	y.ready(t, i, metav1.ConditionFalse, image.BuildFailed)
	var told bytes.Buffer
	if err := y.logs.Read(t.Context(), "default", b.Name, false, &told); err != nil || !strings.Contains(told.String(), "TOKEN=***") {
		t.Errorf("the log is %q, %v", told.String(), err)
	}
	var events corev1.EventList
	y.Until(t, func() string {
		if err := y.Client.List(t.Context(), &events); err != nil {
			return err.Error()
		}
		for _, e := range events.Items {
			if e.InvolvedObject.Name == i.Name {
				return ""
			}
		}
		return "there is no event of the failure"
	})
	var builds v1alpha1.BuildList
	var images v1alpha1.ImageList
	for _, list := range []client.ObjectList{&builds, &images} {
		if err := y.Client.List(t.Context(), list); err != nil {
			t.Fatal(err)
		}
	}
	for _, thing := range []any{events, builds, images} {
		text, err := json.Marshal(thing)
		if err != nil {
			t.Fatal(err)
		}
		told.Write(text)
	}
	if at := strings.Index(told.String(), planted); at >= 0 {
		t.Errorf("a secret is told: …%s", told.String()[max(0, at-200):at])
	}
	if !strings.Contains(b.Status.Message, "broken ***") {
		t.Errorf("the Build says %q", b.Status.Message)
	}
}

func restarts(t *testing.T, y *yard) {
	begun, _ := holding(y)
	i := y.declare(t, "restarts", nil)
	<-begun
	y.phase(t, i, 1, v1alpha1.BuildRunning)
	y.stop()
	y.phase(t, i, 1, v1alpha1.BuildRunning) // nobody wrote that it failed
	y.hands.do(nil)
	y.start(t)
	if b := y.phase(t, i, 1, v1alpha1.BuildSucceeded); b.Status.Attempts != 2 {
		t.Errorf("it was begun %d times", b.Status.Attempts)
	}
}
