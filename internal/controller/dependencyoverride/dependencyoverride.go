// Package dependencyoverride takes DependencyOverrides and gives the home's, by which every build
// goes; and it says of each how many images have a lower version still.
package dependencyoverride

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/record"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/predicate"

	"plimsoll.dev/plimsoll/api/v1alpha1"
	"plimsoll.dev/plimsoll/internal/build/override"
	"plimsoll.dev/plimsoll/internal/controller/hold"
	"plimsoll.dev/plimsoll/internal/controller/homefile"
	"plimsoll.dev/plimsoll/internal/controller/status"
	"plimsoll.dev/plimsoll/internal/fault"
)

// Counter knows what is in images.
type Counter interface {
	// Below gives how many images in its scope, by their names, the override bears on: those whose
	// application has a lower version of the dependency.
	Below(ctx context.Context, o v1alpha1.DependencyOverride) (int, error)
}

// Options of the reconciler.
type Options struct {
	// Dir is the folder of the home's overrides. Required.
	Dir string

	// Every is how often images are counted; 0 is five minutes.
	Every time.Duration
}

// Setup adds the reconciler of DependencyOverrides to the manager.
func Setup(mgr ctrl.Manager, c Counter, o Options) error {
	r := &Reconciler{
		client: mgr.GetClient(), events: mgr.GetEventRecorderFor("dependencyoverride"), counter: c,
		folder: homefile.Folder{Dir: o.Dir}, every: cmp.Or(o.Every, 5*time.Minute),
	}
	return ctrl.NewControllerManagedBy(mgr).
		For(&v1alpha1.DependencyOverride{}, builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		WithOptions(controller.Options{MaxConcurrentReconciles: 1, RateLimiter: status.Backoff()}).
		Complete(r)
}

// Reconciler has the home's overrides be those that are declared.
type Reconciler struct {
	client  client.Client
	events  record.EventRecorder
	counter Counter
	folder  homefile.Folder
	every   time.Duration
}

// Reconcile implements reconcile.Reconciler.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	var o v1alpha1.DependencyOverride
	wanted, err := hold.Fetch(ctx, r.client, req.NamespacedName, &o, func() error {
		return r.folder.Remove(v1alpha1.DependencyOverrideKind, o.Name)
	})
	if err != nil || !wanted {
		return status.Next(err, 0)
	}
	before := o.DeepCopy()
	wait, err := r.reconcile(ctx, &o)
	if ctx.Err() != nil {
		return ctrl.Result{}, nil
	}
	if failed := status.Write(ctx, r.client, before, &o); failed != nil {
		return status.Next(failed, 0)
	}
	status.Tell(r.events, &o, &before.Status.Status, &o.Status.Status)
	return status.Next(err, wait)
}

// reconcile brings the file and the status up to date, and says when to look again.
func (r *Reconciler) reconcile(ctx context.Context, o *v1alpha1.DependencyOverride) (time.Duration, error) {
	set := func(is metav1.ConditionStatus, reason, message string) {
		status.Set(&o.Status.Status, o.Generation, v1alpha1.ConditionReady, is, reason, message)
	}
	if err := r.put(o); err != nil {
		set(metav1.ConditionFalse, hold.Reason(err), r.message(o, err))
		return r.every, err
	}
	wait := r.every
	if end := o.Spec.Expires; end != nil {
		left := time.Until(end.Time)
		if left <= 0 {
			o.Status.Images = 0
			set(metav1.ConditionFalse, status.Expired, fmt.Sprintf("it ended at %s: builds go by the lock files again", end.UTC().Format(time.RFC3339)))
			return 0, nil
		}
		wait = min(wait, left)
	}
	set(metav1.ConditionTrue, status.InForce, "every build in its scope goes by it")
	below, err := r.counter.Below(ctx, *o)
	if err != nil {
		return wait, err // the last count stands: builds go by the override all the same
	}
	o.Status.Images = int64(below)
	return wait, nil
}

// put has the home say what the resource says. What is wrong with it, or with the others, leaves
// the home as it was.
func (r *Reconciler) put(o *v1alpha1.DependencyOverride) error {
	checked := v1alpha1.DependencyOverride{Spec: o.Spec}
	checked.APIVersion, checked.Kind, checked.Name = v1alpha1.APIVersion, v1alpha1.DependencyOverrideKind, o.Name
	if _, err := override.New(checked); err != nil {
		return err
	}
	text, err := homefile.Text(checked.Kind, o.Name, o.Spec)
	if err != nil {
		return err
	}
	all, err := override.Load(r.folder.Dir)
	if err != nil {
		return homefile.OfSet("put overrides together", err)
	}
	named := func(other v1alpha1.DependencyOverride) bool { return other.Name == o.Name }
	_, err = r.folder.Get(checked.Kind, o.Name)
	if errors.Is(err, fs.ErrNotExist) && slices.ContainsFunc(all.All(), named) {
		return fault.New(fault.Denied, "write override", o.Name, fmt.Errorf("the home has another of that name: %w", homefile.ErrTaken)).
			WithHint("remove it with `plimsoll override remove`, or give the resource another name")
	}
	_, err = r.folder.Put(checked.Kind, o.Name, text)
	return err
}

// message says why an override was refused, and whether an earlier version still holds.
func (r *Reconciler) message(o *v1alpha1.DependencyOverride, err error) string {
	if _, missing := r.folder.Get(v1alpha1.DependencyOverrideKind, o.Name); missing == nil {
		return "the version before this one stays in force: " + status.Message(err)
	}
	return status.Message(err)
}
