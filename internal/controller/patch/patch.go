// Package patch takes Patch resources and gives campaigns of the update engine, whose progress
// it shows in their statuses.
package patch

import (
	"cmp"
	"context"
	"fmt"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/record"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/predicate"

	"plimsoll.dev/plimsoll/api/v1alpha1"
	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/controller/hold"
	"plimsoll.dev/plimsoll/internal/controller/status"
	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/update"
)

// Campaigns keeps and works off campaigns: an *update.Engine.
type Campaigns interface {
	Ensure(ctx context.Context, name string, spec v1alpha1.PatchSpec) error
	Status(ctx context.Context, name string) (update.Status, error)
	Remove(ctx context.Context, name string) error
	Changed(ctx context.Context, change update.Change) error
}

// Options of the reconciler.
type Options struct {
	// Every is how often the status of a campaign that goes on is written, where it differs; 0
	// is three seconds. One that waits for changes is looked at ten times less.
	Every time.Duration
}

// Setup adds the reconciler of Patches to the manager, and what tells campaigns of changes.
func Setup(mgr ctrl.Manager, c Campaigns, o Options) error {
	r := &Reconciler{
		client: mgr.GetClient(), events: mgr.GetEventRecorderFor("patch"), campaigns: c,
		every: cmp.Or(o.Every, 3*time.Second), ensured: map[string]int64{},
	}
	err := ctrl.NewControllerManagedBy(mgr).
		For(&v1alpha1.Patch{}, builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		WithOptions(controller.Options{MaxConcurrentReconciles: 4, RateLimiter: status.Backoff()}).
		Complete(r)
	if err != nil {
		return err
	}
	return watch(mgr, c)
}

// Reconciler has the campaigns be what is declared.
type Reconciler struct {
	client    client.Client
	events    record.EventRecorder
	campaigns Campaigns
	every     time.Duration

	mu      sync.Mutex
	ensured map[string]int64 // the generations that campaigns were told of by this process
}

// Reconcile implements reconcile.Reconciler.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	var p v1alpha1.Patch
	wanted, err := hold.Fetch(ctx, r.client, req.NamespacedName, &p, func() error {
		r.forget(p.Name)
		return r.campaigns.Remove(ctx, p.Name)
	})
	if err != nil || !wanted {
		return status.Next(err, 0)
	}
	before := p.DeepCopy()
	wait, err := r.reconcile(ctx, &p)
	if failed := status.Write(ctx, r.client, before, &p); failed != nil {
		return status.Next(failed, 0)
	}
	status.Tell(r.events, &p, &before.Status.Status, &p.Status.Status)
	return status.Next(err, wait)
}

// reconcile brings campaign and status up to date, and says when to look again.
func (r *Reconciler) reconcile(ctx context.Context, p *v1alpha1.Patch) (time.Duration, error) {
	set := func(is metav1.ConditionStatus, reason, message string) {
		status.Set(&p.Status.Status, p.Generation, v1alpha1.ConditionSucceeded, is, reason, message)
	}
	if err := r.ensure(ctx, p); err != nil {
		is := metav1.ConditionUnknown
		if fault.KindOf(err) == fault.Usage {
			is = metav1.ConditionFalse
		}
		set(is, status.OfError(err), status.Message(err))
		return 0, err
	}
	s, err := r.campaigns.Status(ctx, p.Name)
	if fault.KindOf(err) == fault.NotFound {
		set(metav1.ConditionUnknown, string(v1alpha1.PatchWaiting), "nothing that it means is stale")
		return 10 * r.every, nil
	}
	if err != nil {
		return 0, err
	}
	show(&p.Status, s)
	is, message := outcome(s)
	set(is, string(s.Phase), message)
	switch {
	case s.Ended.IsZero() || s.Report == "":
		return r.every, nil
	case p.Spec.Automatic:
		return 10 * r.every, nil
	}
	return 0, nil
}

// ensure tells the engine of a spec, once for each generation in the life of this process. A
// campaign that has ended is not begun again because its records were lost.
func (r *Reconciler) ensure(ctx context.Context, p *v1alpha1.Patch) error {
	r.mu.Lock()
	told := r.ensured[p.Name] == p.Generation
	r.mu.Unlock()
	over := p.Status.CompletedAt != nil && p.Status.ObservedGeneration == p.Generation && !p.Spec.Automatic
	if told || over {
		return nil
	}
	if err := r.campaigns.Ensure(ctx, p.Name, p.Spec); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ensured[p.Name] = p.Generation
	return nil
}

func (r *Reconciler) forget(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.ensured, name)
}

// show mirrors a campaign.
func show(into *v1alpha1.PatchStatus, s update.Status) {
	into.Phase, into.Wave, into.Run, into.Report = s.Phase, s.WaveName, s.Run, s.Report
	of := s.Counts.Remedies
	into.Images = v1alpha1.PatchCounts{
		Total: s.Counts.Total, Rebase: of[artifact.RemedyRebase], Rebuild: of[artifact.RemedyRebuild], Override: of[artifact.RemedyOverride],
		Unfixable: s.Counts.Unfixable, Done: s.Counts.Done, Failed: s.Counts.Failed,
	}
	into.StartedAt, into.CompletedAt, into.EstimatedAt = moment(s.Started), moment(s.Ended), nil
	if s.Phase == v1alpha1.PatchRunning { // else it would move on with the clock
		into.EstimatedAt = moment(s.Estimate)
	}
}

func moment(t time.Time) *metav1.Time {
	if t.IsZero() {
		return nil
	}
	return &metav1.Time{Time: t.Truncate(time.Second)}
}

// outcome gives the condition Succeeded of a campaign.
func outcome(s update.Status) (metav1.ConditionStatus, string) {
	c := s.Counts
	switch s.Phase {
	case v1alpha1.PatchDone:
		message := fmt.Sprintf("%d of %d images are remedied", c.Done, c.Total)
		if rest := c.Total - c.Done; rest > 0 {
			message += fmt.Sprintf(": %d failed, %d had nothing to do or nothing that helps", c.Failed, rest-c.Failed)
		}
		return metav1.ConditionTrue, message
	case v1alpha1.PatchHalted, v1alpha1.PatchRolledBack:
		return metav1.ConditionFalse, s.Why
	}
	return metav1.ConditionUnknown, cmp.Or(s.Why, "its waves are worked off")
}
