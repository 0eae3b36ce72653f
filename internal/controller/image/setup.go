package image

import (
	"context"
	"sync"

	"golang.org/x/time/rate"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"plimsoll.dev/plimsoll/api/v1alpha1"
	"plimsoll.dev/plimsoll/internal/controller/poll"
	"plimsoll.dev/plimsoll/internal/controller/status"
	"plimsoll.dev/plimsoll/internal/fault"
)

// The fields by which the watch cache finds things.
const (
	indexImage     = "spec.image.name"        // of Builds
	indexBuilder   = "spec.builder.name"      // of Images
	indexPublished = "status.published.image" // of BaseImages
)

// Setup adds the reconciler of Images, and the poller of their sources, to the manager. The Setup of
// o.Registry must have been called. Whoever does the rebases tells Wake of an Image when one of its has
// ended.
func Setup(mgr ctrl.Manager, sources poll.Sources, rebases Rebases, o Options) (*Images, error) {
	if err := index(mgr.GetFieldIndexer()); err != nil {
		return nil, fault.New(fault.Failed, "index Images", "", err)
	}
	wake := &wakeup{}
	r := &Reconciler{client: mgr.GetClient(), events: mgr.GetEventRecorderFor("image"), options: o, rebases: rebases, hearing: &hearing{}, pace: rate.NewLimiter(toldEach, toldOnce)}
	r.poller = poll.New(sources, wake.add, o.Poll)
	if err := mgr.Add(r.poller); err != nil {
		return nil, fault.New(fault.Failed, "add the poller of sources", "", err)
	}
	rivalsOf := o.Registry.Rivals(r.client, v1alpha1.ImageKind)
	rivals := handler.EnqueueRequestsFromMapFunc(rivalsOf)
	err := ctrl.NewControllerManagedBy(mgr).Named("image").
		WithOptions(controller.Options{RateLimiter: status.Backoff()}).
		For(&v1alpha1.Image{}, builder.WithPredicates(predicate.Or(predicate.GenerationChangedPredicate{}, predicate.AnnotationChangedPredicate{}, predicate.LabelChangedPredicate{}))).
		Watches(&v1alpha1.Image{}, rivals, builder.WithPredicates(freed())).
		Watches(&v1alpha1.BaseImage{}, rivals, builder.WithPredicates(freed())).
		Watches(&v1alpha1.Builder{}, rivals, builder.WithPredicates(freed())).
		Watches(&corev1.Namespace{}, handler.EnqueueRequestsFromMapFunc(r.within(rivalsOf)), builder.OnlyMetadata, builder.WithPredicates(predicate.AnnotationChangedPredicate{})).
		Watches(&v1alpha1.Build{}, handler.EnqueueRequestsFromMapFunc(imageOf), builder.WithPredicates(phases())).
		Watches(&v1alpha1.Builder{}, handler.EnqueueRequestsFromMapFunc(r.builtBy)).
		Watches(&v1alpha1.DependencyOverride{}, handler.EnqueueRequestsFromMapFunc(r.all), builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		WatchesRawSource(wake).
		Complete(r)
	if err != nil {
		return nil, fault.New(fault.Failed, "set up the controller of Images", "", err)
	}
	return &Images{poller: r.poller, wake: wake, hearing: r.hearing, all: func(ctx context.Context) []ctrl.Request { return r.images(ctx) }}, nil
}

// index has the cache find what the reconciler looks up.
func index(cache client.FieldIndexer) error {
	for _, i := range []struct {
		kind  client.Object
		field string
		value func(client.Object) string
	}{
		{&v1alpha1.Build{}, indexImage, func(o client.Object) string { return o.(*v1alpha1.Build).Spec.Image.Name }},
		{&v1alpha1.Image{}, indexBuilder, func(o client.Object) string { return o.(*v1alpha1.Image).Spec.Builder.Name }},
		{&v1alpha1.BaseImage{}, indexPublished, func(o client.Object) string {
			if p := o.(*v1alpha1.BaseImage).Status.Published; p != nil {
				return p.Image
			}
			return ""
		}},
	} {
		err := cache.IndexField(context.Background(), i.kind, i.field, func(o client.Object) []string { return []string{i.value(o)} })
		if err != nil {
			return err
		}
	}
	return nil
}

// imageOf gives the Image that a Build is of.
func imageOf(_ context.Context, o client.Object) []reconcile.Request {
	return []reconcile.Request{{NamespacedName: types.NamespacedName{Namespace: o.GetNamespace(), Name: o.(*v1alpha1.Build).Spec.Image.Name}}}
}

// within gives the Images of a Namespace, whose rights are others now, and their rivals.
func (r *Reconciler) within(rivals handler.MapFunc) handler.MapFunc {
	return func(ctx context.Context, o client.Object) []reconcile.Request {
		var list v1alpha1.ImageList
		if err := r.client.List(ctx, &list, client.InNamespace(o.GetName()), client.UnsafeDisableDeepCopy); err != nil {
			return nil // the cache is ending
		}
		var out []reconcile.Request
		for i := range list.Items {
			out = append(out, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&list.Items[i])})
			out = append(out, rivals(ctx, &list.Items[i])...)
		}
		return out
	}
}

// builtBy gives the Images of a Builder.
func (r *Reconciler) builtBy(ctx context.Context, o client.Object) []reconcile.Request {
	return r.images(ctx, client.MatchingFields{indexBuilder: o.GetName()})
}

// all gives all Images: an override may bear on any.
func (r *Reconciler) all(ctx context.Context, _ client.Object) []reconcile.Request {
	return r.images(ctx)
}

func (r *Reconciler) images(ctx context.Context, which ...client.ListOption) []reconcile.Request {
	var list v1alpha1.ImageList
	if err := r.client.List(ctx, &list, append(which, client.UnsafeDisableDeepCopy)...); err != nil {
		return nil // the cache is ending
	}
	out := make([]reconcile.Request, len(list.Items))
	for i := range list.Items {
		out[i].NamespacedName = client.ObjectKeyFromObject(&list.Items[i])
	}
	return out
}

// phases lets through what bears on an Image: a Build that is made, that gets another phase, that
// goes.
func phases() predicate.Predicate {
	return predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
		was, is := e.ObjectOld.(*v1alpha1.Build), e.ObjectNew.(*v1alpha1.Build)
		return was.Status.Phase != is.Status.Phase || was.DeletionTimestamp.IsZero() != is.DeletionTimestamp.IsZero()
	}}
}

// freed lets through what may leave a tag to others.
func freed() predicate.Predicate {
	return predicate.And(predicate.GenerationChangedPredicate{}, predicate.Funcs{CreateFunc: func(event.CreateEvent) bool { return false }})
}

// wakeup is a source of requests that come from within the process.
type wakeup struct {
	mu    sync.Mutex
	queue workqueue.TypedRateLimitingInterface[reconcile.Request]
}

// Start hears where requests go; what came before is in the list that the controller begins with.
func (w *wakeup) Start(_ context.Context, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.queue = queue
	return nil
}

func (w *wakeup) add(image types.NamespacedName) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.queue != nil {
		w.queue.Add(reconcile.Request{NamespacedName: image})
	}
}

func (w *wakeup) waiting() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.queue == nil {
		return 0
	}
	return w.queue.Len()
}
