package patch

import (
	"context"

	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"plimsoll.dev/plimsoll/api/v1alpha1"
	"plimsoll.dev/plimsoll/internal/update"
)

// watch tells campaigns of what may have made images stale: of what changes, and of all there
// is once, for it may have changed while nobody was here.
func watch(mgr ctrl.Manager, c Campaigns) error {
	return builder.TypedControllerManagedBy[update.Change](mgr).
		Named("patch-changes").
		Watches(&v1alpha1.BaseImage{}, changed(update.BasePublished)).
		Watches(&v1alpha1.Builder{}, changed(update.BuilderChanged)).
		Watches(&v1alpha1.AdvisoryFeed{}, changed(update.FeedSynced)).
		Watches(&v1alpha1.ImagePolicy{}, changed(update.PolicyChanged)).
		Watches(&v1alpha1.DependencyOverride{}, changed(update.OverrideChanged)).
		Complete(reconcile.TypedFunc[update.Change](func(ctx context.Context, change update.Change) (ctrl.Result, error) {
			return ctrl.Result{}, c.Changed(ctx, change)
		}))
}

// changed gives a change of that kind for each resource that means something else than before.
func changed(kind update.ChangeKind) handler.TypedEventHandler[client.Object, update.Change] {
	type queue = workqueue.TypedRateLimitingInterface[update.Change]
	return handler.TypedFuncs[client.Object, update.Change]{
		CreateFunc: func(_ context.Context, e event.CreateEvent, q queue) {
			q.Add(update.Change{Kind: kind, Name: name(e.Object)})
		},
		UpdateFunc: func(_ context.Context, e event.UpdateEvent, q queue) {
			if mark(e.ObjectOld) != mark(e.ObjectNew) {
				q.Add(update.Change{Kind: kind, Name: name(e.ObjectNew)})
			}
		},
	}
}

// meaning is what of a resource decides whether images are stale.
type meaning struct {
	generation int64
	made       string
}

func mark(object client.Object) meaning {
	published := func(p *v1alpha1.Published) string {
		if p == nil {
			return ""
		}
		return p.Digest
	}
	switch o := object.(type) {
	case *v1alpha1.BaseImage:
		return meaning{made: published(o.Status.Published)}
	case *v1alpha1.Builder:
		return meaning{made: published(o.Status.Published)}
	case *v1alpha1.AdvisoryFeed:
		return meaning{made: synced(o)}
	}
	return meaning{generation: object.GetGeneration()}
}

// name gives what a base or builder is known by to images, else the resource's name.
func name(object client.Object) string {
	switch o := object.(type) {
	case *v1alpha1.BaseImage:
		if o.Status.Published != nil {
			return o.Status.Published.Image
		}
	case *v1alpha1.Builder:
		if o.Status.Published != nil {
			return o.Status.Published.Image
		}
	}
	return object.GetName()
}

// synced gives when a feed last brought something new.
func synced(feed *v1alpha1.AdvisoryFeed) string {
	if feed.Status.SyncedAt == nil {
		return ""
	}
	return feed.Status.SyncedAt.UTC().String()
}
