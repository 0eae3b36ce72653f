// Package builder takes Builders and gives what their tags name: each is made again when its spec,
// the base that it builds on, its lifecycle or one of its buildpacks changes. Of the bases that
// applications run on it says what they are now.
package builder

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/record"
	ctrl "sigs.k8s.io/controller-runtime"
	ctrlbuilder "sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"

	"plimsoll.dev/plimsoll/api/v1alpha1"
	"plimsoll.dev/plimsoll/internal/build/builder"
	"plimsoll.dev/plimsoll/internal/controller/looks"
	"plimsoll.dev/plimsoll/internal/controller/status"
	"plimsoll.dev/plimsoll/internal/controller/tag"
	"plimsoll.dev/plimsoll/internal/fault"
)

// Maker publishes builders.
type Maker interface {
	// Make publishes the builder under the tag with its evidence, or finds that the tag names just
	// that image already.
	Make(ctx context.Context, spec *builder.Spec, tag string) (Result, error)

	// Digest gives what a reference names now, as "sha256:…"; a fault of kind NotFound is that it
	// names nothing.
	Digest(ctx context.Context, ref string) (string, error)
}

// Result is what a tag names.
type Result struct {
	Image      string // the tag, with its registry as others reach it
	Digest     string // "sha256:…"
	Buildpacks []string
}

// Options of the reconciler.
type Options struct {
	// Parts is the folder below which relative paths of specs are; "" takes no paths.
	Parts string

	// Every is how often the registry is asked for what no BaseImage keeps; 0 is 15 minutes.
	Every time.Duration
}

const (
	atOnce = 2   // builders that are made at a time
	atWork = 100 // that are looked at; most of them wait for their turn to be made
)

// Setup adds the reconciler of Builders to the manager. The Setup of a tag.Registry must have been
// called.
func Setup(mgr ctrl.Manager, m Maker, o Options) error {
	r := &Reconciler{
		client: mgr.GetClient(), events: mgr.GetEventRecorderFor("builder"), maker: m, parts: o.Parts,
		every: cmp.Or(o.Every, looks.Interval(nil)), turns: make(status.Turns, atOnce),
	}
	if err := mgr.GetFieldIndexer().IndexField(context.Background(), &v1alpha1.Builder{}, basesIndex, basesOf); err != nil {
		return fmt.Errorf("index bases: %w", err)
	}
	changed := ctrlbuilder.WithPredicates(predicate.GenerationChangedPredicate{})
	rivals := handler.EnqueueRequestsFromMapFunc(tag.Rivals(r.client, v1alpha1.BuilderKind))
	asked := predicate.Or(predicate.GenerationChangedPredicate{}, predicate.AnnotationChangedPredicate{})
	return ctrl.NewControllerManagedBy(mgr).
		For(&v1alpha1.Builder{}, ctrlbuilder.WithPredicates(asked)).
		Watches(&v1alpha1.BaseImage{}, handler.EnqueueRequestsFromMapFunc(r.standsOn)).
		Watches(&v1alpha1.BaseImage{}, rivals, changed).
		Watches(&v1alpha1.Builder{}, rivals, changed).
		Watches(&v1alpha1.Image{}, rivals, changed).
		WithOptions(controller.Options{MaxConcurrentReconciles: atWork, RateLimiter: status.Backoff()}).
		Complete(r)
}

// Reconciler has the tags of Builders name what they declare.
type Reconciler struct {
	client client.Client
	events record.EventRecorder
	maker  Maker
	parts  string
	every  time.Duration
	turns  status.Turns
	looks  looks.Book[wish]
}

// wish is what a builder is made for.
type wish struct {
	uid        types.UID
	generation int64
	asked      string // by annotation
	made       string // what it is made of, by digest
}

// Reconcile implements reconcile.Reconciler.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	var b v1alpha1.Builder
	if err := r.client.Get(ctx, req.NamespacedName, &b); err != nil || !b.DeletionTimestamp.IsZero() {
		r.looks.Forget(req.Name) // what it published stays: Images were built with it
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	before := b.DeepCopy()
	made, err := r.reconcile(ctx, &before, &b)
	if ctx.Err() != nil {
		return ctrl.Result{}, nil // that somebody stopped it says nothing of the builder
	}
	if err != nil {
		refuse(&b, err)
	}
	if failed := status.Write(ctx, r.client, before, &b); failed != nil {
		return status.Next(failed, 0)
	}
	if made != nil { // what is not written yet is to be found again
		r.looks.Note(b.Name, *made, time.Now())
	}
	r.tell(before, &b)
	return status.Next(err, looks.Jitter(r.every))
}

// reconcile brings the status up to date. It gives what the builder was made for, if it was; before is
// what of it is written.
func (r *Reconciler) reconcile(ctx context.Context, before **v1alpha1.Builder, b *v1alpha1.Builder) (*wish, error) {
	spec, err := builder.FromResource(b, r.parts)
	if err != nil {
		return nil, err
	}
	name, by, err := tag.Taken(ctx, r.client, b)
	if err != nil {
		return nil, err
	}
	if by != "" {
		set(b, v1alpha1.ConditionReady, metav1.ConditionFalse, status.TagTaken,
			fmt.Sprintf("%s publishes under the tag %s: give one of them another", by, name))
		return nil, nil
	}
	now, err := r.look(ctx, b)
	if err != nil {
		return nil, err
	}
	holds := status.Holds(&b.Status.Status, b.Generation, v1alpha1.ConditionReady)
	if holds && len(now.missing) > 0 {
		return nil, fault.Newf(fault.NotFound, "look for", now.missing[0], "nobody publishes it any more")
	}
	if message := now.waitsFor(); message != "" {
		set(b, v1alpha1.ConditionReady, metav1.ConditionFalse, status.WaitsFor, message)
		return nil, nil
	}
	b.Status.Run = now.run // whatever becomes of the builder: images are to be moved
	made := &wish{uid: b.UID, generation: b.Generation, asked: b.Annotations[v1alpha1.AnnotationBuild], made: now.made}
	last, known := r.looks.Last(b.Name)
	if !known || last != *made || !holds {
		show := func(kind string, is metav1.ConditionStatus, reason, message string) (err error) {
			*before, err = status.Show(ctx, r.client, r.events, *before, b, &b.Status.Status, kind, is, reason, message)
			return err
		}
		if err := r.begin(ctx, b, known, show); err != nil {
			return nil, err
		}
		defer r.turns.Give()
		result, err := r.maker.Make(ctx, spec, name)
		if err != nil {
			return nil, err
		}
		publish(b, result)
	}
	r.freshen(b, now)
	return made, nil
}

// begin waits for a turn to make the builder, and says what is made or waits. One that is looked at for
// the first time since a restart is no news: it mostly comes out the same.
func (r *Reconciler) begin(ctx context.Context, b *v1alpha1.Builder, known bool, show func(kind string, is metav1.ConditionStatus, reason, message string) error) error {
	s := &b.Status.Status
	first := status.Awaited(s, b.Generation, v1alpha1.ConditionReady)
	err := r.turns.Take(ctx, func() error {
		if !first {
			return nil
		}
		return show(v1alpha1.ConditionReady, metav1.ConditionFalse, status.Queued, fmt.Sprintf("%d builders are made at a time, and others are", atOnce))
	})
	if err != nil {
		return err
	}
	switch {
	case first:
		err = show(v1alpha1.ConditionReady, metav1.ConditionUnknown, status.Building, "the builder is being made from its base, its lifecycle and its buildpacks")
	case known && status.Holds(s, b.Generation, v1alpha1.ConditionFresh):
		err = show(v1alpha1.ConditionFresh, metav1.ConditionUnknown, status.Building, "what it is made of has changed, or somebody asked: the builder is being made anew")
	}
	if err != nil {
		r.turns.Give()
	}
	return err
}

// publish puts a result into the status.
func publish(b *v1alpha1.Builder, result Result) {
	b.Status.Published = &v1alpha1.Published{Image: result.Image, Digest: result.Digest}
	b.Status.Buildpacks = slices.Sorted(slices.Values(result.Buildpacks))
	set(b, v1alpha1.ConditionReady, metav1.ConditionTrue, status.Published, fmt.Sprintf("%s names %s", result.Image, result.Digest))
}

// freshen says who keeps what the builder stands on.
func (r *Reconciler) freshen(b *v1alpha1.Builder, now *found) {
	if now.lookedUp == nil {
		set(b, v1alpha1.ConditionFresh, metav1.ConditionTrue, status.UpToDate, "BaseImages keep all that it stands on")
		return
	}
	set(b, v1alpha1.ConditionFresh, metav1.ConditionTrue, status.LookedUp,
		fmt.Sprintf("no BaseImage keeps %s: the registry is asked every %s", strings.Join(now.lookedUp, ", "), r.every))
}

// refuse says what went wrong. A builder of this very spec goes on to be ready.
func refuse(b *v1alpha1.Builder, err error) {
	if b.Status.Published != nil && status.Holds(&b.Status.Status, b.Generation, v1alpha1.ConditionReady) {
		set(b, v1alpha1.ConditionFresh, metav1.ConditionFalse, status.OfError(err), "the last builder stays: "+status.Message(err))
		return
	}
	set(b, v1alpha1.ConditionReady, metav1.ConditionFalse, status.OfError(err), status.Message(err))
}

func set(b *v1alpha1.Builder, kind string, is metav1.ConditionStatus, reason, message string) {
	status.Set(&b.Status.Status, b.Generation, kind, is, reason, message)
}

// tell makes events of what has changed.
func (r *Reconciler) tell(before, after *v1alpha1.Builder) {
	if p := after.Status.Published; p != nil && (before.Status.Published == nil || before.Status.Published.Digest != p.Digest) {
		r.events.Eventf(after, corev1.EventTypeNormal, status.Published, "%s names %s", p.Image, p.Digest)
	}
	status.Tell(r.events, after, &before.Status.Status, &after.Status.Status)
}
