// Package advisoryfeed takes AdvisoryFeeds and gives the home's: each is fetched when it is due,
// and the images that what is new concerns are matched again.
package advisoryfeed

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/record"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/predicate"

	"plimsoll.dev/plimsoll/api/v1alpha1"
	"plimsoll.dev/plimsoll/internal/controller/hold"
	"plimsoll.dev/plimsoll/internal/controller/looks"
	"plimsoll.dev/plimsoll/internal/controller/status"
)

// Syncer fetches feeds.
type Syncer interface {
	// Sync brings the home's feed of that name up to date, and has what is known of images follow.
	// It is called for one feed at a time.
	Sync(ctx context.Context, name string) (Synced, error)
}

// Synced is what a feed holds.
type Synced struct {
	Records int
	Changed bool // this sync brought something new
}

// Options of the reconciler.
type Options struct {
	// File is the home's feeds.yaml. Required.
	File string
}

// Setup adds the reconciler of AdvisoryFeeds to the manager.
func Setup(mgr ctrl.Manager, s Syncer, o Options) error {
	r := &Reconciler{
		client: mgr.GetClient(), events: mgr.GetEventRecorderFor("advisoryfeed"), syncer: s, file: &file{path: o.File},
	}
	asked := predicate.Or(predicate.GenerationChangedPredicate{}, predicate.AnnotationChangedPredicate{})
	return ctrl.NewControllerManagedBy(mgr).
		For(&v1alpha1.AdvisoryFeed{}, builder.WithPredicates(asked)).
		WithOptions(controller.Options{MaxConcurrentReconciles: 1, RateLimiter: status.Backoff()}).
		Complete(r)
}

// Reconciler has the home's feeds be those that are declared, and as they are now.
type Reconciler struct {
	client client.Client
	events record.EventRecorder
	syncer Syncer
	file   *file
	looks  looks.Book[wish]
}

// wish is what a feed is synced for.
type wish struct {
	uid        types.UID
	generation int64
	asked      string // by annotation
}

// Reconcile implements reconcile.Reconciler.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	var f v1alpha1.AdvisoryFeed
	wanted, err := hold.Fetch(ctx, r.client, req.NamespacedName, &f, func() error { return r.file.remove(f.Name) })
	if err != nil || !wanted {
		r.looks.Forget(req.Name)
		return status.Next(err, 0)
	}
	before, began := f.DeepCopy(), time.Now()
	synced, wait, err := r.reconcile(ctx, &f)
	if ctx.Err() != nil {
		return ctrl.Result{}, nil
	}
	if err != nil {
		refuse(&f, err)
	}
	if failed := status.Write(ctx, r.client, before, &f); failed != nil {
		return status.Next(failed, 0)
	}
	if synced { // what is not written yet is to be found again
		r.looks.Note(f.Name, wishOf(&f), began)
	}
	r.tell(before, &f)
	return status.Next(err, wait)
}

// reconcile brings the file up to date and, when it is due, the feed. It says when to look again.
func (r *Reconciler) reconcile(ctx context.Context, f *v1alpha1.AdvisoryFeed) (isSynced bool, wait time.Duration, err error) {
	interval := looks.Interval(f.Spec.Interval)
	if err := r.file.put(feedOf(f)); err != nil {
		return false, looks.Jitter(interval), err
	}
	if status.Holds(&f.Status.Status, f.Generation, v1alpha1.ConditionReady) {
		if wait := r.looks.Wait(f.Name, wishOf(f), interval); wait > 0 {
			return false, wait, nil
		}
	}
	synced, err := r.syncer.Sync(ctx, f.Name)
	if err != nil {
		return false, looks.Jitter(interval), err
	}
	if synced.Changed || f.Status.SyncedAt == nil {
		now := metav1.Now()
		f.Status.SyncedAt = &now
	}
	f.Status.Records = int64(synced.Records)
	set(f, v1alpha1.ConditionReady, metav1.ConditionTrue, status.Synced, fmt.Sprintf("%d records", synced.Records))
	set(f, v1alpha1.ConditionFresh, metav1.ConditionTrue, status.UpToDate, "the last sync went well")
	return true, looks.Jitter(interval), nil
}

func wishOf(f *v1alpha1.AdvisoryFeed) wish {
	return wish{uid: f.UID, generation: f.Generation, asked: f.Annotations[v1alpha1.AnnotationBuild]}
}

// refuse says what went wrong. What was brought before stays, and Ready with it.
func refuse(f *v1alpha1.AdvisoryFeed, err error) {
	reason := hold.Reason(err)
	if status.Holds(&f.Status.Status, f.Generation, v1alpha1.ConditionReady) {
		set(f, v1alpha1.ConditionFresh, metav1.ConditionFalse, reason, "the records of the last sync stay: "+status.Message(err))
		return
	}
	set(f, v1alpha1.ConditionReady, metav1.ConditionFalse, reason, status.Message(err))
}

func set(f *v1alpha1.AdvisoryFeed, kind string, is metav1.ConditionStatus, reason, message string) {
	status.Set(&f.Status.Status, f.Generation, kind, is, reason, message)
}

// tell makes events of what has changed.
func (r *Reconciler) tell(before, after *v1alpha1.AdvisoryFeed) {
	if !before.Status.SyncedAt.Equal(after.Status.SyncedAt) {
		r.events.Eventf(after, corev1.EventTypeNormal, status.Synced, "it brought something new; it has %d records", after.Status.Records)
	}
	status.Tell(r.events, after, &before.Status.Status, &after.Status.Status)
}
