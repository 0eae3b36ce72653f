package build

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"plimsoll.dev/plimsoll/api/v1alpha1"
	"plimsoll.dev/plimsoll/internal/controller/secrets"
	"plimsoll.dev/plimsoll/internal/fault"
)

// errGone ends a Build that is not there any more: nothing is written down of it.
var errGone = errors.New("the Build is not there any more")

// How long no rebase must have come before a fleet leaves, and how long it waits at most: what makes one
// stale makes thousands stale, and each fleet looks at run images and logins anew.
const (
	gathering = 50 * time.Millisecond
	gathered  = time.Second
)

// Start runs what waits until ctx ends, and waits for what runs. Builds that are under way then
// stay as they are: who leads next begins them anew.
func (r *runner) Start(ctx context.Context) error {
	r.ending = ctx.Done()
	if err := r.sweep(ctx); err != nil {
		log.FromContext(ctx).Error(err, "sweep logs")
	}
	var work sync.WaitGroup
	defer work.Wait()
	timer := time.NewTimer(0)
	defer timer.Stop()
	telling := time.NewTicker(tellEvery)
	defer telling.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-telling.C:
			r.tellMoved(ctx)
			continue
		case <-r.kicked:
		case <-timer.C:
		}
		if !r.gather(ctx) {
			return nil
		}
		builds, fleet, wake := r.next(ctx, r.options.Limits, r.options.FleetSize)
		for _, b := range builds {
			work.Go(func() { r.build(b) })
		}
		if len(fleet) > 0 {
			work.Go(func() { r.fleet(ctx, fleet) })
		}
		if len(fleet) == r.options.FleetSize {
			r.kick() // for another
		}
		timer.Reset(sleep(wake))
	}
}

// gather waits while more is on its way. It is false when ctx has ended.
func (r *runner) gather(ctx context.Context) bool {
	latest := time.Now().Add(gathered)
	for before := -1; ; {
		n := r.rebases()
		if n == before || n >= r.options.FleetSize || time.Now().After(latest) {
			return true
		}
		before = n
		select {
		case <-ctx.Done():
			return false
		case <-time.After(gathering):
		}
	}
}

func sleep(until time.Time) time.Duration {
	if until.IsZero() {
		return time.Hour // a kick comes first
	}
	return max(0, time.Until(until))
}

// sweep removes the logs of Builds that went while nobody was here.
func (r *runner) sweep(ctx context.Context) error {
	var list v1alpha1.BuildList
	if err := r.client.List(ctx, &list, client.UnsafeDisableDeepCopy); err != nil {
		return err
	}
	there := make(map[string]bool, len(list.Items))
	for i := range list.Items {
		there[list.Items[i].Namespace+"/"+list.Items[i].Name] = true
	}
	return r.logs.Sweep(func(namespace, build string) bool { return there[namespace+"/"+build] })
}

// build runs one Build from source to its end, and writes that down.
func (r *runner) build(b started) {
	i, err := r.imageOf(b.ctx, b.build)
	if err == nil && i == nil {
		r.finish(b.entry, nil, true) // it goes with its Image
		return
	}
	var outcome Outcome
	redactor := secrets.Redactor{}
	told := report{steps: &steps{}}
	if err == nil {
		outcome, redactor, err = r.work(b, i, &told)
	}
	r.end(b, outcome, redact(err, redactor), told)
}

// work does what the Build says, with what the Image may use.
func (r *runner) work(b started, i *v1alpha1.Image, told *report) (outcome Outcome, redactor secrets.Redactor, err error) {
	job := Job{Image: i, Build: b.build.DeepCopy(), Force: forced(b.build)}
	if job.Secrets, err = secrets.Resolve(b.ctx, r.api, i); err != nil {
		return outcome, redactor, err
	}
	redactor = job.Secrets.Redactor()
	if job.Overrides, err = r.overrides(b.ctx); err != nil {
		return outcome, redactor, err
	}
	file, err := r.logs.Create(b.build.Namespace, b.build.Name)
	if err != nil {
		return outcome, redactor, err
	}
	defer file.Close()
	last := &lastLines{out: file}
	hiding := redactor.Writer(last)
	defer hiding.Close()
	err = r.write(b.ctx, b.build, func(s *v1alpha1.BuildStatus) {
		now := metav1.Now()
		s.Phase, s.StartedAt, s.RetryAt, s.Steps, s.Message = v1alpha1.BuildRunning, &now, nil, nil, ""
		s.Attempts++
		running(s, b.build.Generation)
	})
	if err != nil {
		return outcome, redactor, fault.New(fault.Unavailable, "write the status of", b.item.Name, err)
	}
	r.events.Eventf(b.build, corev1.EventTypeNormal, "Started", "attempt %d begins", b.build.Status.Attempts)
	timeout := r.options.Timeout
	if wanted := i.Spec.Build.Timeout; wanted != nil && wanted.Duration > 0 {
		timeout = wanted.Duration
	}
	ctx, cancel := context.WithTimeoutCause(b.ctx, timeout, errTime(timeout))
	defer cancel()
	outcome, err = r.guarded(ctx, job, hiding, func(step v1alpha1.BuildStep) {
		step.Text = redactor.Text(step.Text)
		if all, due := told.steps.add(step); due {
			_ = r.write(ctx, b.build, func(s *v1alpha1.BuildStatus) { s.Steps = all }) // the end writes all
		}
	})
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		_ = hiding.Close() // it has what it held until the end of a line
		told.said, told.logged = last.telling(), true
		fmt.Fprintf(file, "\nplimsoll: %s\n", redactor.Text(err.Error()))
	}
	return outcome, redactor, err
}

func errTime(timeout time.Duration) error {
	return fault.Newf(fault.Failed, "build", "", fmt.Sprintf("it took longer than %s", timeout)).
		WithHint("give it more with spec.build.timeout of the Image")
}

// guarded keeps a mistake in the worker from ending the process, and with it all other Builds:
// what starts again and again would end it again and again.
func (r *runner) guarded(ctx context.Context, job Job, out io.Writer, step func(v1alpha1.BuildStep)) (outcome Outcome, err error) {
	defer func() {
		if p := recover(); p != nil {
			fmt.Fprintf(out, "\npanic: %v\n%s\n", p, debug.Stack())
			err = fault.Newf(fault.Failed, "build", job.Build.Name, "plimsoll itself has failed").WithHint("the log tells where: please report it")
		}
	}()
	return r.worker.Build(ctx, job, out, step)
}

// forced says that the Build was asked for, though nothing may have changed.
func forced(b *v1alpha1.Build) bool {
	for _, reason := range b.Spec.Reasons {
		if reason.Type == v1alpha1.ReasonTrigger {
			return true
		}
	}
	return false
}

func (r *runner) overrides(ctx context.Context) ([]v1alpha1.DependencyOverride, error) {
	var list v1alpha1.DependencyOverrideList
	if err := r.client.List(ctx, &list); err != nil {
		return nil, err
	}
	return list.Items, nil
}

// steps are those of a Build that have ended.
type steps struct {
	mu    sync.Mutex
	list  []v1alpha1.BuildStep
	wrote time.Time
}

// mostSteps and pace bound what is written of steps.
const (
	mostSteps = 200
	pace      = 2 * time.Second
)

// add adds one, and says whether it is time to write them down.
func (s *steps) add(step v1alpha1.BuildStep) (all []v1alpha1.BuildStep, due bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.list) < mostSteps {
		s.list = append(s.list, step)
	}
	if time.Since(s.wrote) < pace {
		return nil, false
	}
	s.wrote = time.Now()
	return append([]v1alpha1.BuildStep(nil), s.list...), true
}

func (s *steps) all() []v1alpha1.BuildStep {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]v1alpha1.BuildStep(nil), s.list...)
}

// redact takes out of an error's text what it must not tell.
func redact(err error, r secrets.Redactor) error {
	if err == nil {
		return nil
	}
	clean := fault.Newf(fault.KindOf(err), r.Text(err.Error()), "", "")
	clean.Why = nil
	return clean.WithHint(r.Text(fault.HintOf(err)))
}
