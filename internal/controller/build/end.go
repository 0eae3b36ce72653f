package build

import (
	"context"
	"math/rand/v2"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"plimsoll.dev/plimsoll/api/v1alpha1"
	"plimsoll.dev/plimsoll/internal/controller/status"
	"plimsoll.dev/plimsoll/internal/fault"
)

// longestPause is between two attempts at what is away.
const longestPause = 30 * time.Minute

// end writes down how a Build has ended, or when it is tried again. It tries until the API takes
// it: what was done is not to be done again because of a moment. told is what it said on its way.
func (r *runner) end(b started, outcome Outcome, err error, told report) {
	switch cause := context.Cause(b.ctx); {
	case cause == errGone:
		r.finish(b.entry, nil, true)
		return
	case err == nil:
	case cause == error(errCanceled):
		err = errCanceled
	case cause != nil || r.isEnding(): // a fleet may hear of that before each of its own does
		return // who leads next begins it anew
	}
	attempts := b.build.Status.Attempts
	if b.rebase {
		attempts++ // nobody wrote that it began
	}
	over := func(s *v1alpha1.BuildStatus) {
		s.Attempts = attempts
		ended(s, b.build.Generation, outcome, err)
		told.explain(b.build, s)
	}
	at := metav1.NewTime(time.Now().Add(pause(r.options.Retry, attempts)))
	later := func(s *v1alpha1.BuildStatus) {
		s.Phase, s.RetryAt, s.Attempts, s.Message = v1alpha1.BuildQueued, &at, attempts, status.Message(err)
		status.Set(&s.Status, b.build.Generation, v1alpha1.ConditionSucceeded, metav1.ConditionUnknown, retrying, s.Message)
	}
	away := fault.KindOf(err) == fault.Unavailable
	switch {
	case !b.unwritten:
	case err == nil:
		r.keep(b, over)
		return
	case away && attempts < mostUnwritten, !r.writeDown(&b):
		r.keep(b, later)
		return
	}
	change, again := over, (*entry)(nil)
	if away {
		change, again = later, new(*b.entry)
		again.item.NotBefore = at.Time
	}
	gone := r.persist(b, func(s *v1alpha1.BuildStatus) {
		if told.steps != nil {
			s.Steps = told.steps.all()
		}
		change(s)
	})
	if gone {
		again = nil
	} else {
		r.tell(b)
		if b.build.Status.Phase.Ended() { // else the process ends before that is written
			r.options.Ended(b.build, time.Since(b.began))
		}
	}
	r.finish(b.entry, again, gone)
}

// isEnding says that this process ends.
func (r *runner) isEnding() bool {
	select {
	case <-r.ending:
		return true
	default:
		return false
	}
}

// tell makes an event of how a Build has ended, or why it is tried again. Rebases that go well are told
// by what moves: there are thousands at a time.
func (r *runner) tell(b started) {
	s := &b.build.Status
	switch {
	case s.Phase == v1alpha1.BuildQueued && !b.rebase:
		r.events.Event(b.build, corev1.EventTypeWarning, retrying, status.Brief(s.Message))
	case s.Phase == v1alpha1.BuildFailed:
		r.events.Event(b.build, corev1.EventTypeWarning, string(s.Phase), status.Brief(s.Message))
	case s.Phase == v1alpha1.BuildCanceled:
		r.events.Event(b.build, corev1.EventTypeNormal, string(s.Phase), status.Brief(s.Message))
	case s.Phase == v1alpha1.BuildSucceeded && !b.rebase:
		text := "it made " + s.Digest
		if s.Unchanged {
			text = "there was nothing to do: the tag names " + s.Digest
		}
		r.events.Event(b.build, corev1.EventTypeNormal, string(s.Phase), text)
	}
}

// writtenWithin bounds one request that writes.
const writtenWithin = 30 * time.Second

// retrying is the reason of the condition and of the event while a Build waits for another attempt.
const retrying = "Retrying"

// persist writes until it is written. It says whether the Build is gone; when the process ends it
// gives up.
func (r *runner) persist(b started, change func(*v1alpha1.BuildStatus)) (gone bool) {
	// What ended the Build must not end the writing.
	ctx := context.WithoutCancel(b.ctx)
	for attempt := int32(1); ; attempt++ {
		limited, cancel := context.WithTimeout(ctx, writtenWithin)
		err := r.write(limited, b.build, change)
		cancel()
		switch {
		case err == nil:
			return false
		case apierrors.IsNotFound(err), apierrors.IsConflict(err):
			return true // it, or what has its name now, is another
		case apierrors.IsInvalid(err):
			log.FromContext(ctx).Error(err, "write the end of a Build", "build", b.item.Name)
			change = func(s *v1alpha1.BuildStatus) { ended(s, b.build.Generation, Outcome{}, errUnwritable) }
		}
		select {
		case <-r.ending:
			return false
		case <-time.After(pause(200*time.Millisecond, min(attempt, 8))):
		}
	}
}

var errUnwritable = fault.Newf(fault.Failed, "build", "", "what came of it does not fit into its status").WithHint("the controllers' log tells more: please report it")

// pause gives the time before the next attempt, give or take a tenth.
func pause(first time.Duration, attempts int32) time.Duration {
	wait := first
	for range min(attempts, 20) - 1 {
		wait = min(2*wait, longestPause)
	}
	return time.Duration(float64(wait) * (0.9 + 0.2*rand.Float64()))
}

// running and ended set what the status says of the Build itself.
func running(s *v1alpha1.BuildStatus, generation int64) {
	status.Set(&s.Status, generation, v1alpha1.ConditionSucceeded, metav1.ConditionUnknown, string(v1alpha1.BuildRunning), "")
}

func ended(s *v1alpha1.BuildStatus, generation int64, o Outcome, err error) {
	now := metav1.Now()
	s.CompletedAt, s.RetryAt = &now, nil
	s.Attempts = max(s.Attempts, 1)
	is := metav1.ConditionFalse
	switch {
	case err == nil:
		s.Phase, is = v1alpha1.BuildSucceeded, metav1.ConditionTrue
		s.Digest, s.Tags, s.RunImage, s.Buildpacks, s.Unchanged, s.Message = o.Digest, o.Tags, o.RunImage, o.Buildpacks, o.Unchanged, ""
	case fault.KindOf(err) == fault.Canceled:
		s.Phase, s.Message = v1alpha1.BuildCanceled, status.Message(err)
	default:
		s.Phase, s.Message = v1alpha1.BuildFailed, status.Message(err)
	}
	status.Set(&s.Status, generation, v1alpha1.ConditionSucceeded, is, string(s.Phase), s.Message)
}

// write changes the status of the Build in the cluster, if it is this very one, and keeps what
// came of it. Somebody may have set an annotation meanwhile: that does not stand against it.
func (r *runner) write(ctx context.Context, b *v1alpha1.Build, change func(*v1alpha1.BuildStatus)) error {
	for {
		after := b.DeepCopy()
		change(&after.Status)
		err := r.client.Status().Update(ctx, after)
		if err == nil {
			*b = *after
		}
		if !apierrors.IsConflict(err) {
			return err
		}
		var now v1alpha1.Build
		if err := r.api.Get(ctx, client.ObjectKeyFromObject(b), &now); err != nil {
			return err
		}
		if now.UID != b.UID {
			return err
		}
		*b = now
	}
}
