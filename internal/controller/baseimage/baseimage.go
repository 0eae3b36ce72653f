// Package baseimage takes BaseImages and gives what their tags name: each is built when its spec
// changes, when its archive has changed, and at its interval.
package baseimage

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/record"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"plimsoll.dev/plimsoll/api/v1alpha1"
	"plimsoll.dev/plimsoll/internal/base/spec"
	"plimsoll.dev/plimsoll/internal/controller/archives"
	"plimsoll.dev/plimsoll/internal/controller/looks"
	"plimsoll.dev/plimsoll/internal/controller/status"
	"plimsoll.dev/plimsoll/internal/controller/tag"
	"plimsoll.dev/plimsoll/internal/debian/archive"
)

// Builder publishes bases.
type Builder interface {
	// Build publishes the base under the tag with its evidence, or finds that the tag names
	// just that image already. The image is checked, has its defaults, and its paths are absolute.
	Build(ctx context.Context, image *v1alpha1.BaseImage, tag string) (Result, error)

	// Signed gives the suites that the base is made from, with the mirrors that serve them, and
	// the keys that they may be signed with.
	Signed(from v1alpha1.Archive) ([]archive.Suite, *archive.Keyring, error)
}

// Result is what a tag names.
type Result struct {
	Image    string // the tag, with its registry as others reach it
	Digest   string // "sha256:…"
	Packages int    // of the first architecture

	// Changes are the packages that differ from the image that status.published names, as
	// "openssl 3.5.1-1 → 3.5.1-1+deb13u1"; none where there was no such image.
	Changes []string
}

// Options of the reconciler.
type Options struct {
	// Parts is the folder below which relative paths of specs are; "" takes no paths.
	Parts string

	// Archives tells of archives that have changed. Setup adds it to the manager; nil leaves it
	// to the interval.
	Archives *archives.Watch
}

const (
	atOnce      = 2   // bases that are built at a time
	atWork      = 100 // that are looked at; most of them wait for their turn to be built
	maxPrevious = 10  // digests that a status keeps
	maxChanges  = 500
)

// Setup adds the reconciler of BaseImages to the manager. The Setup of a tag.Registry must have been
// called.
func Setup(mgr ctrl.Manager, b Builder, o Options) error {
	r := &Reconciler{
		client: mgr.GetClient(), events: mgr.GetEventRecorderFor("baseimage"), builder: b, o: o,
		turns: make(status.Turns, atOnce),
	}
	asked := predicate.Or(predicate.GenerationChangedPredicate{}, predicate.AnnotationChangedPredicate{})
	changed := builder.WithPredicates(predicate.GenerationChangedPredicate{})
	rivals := handler.EnqueueRequestsFromMapFunc(tag.Rivals(r.client, v1alpha1.BaseImageKind))
	c := ctrl.NewControllerManagedBy(mgr).
		For(&v1alpha1.BaseImage{}, builder.WithPredicates(asked)).
		Watches(&v1alpha1.BaseImage{}, rivals, changed).
		Watches(&v1alpha1.Builder{}, rivals, changed).
		Watches(&v1alpha1.Image{}, rivals, changed).
		WithOptions(controller.Options{MaxConcurrentReconciles: atWork, RateLimiter: status.Backoff()})
	if o.Archives != nil {
		if err := mgr.Add(o.Archives); err != nil {
			return err
		}
		c = c.WatchesRawSource(source.Channel(o.Archives.Changed(), &handler.EnqueueRequestForObject{}))
	}
	return c.Complete(r)
}

// Reconciler has the tags of BaseImages name what they declare.
type Reconciler struct {
	client  client.Client
	events  record.EventRecorder
	builder Builder
	o       Options

	turns status.Turns
	looks looks.Book[wish]
}

// wish is what a base is built for.
type wish struct {
	uid        types.UID
	generation int64
	asked      string // by annotation
	archive    string // as archives.Watch told of it
}

// Reconcile implements reconcile.Reconciler.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	var image v1alpha1.BaseImage
	if err := r.client.Get(ctx, req.NamespacedName, &image); err != nil || !image.DeletionTimestamp.IsZero() {
		r.forget(req.Name) // what it published stays: images stand on it
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	before := image.DeepCopy()
	began := time.Now()
	built, wait, err := r.reconcile(ctx, &before, &image)
	if ctx.Err() != nil {
		return ctrl.Result{}, nil // that somebody stopped it says nothing of the base
	}
	if err != nil {
		refuse(&image, err)
	}
	if failed := status.Write(ctx, r.client, before, &image); failed != nil {
		return status.Next(failed, 0)
	}
	if built != nil { // what is not written yet is to be found again
		r.looks.Note(image.Name, *built, began)
	}
	r.tell(before, &image)
	return status.Next(err, wait)
}

// reconcile brings the status up to date. It gives what a build was for, if there was one, and
// when to look again; before is what of it is written.
func (r *Reconciler) reconcile(ctx context.Context, before **v1alpha1.BaseImage, image *v1alpha1.BaseImage) (*wish, time.Duration, error) {
	name, checked, err := r.check(ctx, image)
	if err != nil || checked == nil {
		return nil, 0, err // only a change can help, which is an event
	}
	now, interval := r.now(ctx, checked), looks.Interval(image.Spec.Update.Interval)
	if wait := r.wait(image, now, interval); wait > 0 {
		return nil, wait, nil
	}
	show := func(kind string, is metav1.ConditionStatus, reason, message string) (err error) {
		*before, err = status.Show(ctx, r.client, r.events, *before, image, &image.Status.Status, kind, is, reason, message)
		return err
	}
	if err := r.begin(ctx, image, now, show); err != nil {
		return nil, 0, err
	}
	defer r.turns.Give()
	result, err := r.builder.Build(ctx, checked, name)
	if err != nil {
		return nil, looks.Jitter(interval), err
	}
	publish(image, result)
	return &now, looks.Jitter(interval), nil
}

// begin waits for a turn to build, and says what is built or waits. A look at an archive of which
// nobody knows whether it has changed is no news.
func (r *Reconciler) begin(ctx context.Context, image *v1alpha1.BaseImage, now wish, show func(kind string, is metav1.ConditionStatus, reason, message string) error) error {
	s := &image.Status.Status
	first := status.Awaited(s, image.Generation, v1alpha1.ConditionReady)
	err := r.turns.Take(ctx, func() error {
		if !first {
			return nil
		}
		return show(v1alpha1.ConditionReady, metav1.ConditionFalse, status.Queued, fmt.Sprintf("%d bases are built at a time, and others are", atOnce))
	})
	if err != nil {
		return err
	}
	last, known := r.looks.Last(image.Name)
	switch {
	case first:
		err = show(v1alpha1.ConditionReady, metav1.ConditionUnknown, status.Building, "the image is being put together from its packages")
	case known && last != now && status.Holds(s, image.Generation, v1alpha1.ConditionFresh):
		err = show(v1alpha1.ConditionFresh, metav1.ConditionUnknown, status.Building, "the archive has changed, or somebody asked: the image is being put together anew")
	}
	if err != nil {
		r.turns.Give()
	}
	return err
}

// check gives the tag and the checked image, or no image where another publishes under the tag.
func (r *Reconciler) check(ctx context.Context, image *v1alpha1.BaseImage) (string, *v1alpha1.BaseImage, error) {
	checked, err := spec.FromResource(image, r.o.Parts)
	if err != nil {
		return "", nil, err
	}
	name, by, err := tag.Taken(ctx, r.client, image)
	if err != nil {
		return "", nil, err
	}
	if by != "" {
		status.Set(&image.Status.Status, image.Generation, v1alpha1.ConditionReady, metav1.ConditionFalse, status.TagTaken,
			fmt.Sprintf("%s publishes under the tag %s: give one of them another", by, name))
		return name, nil, nil
	}
	return name, checked, nil
}

// now gives what a build at this time would be for.
func (r *Reconciler) now(ctx context.Context, image *v1alpha1.BaseImage) wish {
	now := wish{uid: image.UID, generation: image.Generation, asked: image.Annotations[v1alpha1.AnnotationBuild]}
	if r.o.Archives == nil || image.Spec.Update.Suspend {
		r.unfollow(image.Name)
		return now
	}
	suites, keyring, err := r.builder.Signed(image.Spec.Archive)
	if err != nil {
		return now // the build fails with it, and tells
	}
	signers := sha256.Sum256([]byte(image.Spec.Archive.Keyring + "\n" + image.Spec.Archive.Keys))
	now.archive = r.o.Archives.Follow(ctx, image.Name, suites, keyring, hex.EncodeToString(signers[:]))
	return now
}

// wait gives how long there is no reason to build.
func (r *Reconciler) wait(image *v1alpha1.BaseImage, now wish, interval time.Duration) time.Duration {
	last, known := r.looks.Last(image.Name)
	switch {
	case !status.Holds(&image.Status.Status, image.Generation, v1alpha1.ConditionReady):
		return 0
	case image.Spec.Update.Suspend && (!known || last.asked == now.asked):
		return looks.Never
	}
	return r.looks.Wait(image.Name, now, interval)
}

// publish puts a result into the status.
func publish(image *v1alpha1.BaseImage, result Result) {
	s := &image.Status
	if old := s.Published; old == nil || old.Digest != result.Digest {
		if old != nil && old.Digest != "" {
			s.Previous = append([]string{old.Digest}, slices.DeleteFunc(s.Previous, func(d string) bool { return d == old.Digest })...)
			s.Previous = s.Previous[:min(len(s.Previous), maxPrevious)]
		}
		s.Changes = result.Changes[:min(len(result.Changes), maxChanges)]
	}
	s.Published = &v1alpha1.Published{Image: result.Image, Digest: result.Digest}
	s.Packages = int64(result.Packages)
	status.Set(&s.Status, image.Generation, v1alpha1.ConditionReady, metav1.ConditionTrue, status.Published,
		fmt.Sprintf("%s names %s", result.Image, result.Digest))
	if image.Spec.Update.Suspend {
		status.Set(&s.Status, image.Generation, v1alpha1.ConditionFresh, metav1.ConditionUnknown, status.Suspended, "spec.update.suspend is true: nobody looks for newer packages")
		return
	}
	status.Set(&s.Status, image.Generation, v1alpha1.ConditionFresh, metav1.ConditionTrue, status.UpToDate, "all packages are the newest that the archive has")
}

// refuse says what went wrong. An image of this very spec goes on to be ready.
func refuse(image *v1alpha1.BaseImage, err error) {
	s := &image.Status
	reason, message := status.OfError(err), status.Message(err)
	if s.Published != nil && status.Holds(&s.Status, image.Generation, v1alpha1.ConditionReady) {
		status.Set(&s.Status, image.Generation, v1alpha1.ConditionFresh, metav1.ConditionFalse, reason, "the last image stays: "+message)
		return
	}
	status.Set(&s.Status, image.Generation, v1alpha1.ConditionReady, metav1.ConditionFalse, reason, message)
}

// tell makes events of what has changed.
func (r *Reconciler) tell(before, after *v1alpha1.BaseImage) {
	if p := after.Status.Published; p != nil && (before.Status.Published == nil || before.Status.Published.Digest != p.Digest) {
		r.events.Eventf(after, corev1.EventTypeNormal, status.Published, "%s names %s; packages that differ: %d", p.Image, p.Digest, len(after.Status.Changes))
	}
	status.Tell(r.events, after, &before.Status.Status, &after.Status.Status)
}

func (r *Reconciler) forget(name string) {
	r.looks.Forget(name)
	r.unfollow(name)
}

func (r *Reconciler) unfollow(name string) {
	if r.o.Archives != nil {
		r.o.Archives.Forget(name)
	}
}
