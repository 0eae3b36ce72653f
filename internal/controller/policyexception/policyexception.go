// Package policyexception takes PolicyExceptions and gives the home's: each is compiled, in force
// as soon as it is right, and over at its time.
package policyexception

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
	"sigs.k8s.io/controller-runtime/pkg/predicate"

	"plimsoll.dev/plimsoll/api/v1alpha1"
	"plimsoll.dev/plimsoll/internal/controller/hold"
	"plimsoll.dev/plimsoll/internal/controller/policies"
	"plimsoll.dev/plimsoll/internal/controller/status"
)

// Setup adds the reconciler of PolicyExceptions to the manager. The folder is the one that
// ImagePolicies go to.
func Setup(mgr ctrl.Manager, folder *policies.Folder) error {
	r := &Reconciler{client: mgr.GetClient(), events: mgr.GetEventRecorderFor("policyexception"), folder: folder}
	return ctrl.NewControllerManagedBy(mgr).
		For(&v1alpha1.PolicyException{}, builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		WithOptions(controller.Options{MaxConcurrentReconciles: 1, RateLimiter: status.Backoff()}).
		Complete(r)
}

// Reconciler has the home's exceptions be those that are declared.
type Reconciler struct {
	client client.Client
	events record.EventRecorder
	folder *policies.Folder
}

// Reconcile implements reconcile.Reconciler.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	var e v1alpha1.PolicyException
	wanted, err := hold.Fetch(ctx, r.client, req.NamespacedName, &e, func() error {
		return r.folder.Remove(v1alpha1.PolicyExceptionKind, e.Name)
	})
	if err != nil || !wanted {
		return status.Next(err, 0)
	}
	before := e.DeepCopy()
	_, err = r.folder.Put(v1alpha1.PolicyExceptionKind, e.Name, e.Spec)
	left := time.Until(e.Spec.Expires.Time)
	r.say(&e, left, err)
	if failed := status.Write(ctx, r.client, before, &e); failed != nil {
		return status.Next(failed, 0)
	}
	status.Tell(r.events, &e, &before.Status.Status, &e.Status.Status)
	return policies.Next(err, min(max(0, left), day))
}

// day bounds how long one sleeps: clocks are set.
const day = 24 * time.Hour

// say puts into the status whether an exception is in force: this one, or where it was refused the
// version before it.
func (r *Reconciler) say(e *v1alpha1.PolicyException, left time.Duration, err error) {
	set := func(is metav1.ConditionStatus, reason, message string) {
		status.Set(&e.Status.Status, e.Generation, v1alpha1.ConditionReady, is, reason, message)
	}
	e.Status.Active = left > 0
	until := e.Spec.Expires.UTC().Format(time.RFC3339)
	switch {
	case err != nil:
		e.Status.Active = false
		if kept := r.folder.Kept(v1alpha1.PolicyExceptionKind, e.Name); kept != nil {
			e.Status.Active = time.Now().Before(kept.Exceptions[0].Spec.Expires.Time)
		}
		set(metav1.ConditionFalse, hold.Reason(err), r.folder.Message(v1alpha1.PolicyExceptionKind, e.Name, err))
	case left <= 0:
		set(metav1.ConditionFalse, status.Expired, fmt.Sprintf("it ended at %s: remove it, or decide anew", until))
	default:
		set(metav1.ConditionTrue, status.InForce, "until "+until)
	}
}
