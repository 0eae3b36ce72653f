// Package imageimport takes ImageImports and gives the home's, which a registry that serves runs
// by their schedules; and it says of each what the last run came to.
package imageimport

import (
	"context"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/record"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"plimsoll.dev/plimsoll/api/v1alpha1"
	"plimsoll.dev/plimsoll/internal/controller/hold"
	"plimsoll.dev/plimsoll/internal/controller/homefile"
	"plimsoll.dev/plimsoll/internal/controller/status"
	"plimsoll.dev/plimsoll/internal/fault"
)

// Runs knows what became of imports.
type Runs interface {
	// Last gives the last run of the import of that name; one that never ran has the zero Run.
	Last(ctx context.Context, name string) (Run, error)
}

// Run is what an import came to.
type Run struct {
	Ended time.Time
	Tags  int    // that are held because of it
	Error string // "" when it brought all that is wanted
}

// Options of the reconciler.
type Options struct {
	// Dir is the folder of the home's imports. Required.
	Dir string

	// Ended names imports of which a run has ended. Nil: the state is looked at every minute.
	Ended <-chan event.GenericEvent
}

const every = time.Minute

// Setup adds the reconciler of ImageImports to the manager.
func Setup(mgr ctrl.Manager, runs Runs, o Options) error {
	r := &Reconciler{
		client: mgr.GetClient(), events: mgr.GetEventRecorderFor("imageimport"), runs: runs,
		folder: homefile.Folder{Dir: o.Dir},
	}
	c := ctrl.NewControllerManagedBy(mgr).
		For(&v1alpha1.ImageImport{}, builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		WithOptions(controller.Options{MaxConcurrentReconciles: 1, RateLimiter: status.Backoff()})
	if o.Ended != nil {
		c = c.WatchesRawSource(source.Channel(o.Ended, &handler.EnqueueRequestForObject{}))
	}
	return c.Complete(r)
}

// Reconciler has the home's imports be those that are declared.
type Reconciler struct {
	client client.Client
	events record.EventRecorder
	runs   Runs
	folder homefile.Folder
}

// Reconcile implements reconcile.Reconciler.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	var i v1alpha1.ImageImport
	wanted, err := hold.Fetch(ctx, r.client, req.NamespacedName, &i, func() error {
		return r.folder.Remove(v1alpha1.ImageImportKind, i.Name)
	})
	if err != nil || !wanted {
		return status.Next(err, 0)
	}
	before := i.DeepCopy()
	err = r.reconcile(ctx, &i)
	if ctx.Err() != nil {
		return ctrl.Result{}, nil
	}
	if err != nil {
		status.Set(&i.Status.Status, i.Generation, v1alpha1.ConditionReady, metav1.ConditionFalse, hold.Reason(err), status.Message(err))
	}
	if failed := status.Write(ctx, r.client, before, &i); failed != nil {
		return status.Next(failed, 0)
	}
	status.Tell(r.events, &i, &before.Status.Status, &i.Status.Status)
	return status.Next(err, every)
}

func (r *Reconciler) reconcile(ctx context.Context, i *v1alpha1.ImageImport) error {
	text, err := homefile.Text(v1alpha1.ImageImportKind, i.Name, i.Spec)
	if err != nil {
		return err
	}
	if err := check(i, r.folder, text); err != nil {
		return err
	}
	if _, err := r.folder.Put(v1alpha1.ImageImportKind, i.Name, text); err != nil {
		return err
	}
	run, err := r.runs.Last(ctx, i.Name)
	if err != nil {
		return err
	}
	since, err := r.folder.Written(v1alpha1.ImageImportKind, i.Name)
	if err != nil {
		return fault.New(fault.Failed, "read imports", i.Name, err)
	}
	say(i, run, run.Ended.After(since))
	return nil
}

// say puts what the last run came to into the status; current says that it went by this spec.
func say(i *v1alpha1.ImageImport, run Run, current bool) {
	set := func(is metav1.ConditionStatus, reason, message string) {
		status.Set(&i.Status.Status, i.Generation, v1alpha1.ConditionReady, is, reason, message)
	}
	i.Status.Tags = int64(run.Tags)
	if !run.Ended.IsZero() {
		at := metav1.NewTime(run.Ended.Truncate(time.Second))
		i.Status.RanAt = &at
	}
	switch {
	case !current && i.Spec.Schedule == (v1alpha1.ImportSchedule{}):
		set(metav1.ConditionUnknown, status.NotYetRun, fmt.Sprintf("it has no schedule: run `plimsoll registry import %s`", i.Name))
	case !current:
		set(metav1.ConditionUnknown, status.NotYetRun, "a registry that serves runs it when it is due")
	case run.Error != "":
		set(metav1.ConditionFalse, status.RunFailed, run.Error)
	default:
		set(metav1.ConditionTrue, status.Imported, "to "+i.Spec.Destination.Repository)
	}
}
