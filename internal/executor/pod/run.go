package pod

import (
	"context"
	"errors"
	"io"
	"path"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"plimsoll.dev/plimsoll/internal/executor"
	"plimsoll.dev/plimsoll/internal/executor/pod/wire"
	"plimsoll.dev/plimsoll/internal/fault"
)

// run is one step on its way.
type run struct {
	executor  *Executor
	step      executor.Step
	plan      *plan
	image     string
	placement Placement
	to        [2]io.Writer // standard output and error
	out       *printer     // of the pod that there is now
	result    executor.Result
}

// do runs the step's pod. Where a step without network got a pod with one, what other pods
// reach is found out first, and the step begins again with that for a proof.
func (r *run) do(ctx context.Context) (executor.Result, error) {
	r.placement = placementOf(ctx)
	err := r.inPod(ctx, r.converse)
	var p *wire.Problem
	if errors.As(err, &p) && p.Sort == wire.Unproven {
		if err = r.executor.findProbes(ctx, r); err == nil {
			err = r.inPod(ctx, r.converse)
		}
	}
	if errors.Is(err, errKilled) {
		err = nil
	}
	if err != nil || r.broken() != nil {
		return executor.Result{}, r.explain(ctx, err)
	}
	return r.result, nil
}

// broken gives what a writer said, once nothing is printed any more.
func (r *run) broken() error {
	if r.out == nil {
		return nil
	}
	return r.out.failed
}

// inPod makes the pod, does what is to be done with the agent in it, and deletes it.
func (r *run) inPod(ctx context.Context, do func(context.Context, *stream, *watcher) error) error {
	e := r.executor
	if ctx.Err() != nil {
		return ctx.Err()
	}
	pod, err := e.client.CoreV1().Pods(e.opt.Namespace).Create(ctx, r.spec(), metav1.CreateOptions{})
	if err != nil {
		return notCreated(e.opt.Namespace, err)
	}
	defer func() {
		cleaning, cancel := context.WithTimeout(context.WithoutCancel(ctx), 20*time.Second)
		defer cancel()
		_ = e.remove(cleaning, pod) // else the next Sweep does; all in it ends with the stream
	}()
	watching, fail := context.WithCancelCause(ctx)
	w := newWatcher(e, pod, fail)
	followed := make(chan struct{})
	go func() { defer close(followed); w.follow(watching) }()
	defer func() { fail(nil); <-followed }()

	starting := time.AfterFunc(e.opt.StartTimeout, func() { fail(w.late()) })
	defer starting.Stop()
	w.started = func() { starting.Stop() }
	select {
	case <-w.scheduled:
	case <-watching.Done():
		return context.Cause(watching)
	}
	s, err := e.connect(watching, pod)
	if err != nil {
		return causeOf(watching, err)
	}
	defer s.end()
	return causeOf(watching, do(watching, s, w))
}

// causeOf gives why ctx has ended, which says more than what failed because of it.
func causeOf(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); err != nil && cause != nil {
		return cause
	}
	return err
}

func notCreated(namespace string, err error) error {
	kind, hint := fault.Unavailable, ""
	switch {
	case apierrors.IsNotFound(err):
		hint = "the namespace and the service account of steps must be there: install the chart"
	case apierrors.IsForbidden(err) && strings.Contains(err.Error(), "quota"):
		hint = "raise the namespace's quota, or run fewer steps at once"
	case apierrors.IsForbidden(err), apierrors.IsUnauthorized(err):
		kind, hint = fault.Denied, "the executor needs the rights that docs/executor.md lists"
	case apierrors.IsInvalid(err), apierrors.IsBadRequest(err):
		kind = fault.Usage
	}
	return fault.New(kind, "make the pod of a step in", namespace, err).WithHint(hint)
}

// explain gives the error of a step that has no result.
func (r *run) explain(ctx context.Context, err error) *fault.Error {
	command := r.step.Command[0]
	if ctx.Err() != nil {
		return fault.New(fault.Canceled, "run step", command, ctx.Err())
	}
	if broken := r.broken(); broken != nil {
		return fault.New(fault.Failed, "write the step's output", command, broken)
	}
	var ours *fault.Error
	if errors.As(err, &ours) {
		return ours
	}
	var p *wire.Problem
	if !errors.As(err, &p) {
		return fault.New(fault.Unavailable, "run step as a pod", command, err)
	}
	switch p.Sort {
	case wire.NoCommand:
		return fault.Newf(fault.NotFound, "run step", command, "it is not a program in the root filesystem: "+p.Why).
			WithHint("name a program that the image's layers hold, or set PATH in the step's environment")
	case wire.NoDir:
		return fault.Newf(fault.Usage, "run step", command, p.Why).WithHint("the working directory must be in the image or mounted")
	case wire.Refused:
		return fault.Newf(fault.Failed, "take back what the step made", command, p.Why).
			WithHint("let the step leave less in its writable folders, or allow more")
	case wire.Reachable, wire.Unproven:
		return fault.Newf(fault.Unavailable, "keep the step from the network", command, p.Why).
			WithHint("run steps on nodes whose network keeps NetworkPolicy, or, when it does and this proof is wrong, trust it")
	}
	return fault.Newf(fault.Unavailable, "run step as a pod", command, p.Why)
}

// job gives what the agent is to do.
func (r *run) job() wire.Job {
	e, s := r.executor, r.step
	dir := path.Clean("/" + s.Dir)
	j := wire.Job{
		Command: s.Command, Env: s.Env, Dir: dir, Pids: s.Limits.Pids, Wall: s.Limits.Wall,
		Isolate: !s.Network && !e.opt.TrustNetworkPolicies, Probes: e.known(),
		MaxFiles: e.opt.ReturnedFiles, MaxBytes: e.opt.DiskBytes,
	}
	if !slices.ContainsFunc(s.Env, func(v string) bool { return strings.HasPrefix(v, "PWD=") }) {
		j.Env = append(slices.Clone(s.Env), "PWD="+dir)
	}
	for _, at := range r.plan.returned {
		j.Returned = append(j.Returned, at.at)
	}
	return j
}

// probe gives a run beside this one's place, with a network and without a command.
func (r *run) probe() *run {
	return &run{
		executor: r.executor, image: r.image, placement: r.placement,
		plan: &plan{volumes: []corev1.Volume{r.executor.volume(disk, "", r.executor.opt.DiskBytes)}},
		step: executor.Step{UID: r.step.UID, GID: r.step.GID, Network: true},
	}
}
