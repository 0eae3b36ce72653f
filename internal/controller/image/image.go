// Package image takes Images and gives the Builds that they need: whenever what an Image would be
// made from now is not what it was made from, there is one Build that says why.
package image

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/time/rate"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/record"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"plimsoll.dev/plimsoll/api/v1alpha1"
	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/controller/poll"
	"plimsoll.dev/plimsoll/internal/controller/status"
	"plimsoll.dev/plimsoll/internal/controller/tag"
)

// Options say what only others know. The zero value knows no overrides, holds nothing back, and
// leaves verdicts as they are.
type Options struct {
	// Overrides gives those of all that hold for an Image. was is the digest of those that it was
	// made by: where others hold now, they are Idle if that is known.
	Overrides func(ctx context.Context, image *v1alpha1.Image, was string, all []v1alpha1.DependencyOverride) (Held, error)

	// Hold says why the Image may not be built for these reasons now: a campaign will see to it,
	// say. "" is go ahead. Whoever lets go tells Wake.
	Hold func(image *v1alpha1.Image, reasons []v1alpha1.BuildReason) string

	// Verdict gives the verdict on an image that is published; nil is that nobody judges. While it is
	// not known, the last one on that image stays. Whoever finds it tells Wake.
	Verdict func(tag, digest string) (verdict *v1alpha1.VerdictStatus, known bool)

	// WebhookToken says whether the secret of that name has what webhooks are signed with, by asking the
	// API itself: an error of kind NotFound or Denied says why not. nil says nothing of webhooks.
	WebhookToken func(ctx context.Context, namespace, name string) error

	// Registry is the control plane's own, where tags without a registry are.
	Registry tag.Registry

	// Files lets sources be folders of this machine (file://): whoever may write an Image then reads
	// what this process may.
	Files bool

	Poll poll.Options
}

// Images is the way to tell the reconciler what it cannot see.
type Images struct {
	poller  *poll.Poller
	wake    *wakeup
	hearing *hearing
	all     func(context.Context) []ctrl.Request
}

// Ask has the source of the Image asked at once. It is false where nothing is to be asked.
func (i *Images) Ask(image types.NamespacedName) bool { return i.poller.Ask(image) }

// Doubt has the secret of the Image's webhooks looked at again.
func (i *Images) Doubt(image types.NamespacedName) {
	i.hearing.note(image)
	i.wake.add(image)
}

// Wake has the Image looked at again: what the Options' functions say of it is another now.
func (i *Images) Wake(image types.NamespacedName) { i.wake.add(image) }

// WakeAll has every Image looked at again.
func (i *Images) WakeAll(ctx context.Context) {
	for _, request := range i.all(ctx) {
		i.wake.add(request.NamespacedName)
	}
}

// Waiting gives how many Images wait to be looked at.
func (i *Images) Waiting() int { return i.wake.waiting() }

// Reconciler keeps Images. Its only state is the poller's, and what it has just written.
type Reconciler struct {
	client  client.Client
	events  record.EventRecorder
	poller  *poll.Poller
	options Options
	rebases Rebases
	hearing *hearing
	over    overwritten
	pace    *rate.Limiter // of events
}

// Reconcile looks at one Image.
func (r *Reconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	var image v1alpha1.Image
	err := r.client.Get(ctx, request.NamespacedName, &image)
	if apierrors.IsNotFound(err) || err == nil && !image.DeletionTimestamp.IsZero() {
		r.poller.Forget(request.NamespacedName) // its Builds go with it
		r.over.forget(request.NamespacedName)
		r.rebases.Forget(request.NamespacedName)
		return ctrl.Result{}, nil
	}
	if err != nil {
		return ctrl.Result{}, err
	}
	if r.over.is(&image) {
		return ctrl.Result{RequeueAfter: status.Soon}, nil // the newer one is on its way
	}
	facts, err := r.gather(ctx, &image)
	if err != nil {
		return ctrl.Result{}, err
	}
	wish := facts.wish()
	if err := r.fulfil(ctx, &image, wish); err != nil {
		return status.Next(err, 0)
	}
	return ctrl.Result{RequeueAfter: wish.again}, nil
}

// fulfil writes what is wished and is not so.
func (r *Reconciler) fulfil(ctx context.Context, image *v1alpha1.Image, w wish) error {
	switch b := w.create; {
	case b == nil:
	case b.Spec.Method == v1alpha1.MethodRebase:
		r.rebases.Add(b)
	default:
		err := r.client.Create(ctx, b)
		if apierrors.IsAlreadyExists(err) {
			return nil // it was made before, and the cache will say so in a moment
		}
		if err != nil {
			return err
		}
		log.FromContext(ctx).Info("build", "build", b.Name, "reasons", names(b.Spec.Reasons))
		r.events.Eventf(image, corev1.EventTypeNormal, Building, "%s: %s", b.Name, names(b.Spec.Reasons))
	}
	if !equality.Semantic.DeepEqual(image.Status, w.status) {
		after := image.DeepCopy()
		after.Status = w.status
		if err := status.Write(ctx, r.client, image, after); err != nil {
			return err
		}
		r.over.note(image, after)
		status.Tell(r.events, image, &image.Status.Status, &w.status.Status)
		r.tell(image, &w)
	}
	for _, b := range w.remove {
		if unwritten(b) {
			r.rebases.Remove(b)
			continue
		}
		// As it was seen: one that has begun to run meanwhile stays.
		err := r.client.Delete(ctx, b, client.Preconditions{UID: &b.UID, ResourceVersion: &b.ResourceVersion}, client.PropagationPolicy("Background"))
		if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
			return err
		}
	}
	return nil
}

// tell makes events of a tag that names another image now, and of another verdict. What was rebased is
// told of where the base is; thousands are moved or judged anew at once, so that only some are told of:
// statuses have all of it.
func (r *Reconciler) tell(image *v1alpha1.Image, w *wish) {
	was, is := &image.Status, &w.status
	if p := is.LatestImage; !w.rebased && p != nil && (was.LatestImage == nil || was.LatestImage.Digest != p.Digest) && r.pace.Allow() {
		r.events.Eventf(image, corev1.EventTypeNormal, status.Published, "%s names %s, of %s for %s", p.Image, p.Digest, is.LatestBuild, is.LatestReason)
	}
	before, now := cmp.Or(was.Verdict, &v1alpha1.VerdictStatus{}), is.Verdict
	if now == nil || now.Action == before.Action {
		return
	}
	denied := now.Action == string(artifact.ActionDeny)
	if w.rebased && !denied || !r.pace.Allow() {
		return
	}
	kind := corev1.EventTypeNormal
	if denied {
		kind = corev1.EventTypeWarning
	}
	r.events.Event(image, kind, Judged, status.Brief(strings.TrimSpace(fmt.Sprintf("%s → %s: %s", cmp.Or(before.Action, "no verdict"), now.Action, now.Reason))))
}

// told bounds the events of images that move, a second and at once.
const (
	toldEach = 10
	toldOnce = 100
)

// gather reads all that is known of the Image, in the watch cache and from those who know.
func (r *Reconciler) gather(ctx context.Context, image *v1alpha1.Image) (*facts, error) {
	f := &facts{image: image, now: time.Now()}
	if err := r.gatherBuilds(ctx, f); err != nil {
		return nil, err
	}
	var builder v1alpha1.Builder
	switch err := r.client.Get(ctx, types.NamespacedName{Name: image.Spec.Builder.Name}, &builder); {
	case err == nil:
		f.builder = &builder
	case !apierrors.IsNotFound(err):
		return nil, err
	}
	refusal, err := r.refuse(ctx, image)
	if err != nil {
		return nil, err
	}
	f.refusal = refusal
	f.ears = r.ears(ctx, image)
	f.bases = func(tag string) *v1alpha1.BaseImage { return r.base(ctx, tag) }
	if r.options.Overrides != nil {
		var all v1alpha1.DependencyOverrideList
		if err := r.client.List(ctx, &all, client.UnsafeDisableDeepCopy); err != nil {
			return nil, err
		}
		if f.overrides, err = r.options.Overrides(ctx, image, f.absorb().Inputs.Overrides, all.Items); err != nil {
			return nil, err
		}
	}
	if r.options.Verdict != nil {
		f.verdict = func(published *v1alpha1.Published) (*v1alpha1.VerdictStatus, bool) {
			if published == nil {
				return nil, true
			}
			return r.options.Verdict(image.Spec.Tag, published.Digest)
		}
	}
	f.hold = func(reasons []v1alpha1.BuildReason) string {
		if r.options.Hold == nil {
			return ""
		}
		return r.options.Hold(image, reasons)
	}
	r.follow(f)
	return f, nil
}

// follow has the source of the Image asked, unless it is fixed or nobody wants to know.
func (r *Reconciler) follow(f *facts) {
	name := client.ObjectKeyFromObject(f.image)
	question, fixed := poll.QuestionOf(f.image)
	f.touches = func(from, to string, match func(string) bool) (bool, bool) {
		return r.poller.Touches(name, from, to, match)
	}
	switch {
	case f.image.Spec.Suspend || f.refusal != nil:
		r.poller.Forget(name)
	case fixed != "":
		r.poller.Forget(name)
		f.source = poll.State{Revision: fixed}
		f.touches = func(string, string, func(string) bool) (bool, bool) { return true, true } // somebody chose it
	default:
		var interval time.Duration
		if wanted := f.image.Spec.Triggers.Interval; wanted != nil {
			interval = wanted.Duration
		}
		known := f.image.Status.Source.Revision
		if f.image.Generation != f.image.Status.ObservedGeneration {
			known = "" // it may be that of another source
		}
		f.source = r.poller.Follow(name, question, known, interval)
	}
}

// gatherBuilds adds the Image's Builds, in the order of their numbers.
func (r *Reconciler) gatherBuilds(ctx context.Context, f *facts) error {
	var list v1alpha1.BuildList
	err := r.client.List(ctx, &list, client.InNamespace(f.image.Namespace), client.MatchingFields{indexImage: f.image.Name}, client.UnsafeDisableDeepCopy)
	if err != nil {
		return err
	}
	for i := range list.Items {
		b := &list.Items[i]
		f.highest = max(f.highest, b.Spec.Number)
		// Those of an Image that had this name before are on their way out.
		if Owns(f.image, b) && b.DeletionTimestamp.IsZero() {
			f.builds = append(f.builds, b)
		}
	}
	f.highest = max(f.highest, f.image.Status.Builds)
	r.gatherRebases(f)
	slices.SortStableFunc(f.builds, func(a, b *v1alpha1.Build) int { return cmp.Compare(a.Spec.Number, b.Spec.Number) })
	return nil
}

// Owns says that the Build is the Image's, and not that of another that had its name before.
func Owns(by *v1alpha1.Image, b *v1alpha1.Build) bool {
	return slices.ContainsFunc(b.OwnerReferences, func(o metav1.OwnerReference) bool { return o.UID == by.UID })
}

// refuse gives why nothing may be built for the Image, if there is something.
func (r *Reconciler) refuse(ctx context.Context, image *v1alpha1.Image) (*tag.Refusal, error) {
	if git := image.Spec.Source.Git; git != nil && strings.HasPrefix(git.URL, "file:") && !r.options.Files {
		return &tag.Refusal{Reason: tag.SourceNotAllowed, Message: "a source may not be a folder of the machine that the controllers run on: push it to a git server"}, nil
	}
	return r.options.Registry.Refuse(ctx, r.client, image)
}

// base gives the BaseImage that publishes the tag, if one does.
func (r *Reconciler) base(ctx context.Context, tag string) *v1alpha1.BaseImage {
	return Base(ctx, r.client, tag)
}

// Base gives the BaseImage that publishes the tag, or nil. cache is that of the manager that Setup was
// given.
func Base(ctx context.Context, cache client.Reader, tag string) *v1alpha1.BaseImage {
	var list v1alpha1.BaseImageList
	if err := cache.List(ctx, &list, client.MatchingFields{indexPublished: tag}); err != nil || len(list.Items) != 1 {
		return nil // it only says more
	}
	return &list.Items[0]
}
