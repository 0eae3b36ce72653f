// Package imagepolicy takes ImagePolicies and gives the home's policies: each is compiled, and in
// force as soon as it is right.
package imagepolicy

import (
	"context"

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

// Setup adds the reconciler of ImagePolicies to the manager. The folder is the one that
// PolicyExceptions go to.
func Setup(mgr ctrl.Manager, folder *policies.Folder) error {
	r := &Reconciler{client: mgr.GetClient(), events: mgr.GetEventRecorderFor("imagepolicy"), folder: folder}
	return ctrl.NewControllerManagedBy(mgr).
		For(&v1alpha1.ImagePolicy{}, builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		WithOptions(controller.Options{MaxConcurrentReconciles: 1, RateLimiter: status.Backoff()}).
		Complete(r)
}

// Reconciler has the home's policies be those that are declared.
type Reconciler struct {
	client client.Client
	events record.EventRecorder
	folder *policies.Folder
}

// Reconcile implements reconcile.Reconciler.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	var p v1alpha1.ImagePolicy
	wanted, err := hold.Fetch(ctx, r.client, req.NamespacedName, &p, func() error {
		return r.folder.Remove(v1alpha1.ImagePolicyKind, p.Name)
	})
	if err != nil || !wanted {
		return status.Next(err, 0)
	}
	before := p.DeepCopy()
	_, err = r.folder.Put(v1alpha1.ImagePolicyKind, p.Name, p.Spec)
	if err == nil {
		status.Set(&p.Status.Status, p.Generation, v1alpha1.ConditionReady, metav1.ConditionTrue, status.InForce, "it was compiled, and decides")
	} else {
		status.Set(&p.Status.Status, p.Generation, v1alpha1.ConditionReady, metav1.ConditionFalse, hold.Reason(err),
			r.folder.Message(v1alpha1.ImagePolicyKind, p.Name, err))
	}
	if failed := status.Write(ctx, r.client, before, &p); failed != nil {
		return status.Next(failed, 0)
	}
	status.Tell(r.events, &p, &before.Status.Status, &p.Status.Status)
	return policies.Next(err, 0)
}
