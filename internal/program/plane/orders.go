package plane

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"plimsoll.dev/plimsoll/api/v1alpha1"
	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/controller/image"
	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/update"
)

// What a campaign's Build remembers.
const (
	annotationRun      = "plimsoll.dev/patch-run" // of the campaign
	annotationBefore   = "plimsoll.dev/before"    // digest that the tag named
	annotationBeforeOn = "plimsoll.dev/before-on" // what that stood on: "IMAGE@DIGEST"
)

// order is an item of a campaign for an Image.
type order struct {
	update.Batch
	item  update.Item
	image *v1alpha1.Image // from the watch cache: not to be changed
}

// remedy has the Image built or rebased by a Build of the campaign's own, and waits for that. What
// was asked for before is found again by its labels.
func (c *campaigns) remedy(ctx context.Context, o order) update.Outcome {
	out := update.Outcome{Number: o.item.Number}
	b, err := c.ordered(ctx, o)
	if err == nil && b == nil {
		out.Before, out.After = o.image.Status.LatestImage.Digest, o.image.Status.LatestImage.Digest
		return out
	}
	if err == nil {
		b, err = c.ended(ctx, b)
	}
	if err != nil {
		out.Err = err
		return out
	}
	out.Before, out.After = b.Annotations[annotationBefore], b.Status.Digest
	return out
}

// ordered gives the Build that carries the order out: one that is there, or a new one; nil where there
// is nothing to do.
func (c *campaigns) ordered(ctx context.Context, o order) (*v1alpha1.Build, error) {
	name := o.image.Namespace + "/" + o.image.Name
	switch {
	case o.Hold:
		return nil, fault.Newf(fault.Denied, "test before release", o.item.Reference, "an Image releases what it builds, so that there is nothing to test before").
			WithHint("leave images that are built again out of the tests: spec.tests[].images")
	case o.image.Spec.Suspend:
		return nil, fault.Newf(fault.Denied, "remedy", o.item.Reference, "the Image "+name+" is suspended")
	case o.image.Status.LatestImage == nil:
		return nil, fault.Newf(fault.Unavailable, "remedy", o.item.Reference, "the Image "+name+" has not been built yet")
	}
	builds, err := c.buildsOf(ctx, o.image)
	if err != nil {
		return nil, err
	}
	for _, b := range slices.Backward(builds) {
		if o.is(b) {
			return b, nil
		}
	}
	if o.Remedy == artifact.RemedyOverride {
		if err := c.raise(ctx, o); err != nil {
			return nil, err
		}
	}
	spec, err := c.spec(ctx, o)
	if err != nil || spec == nil {
		return nil, err
	}
	for _, b := range slices.Backward(builds) {
		if !b.Status.Phase.Ended() && b.Spec.Method == spec.Method && b.Spec.Inputs == spec.Inputs {
			return b, nil // somebody else has asked for the same
		}
	}
	return c.create(ctx, o, builds, *spec, nil)
}

// is says that the Build is the order's.
func (o order) is(b *v1alpha1.Build) bool {
	return b.Labels[v1alpha1.LabelPatch] == o.Patch && b.Annotations[annotationRun] == number(o.Run)
}

// spec gives the Build that is needed; nil is none.
func (c *campaigns) spec(ctx context.Context, o order) (*v1alpha1.BuildSpec, error) {
	var b v1alpha1.Builder
	if err := c.client.Get(ctx, client.ObjectKey{Name: o.image.Spec.Builder.Name}, &b); err != nil {
		return nil, fault.New(fault.Failed, "find builder", o.image.Spec.Builder.Name, err)
	}
	was := o.image.Status.Inputs
	is := was
	is.RunImage = cmp.Or(o.image.Spec.Build.RunImage, was.RunImage)
	run, err := c.runDigest(ctx, &b, is.RunImage)
	if err != nil {
		return nil, err
	}
	is.RunDigest = cmp.Or(run, was.RunDigest)
	detail := fmt.Sprintf("run %d of the campaign %s", o.Run, o.Patch)
	spec := &v1alpha1.BuildSpec{Method: v1alpha1.MethodRebase, Priority: v1alpha1.PrioritySecurity}
	if o.Remedy == artifact.RemedyRebase {
		spec.Inputs = is
		spec.Reasons = []v1alpha1.BuildReason{{Type: v1alpha1.ReasonBase, Was: was.RunDigest, Is: is.RunDigest, Detail: detail}}
		if is == was {
			return c.stillDue(ctx, o, spec)
		}
		return spec, nil
	}
	if p := b.Status.Published; p != nil {
		is.Builder = p.Digest
	}
	is.Source = cmp.Or(o.image.Status.Source.Revision, was.Source)
	_, is.Settings = image.Settings(&o.image.Spec)
	if is.Overrides, err = c.overridesFor(ctx, o.image.Spec.Tag); err != nil {
		return nil, err
	}
	spec.Method, spec.Inputs = v1alpha1.MethodBuild, is
	spec.Reasons = []v1alpha1.BuildReason{{Type: v1alpha1.ReasonAdvisory, Was: was.Overrides, Is: is.Overrides, Detail: detail}}
	if o.Remedy == artifact.RemedyRebuild { // nothing that is known may have changed, but what a buildpack would take
		spec.Reasons = append(spec.Reasons, v1alpha1.BuildReason{Type: v1alpha1.ReasonTrigger, Is: detail})
	}
	return spec, nil
}

// runDigest gives what the run image's tag names, as the reconciler of Images will know it.
func (c *campaigns) runDigest(ctx context.Context, b *v1alpha1.Builder, tag string) (string, error) {
	for _, run := range b.Status.Run {
		if run.Image == tag {
			return run.Digest, nil
		}
	}
	if tag == "" {
		return "", nil
	}
	return makers{c.Plane}.Digest(ctx, tag)
}

// stillDue decides about an Image that is said to stand on the newest base: it may not, where its tag
// was moved back, or where its Builder has not seen the base yet.
func (c *campaigns) stillDue(ctx context.Context, o order, spec *v1alpha1.BuildSpec) (*v1alpha1.BuildSpec, error) {
	named, err := makers{c.Plane}.Digest(ctx, o.image.Spec.Tag)
	if err != nil {
		return nil, err
	}
	if named != o.image.Status.LatestImage.Digest {
		return spec, nil
	}
	if run := spec.Inputs.RunImage; run != "" {
		newest, err := makers{c.Plane}.Digest(ctx, run)
		if err != nil {
			return nil, err
		}
		if newest != spec.Inputs.RunDigest {
			return nil, fault.Newf(fault.Unavailable, "rebase", o.item.Reference, "its Builder has not seen the new base yet")
		}
	}
	return nil, nil
}

// buildsIndex is the field by which the watch cache finds the Builds of an Image: package image has it
// indexed.
const buildsIndex = "spec.image.name"

// buildsOf gives the Image's Builds, lowest number first. They are not to be changed. The watch cache is
// told of each kind by itself: what the Image knows of and the cache does not, since another replica has
// just made it, is asked for.
func (c *campaigns) buildsOf(ctx context.Context, of *v1alpha1.Image) ([]*v1alpha1.Build, error) {
	var list v1alpha1.BuildList
	err := c.client.List(ctx, &list, client.InNamespace(of.Namespace), client.MatchingFields{buildsIndex: of.Name}, client.UnsafeDisableDeepCopy)
	if err != nil {
		return nil, fault.New(fault.Unavailable, "list Builds of", of.Namespace+"/"+of.Name, err)
	}
	var out []*v1alpha1.Build
	for i := range list.Items {
		if b := &list.Items[i]; image.Owns(of, b) && b.DeletionTimestamp.IsZero() {
			out = append(out, b)
		}
	}
	slices.SortFunc(out, func(a, b *v1alpha1.Build) int { return cmp.Compare(a.Spec.Number, b.Spec.Number) })
	const most = 10
	for at := max(highest(out)+1, of.Status.Builds-most+1); at <= of.Status.Builds; at++ {
		if slices.ContainsFunc(of.Status.Rebases, func(r v1alpha1.ImageRebase) bool { return r.Number == at }) {
			continue // nobody made a Build of it
		}
		b, name := &v1alpha1.Build{}, client.ObjectKey{Namespace: of.Namespace, Name: image.Name(of.Name, at)}
		switch err := c.api.Get(ctx, name, b); {
		case client.IgnoreNotFound(err) != nil:
			return nil, fault.New(fault.Unavailable, "read Build", name.String(), err)
		case err == nil && image.Owns(of, b) && b.DeletionTimestamp.IsZero():
			out = append(out, b)
		}
	}
	return out, nil
}

// highest gives the highest number of Builds in their order; 0 is of none.
func highest(builds []*v1alpha1.Build) int64 {
	if len(builds) == 0 {
		return 0
	}
	return builds[len(builds)-1].Spec.Number
}

// create makes the Build, with the first number that is free and those annotations beside its own.
func (c *campaigns) create(ctx context.Context, o order, builds []*v1alpha1.Build, spec v1alpha1.BuildSpec, also map[string]string) (*v1alpha1.Build, error) {
	first := max(o.image.Status.Builds, highest(builds)) + 1
	const tries = 10 // others make Builds of it, too
	for at := first; at < first+tries; at++ {
		b := image.New(o.image, at, spec)
		b.Labels[v1alpha1.LabelPatch] = o.Patch
		b.Annotations[annotationRun] = number(o.Run)
		b.Annotations[annotationBefore] = o.image.Status.LatestImage.Digest
		b.Annotations[annotationBeforeOn] = stoodOn(o.image.Status.Inputs)
		maps.Copy(b.Annotations, also)
		err := c.client.Create(ctx, b)
		if err == nil {
			return b, nil
		}
		if !apierrors.IsAlreadyExists(err) {
			return nil, unreachable("make a Build of", o.item.Reference, err)
		}
		if err := c.api.Get(ctx, client.ObjectKeyFromObject(b), b); err == nil && o.is(b) {
			return b, nil // the cache has not told us of it
		}
	}
	return nil, fault.Newf(fault.Unavailable, "make a Build of", o.item.Reference, "others make Builds of it again and again")
}

// unreachable gives what the API has said as a fault: what it refuses is not asked again.
func unreachable(what, which string, err error) *fault.Error {
	kind := fault.Unavailable
	if apierrors.IsForbidden(err) || apierrors.IsInvalid(err) {
		kind = fault.Denied
	}
	return fault.New(kind, what, which, err)
}

// How long a Build of a campaign is waited for, its queue included, and how often the cache is asked.
const (
	rebasedWithin = 30 * time.Minute
	builtWithin   = 12 * time.Hour
	lookEvery     = 100 * time.Millisecond
	seenWithin    = 30 * time.Second // by the cache
)

// ended waits until the Build has, and gives it; its error when it has failed.
func (c *campaigns) ended(ctx context.Context, b *v1alpha1.Build) (*v1alpha1.Build, error) {
	name := b.Namespace + "/" + b.Name
	within := builtWithin
	if b.Spec.Method == v1alpha1.MethodRebase {
		within = rebasedWithin
	}
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	seen := false
	for began := time.Now(); ; {
		var now v1alpha1.Build
		err := c.client.Get(ctx, client.ObjectKeyFromObject(b), &now)
		seen = seen || err == nil
		switch {
		case err == nil && now.UID == b.UID && now.Status.Phase == v1alpha1.BuildSucceeded:
			return &now, nil
		case err == nil && now.UID == b.UID && now.Status.Phase.Ended():
			return nil, fault.Newf(fault.Failed, strings.ToLower(string(b.Spec.Method)), name, cmp.Or(now.Status.Message, string(now.Status.Phase))).
				WithHint("kubectl describe build " + b.Name + " -n " + b.Namespace)
		case apierrors.IsNotFound(err) && (seen || time.Since(began) > seenWithin):
			return nil, fault.Newf(fault.Unavailable, "wait for the Build", name, "somebody has deleted it")
		case time.Since(began) > within:
			return nil, fault.Newf(fault.Unavailable, "wait for the Build", name, "it has not ended within "+within.String())
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-ticker.C:
		}
	}
}
