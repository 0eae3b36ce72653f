// Package build takes Builds that wait and gives them to a worker: the most urgent first, rebases
// as fleets, again when something outside was away, and anew when the process that ran them ended.
package build

import (
	"cmp"
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/record"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"plimsoll.dev/plimsoll/api/v1alpha1"
	"plimsoll.dev/plimsoll/internal/controller/image"
	"plimsoll.dev/plimsoll/internal/controller/logs"
	"plimsoll.dev/plimsoll/internal/controller/queue"
	"plimsoll.dev/plimsoll/internal/controller/status"
	"plimsoll.dev/plimsoll/internal/fault"
)

// AnnotationCancel on a Build ends it, waiting or running, whatever its value.
const AnnotationCancel = "plimsoll.dev/cancel"

// Options bound what runs at a time.
type Options struct {
	// Limits of Builds from source. Total 0 is 2.
	Limits queue.Limits

	// FleetSize is how many rebases are done together; 0 is 500. There are two fleets at a time,
	// so that one is written down while the next is under way.
	FleetSize int

	// Timeout of a Build whose Image names none; 0 is an hour.
	Timeout time.Duration

	// Ended hears of each Build that has ended, with its status, and how long its last attempt took. nil
	// hears nothing.
	Ended func(b *v1alpha1.Build, took time.Duration)

	// Retry is how long what failed because something was away waits before it is tried again:
	// twice as long each time, at most half an hour. 0 is 15 seconds.
	Retry time.Duration
}

// Setup adds what runs Builds to the manager, and gives where Images ask for rebases. wake hears of the
// Image of one that has ended. The Setup of package image must have been called before the manager starts.
func Setup(mgr ctrl.Manager, worker Worker, store *logs.Store, wake func(image types.NamespacedName), o Options) (*Rebases, error) {
	o.Limits.Total = cmp.Or(o.Limits.Total, 2)
	o.FleetSize = cmp.Or(o.FleetSize, 500)
	o.Timeout = cmp.Or(o.Timeout, time.Hour)
	o.Retry = cmp.Or(o.Retry, 15*time.Second)
	if o.Ended == nil {
		o.Ended = func(*v1alpha1.Build, time.Duration) {}
	}
	r := newRunner(mgr, worker, store, wake, o)
	if err := mgr.Add(r); err != nil {
		return nil, fault.New(fault.Failed, "add the runner of Builds", "", err)
	}
	if err := ctrl.NewControllerManagedBy(mgr).Named("build").For(&v1alpha1.Build{}).Complete(r); err != nil {
		return nil, fault.New(fault.Failed, "set up the controller of Builds", "", err)
	}
	return &Rebases{r}, nil
}

// Reconcile tells the runner how a Build stands.
func (r *runner) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	var b v1alpha1.Build
	err := r.client.Get(ctx, request.NamespacedName, &b)
	switch {
	case apierrors.IsNotFound(err):
		if of := r.drop(request.NamespacedName); of.Name != "" {
			r.wake(of)
		}
		return ctrl.Result{}, r.logs.Remove(request.Namespace, request.Name)
	case err != nil:
		return ctrl.Result{}, err
	case !b.DeletionTimestamp.IsZero():
		r.drop(request.NamespacedName)
	case b.Status.Phase.Ended():
		r.settled(&b)
	case b.Annotations[AnnotationCancel] != "":
		return ctrl.Result{}, r.cancel(ctx, &b)
	default:
		return ctrl.Result{}, r.enqueue(ctx, &b)
	}
	return ctrl.Result{}, nil
}

// enqueue lines the Build up, unless it is known already. That it waits is written of a Build from
// source only: a rebase is over before anybody has read that.
func (r *runner) enqueue(ctx context.Context, b *v1alpha1.Build) error {
	if len(b.Status.Conditions) == 0 && b.Spec.Method == v1alpha1.MethodBuild && !r.knows(b) {
		err := r.write(ctx, b, func(s *v1alpha1.BuildStatus) {
			s.Phase, s.Message = v1alpha1.BuildQueued, waits
			status.Set(&s.Status, b.Generation, v1alpha1.ConditionSucceeded, metav1.ConditionUnknown, string(s.Phase), s.Message)
		})
		if err != nil {
			return client.IgnoreNotFound(err)
		}
		r.events.Eventf(b, corev1.EventTypeNormal, string(v1alpha1.BuildQueued), "%s; priority %s", image.Reasons(b), b.Spec.Priority)
	}
	r.add(newEntry(b))
	return nil
}

// waits is the message of a Build that does.
const waits = "it waits for its turn"

// cancel ends a Build because somebody asked.
func (r *runner) cancel(ctx context.Context, b *v1alpha1.Build) error {
	if r.interrupt(client.ObjectKeyFromObject(b), errCanceled) {
		return nil // who runs it writes it down
	}
	return r.write(ctx, b, func(s *v1alpha1.BuildStatus) { ended(s, b.Generation, Outcome{}, errCanceled) })
}

var errCanceled = fault.Newf(fault.Canceled, "build", "", fmt.Sprintf("somebody set the annotation %s", AnnotationCancel))

// runner runs Builds. All of its state can be read again in the cluster, or is asked for again by Images:
// another process that starts from nothing comes to the same.
type runner struct {
	client  client.Client
	api     client.Reader // has no cache
	events  record.EventRecorder
	worker  Worker
	logs    *logs.Store
	wake    func(image types.NamespacedName)
	options Options
	ending  <-chan struct{} // closed when this process does

	moved moved
	line
}

func newRunner(mgr ctrl.Manager, worker Worker, store *logs.Store, wake func(types.NamespacedName), o Options) *runner {
	return &runner{
		client: mgr.GetClient(), api: mgr.GetAPIReader(), events: mgr.GetEventRecorderFor("build"),
		worker: worker, logs: store, wake: wake, options: o,
		line: line{
			waiting: map[types.NamespacedName]*entry{}, running: map[types.NamespacedName]*entry{},
			over: map[types.NamespacedName]types.UID{}, planned: map[types.NamespacedName][]*entry{}, kicked: make(chan struct{}, 1),
		},
	}
}

// imageOf reads the Image of a Build; nil when it is not there any more, or is another one.
func (r *runner) imageOf(ctx context.Context, b *v1alpha1.Build) (*v1alpha1.Image, error) {
	var i v1alpha1.Image
	err := r.client.Get(ctx, types.NamespacedName{Namespace: b.Namespace, Name: b.Spec.Image.Name}, &i)
	switch {
	case apierrors.IsNotFound(err):
		return nil, nil
	case err != nil:
		return nil, err
	case !image.Owns(&i, b) || !i.DeletionTimestamp.IsZero():
		return nil, nil
	}
	return &i, nil
}
