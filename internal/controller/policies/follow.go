package policies

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"

	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"plimsoll.dev/plimsoll/api/v1alpha1"
	"plimsoll.dev/plimsoll/internal/controller/status"
	"plimsoll.dev/plimsoll/internal/fault"
)

// Follow has the folder say what the cluster's ImagePolicies and PolicyExceptions say, for a process
// that only reads them, such as a registry that is served elsewhere than the controllers run: what is
// wrong with one stands in its status, which those write.
func Follow(mgr ctrl.Manager, folder *Folder, log *slog.Logger) error {
	for _, object := range []client.Object{&v1alpha1.ImagePolicy{}, &v1alpha1.PolicyException{}} {
		f := &follower{client: mgr.GetClient(), folder: folder, object: object, log: log}
		if err := ctrl.NewControllerManagedBy(mgr).For(object, builder.WithPredicates(predicate.GenerationChangedPredicate{})).
			WithOptions(controller.Options{MaxConcurrentReconciles: 1, RateLimiter: status.Backoff()}).Complete(f); err != nil {
			return err
		}
	}
	return nil
}

// Fill has the folder say what the cluster says now, and nothing that it once did. It is for the time
// before anything is decided by the folder. The error is a *fault.Error.
func (f *Folder) Fill(ctx context.Context, cluster client.Reader, log *slog.Logger) error {
	var policies v1alpha1.ImagePolicyList
	var exceptions v1alpha1.PolicyExceptionList
	if err := errors.Join(cluster.List(ctx, &policies), cluster.List(ctx, &exceptions)); err != nil {
		return fault.New(fault.Unavailable, "read policies", "the cluster", err)
	}
	var all []client.Object
	for i := range policies.Items {
		all = append(all, &policies.Items[i])
	}
	for i := range exceptions.Items {
		all = append(all, &exceptions.Items[i])
	}
	declared := map[string]bool{}
	for _, object := range all {
		kind, _ := said(object)
		declared[f.home.Path(kind, object.GetName())] = object.GetDeletionTimestamp().IsZero()
	}
	if err := f.keep(declared); err != nil {
		return err
	}
	for _, object := range all {
		if !object.GetDeletionTimestamp().IsZero() {
			continue
		}
		kind, spec := said(object)
		if _, err := f.Put(kind, object.GetName(), spec); err != nil {
			log.Warn("not in force", "kind", kind, "name", object.GetName(), "error", err)
		}
	}
	return nil
}

// keep removes the files that are the cluster's and not among those at the paths.
func (f *Folder) keep(paths map[string]bool) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	there, err := f.home.Resources()
	if err != nil {
		return err
	}
	for _, r := range there {
		if paths[f.home.Path(r.Kind, r.Name)] {
			continue
		}
		if err := f.home.Remove(r.Kind, r.Name); err != nil {
			return err
		}
	}
	return nil
}

// said gives what a resource is called in the folder, and what it says.
func said(object client.Object) (kind string, spec any) {
	if p, ok := object.(*v1alpha1.ImagePolicy); ok {
		return v1alpha1.ImagePolicyKind, p.Spec
	}
	return v1alpha1.PolicyExceptionKind, object.(*v1alpha1.PolicyException).Spec
}

// follower puts one kind into the folder.
type follower struct {
	client client.Reader
	folder *Folder
	object client.Object // an empty one
	log    *slog.Logger
}

// Reconcile implements reconcile.Reconciler.
func (f *follower) Reconcile(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	object := f.object.DeepCopyObject().(client.Object)
	err := f.client.Get(ctx, req.NamespacedName, object)
	if client.IgnoreNotFound(err) != nil {
		return reconcile.Result{}, err
	}
	kind, spec := said(object)
	if err != nil || !object.GetDeletionTimestamp().IsZero() {
		return Next(f.folder.Remove(kind, req.Name), 0)
	}
	changed, err := f.folder.Put(kind, req.Name, spec)
	if err != nil {
		f.log.Warn("not in force", "kind", kind, "name", req.Name, "error", err)
	}
	if changed {
		f.log.Info("in force", "kind", kind, "name", req.Name, "file", filepath.Base(f.folder.home.Path(kind, req.Name)))
	}
	return Next(err, 0)
}
