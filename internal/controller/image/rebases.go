package image

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"plimsoll.dev/plimsoll/api/v1alpha1"
)

// Rebases are those that Images have asked for and that are in no API: whoever does them has them in
// memory, and wakes an Image when one of its rebases has ended. One that fails becomes a Build in the API,
// of the same name. When the process ends they are gone, and Images ask again for what they still need.
type Rebases interface {
	// Add has the Image rebased. One whose name is there already is left as it is.
	Add(b *v1alpha1.Build)

	// Of gives those of the Image, whatever their phase: as Builds, which nobody may change. One that has
	// gone well stays until it is removed.
	Of(image types.NamespacedName) []*v1alpha1.Build

	// Remove forgets one, unless it runs.
	Remove(b *v1alpha1.Build)

	// Forget ends and forgets all of an Image that is not there any more.
	Forget(image types.NamespacedName)
}

// rebaseName gives the name of a rebase that an Image asks for. Campaigns make Builds of the same Image,
// maybe of the same number meanwhile.
func rebaseName(image string, number int64) string { return fmt.Sprintf("%s-r%d", image, number) }

// ParseRebase gives the Image and the number of the rebase of that name.
func ParseRebase(name string) (image string, number int64, ok bool) {
	at := strings.LastIndex(name, "-r")
	if at < 0 {
		return "", 0, false
	}
	number, err := strconv.ParseInt(name[at+len("-r"):], 10, 64)
	return name[:at], number, err == nil && rebaseName(name[:at], number) == name
}

// Highest gives the highest number of the Builds in the API that have the Image's name. cache is that of
// the manager that Setup was given.
func Highest(ctx context.Context, cache client.Reader, image types.NamespacedName) (highest int64, err error) {
	var list v1alpha1.BuildList
	err = cache.List(ctx, &list, client.InNamespace(image.Namespace), client.MatchingFields{indexImage: image.Name}, client.UnsafeDisableDeepCopy)
	for i := range list.Items {
		highest = max(highest, list.Items[i].Spec.Number)
	}
	return highest, err
}

// gatherRebases adds the Image's rebases that are in no API. Of two with one number the one in the API is
// a campaign's, and ran later: this one was begun when there was no such number.
func (r *Reconciler) gatherRebases(f *facts) {
	var these []*v1alpha1.Build
	for _, b := range r.rebases.Of(client.ObjectKeyFromObject(f.image)) {
		f.highest = max(f.highest, b.Spec.Number)
		switch {
		case !Owns(f.image, b), slices.ContainsFunc(f.builds, func(other *v1alpha1.Build) bool { return other.Name == b.Name }):
			r.rebases.Remove(b) // of an Image that had this name before, or in the API by now
		default:
			these = append(these, b)
		}
	}
	f.builds = append(these, f.builds...)
}

// unwritten says that the Build is a rebase that is in no API.
func unwritten(b *v1alpha1.Build) bool { return b.ResourceVersion == "" }

// note has the status tell of the rebases that have gone well and are written nowhere else.
func (f *facts) note(s *v1alpha1.ImageStatus) {
	for _, b := range f.told() {
		last := len(s.Rebases) - 1
		if last >= 0 && s.Rebases[last].Number >= b.Spec.Number {
			continue // it does
		}
		if last >= 0 {
			s.Rebases[last].Reasons = brief(s.Rebases[last].Reasons)
		}
		s.Rebases = append(s.Rebases, noted(b))
	}
	room := min(limit(f.image.Spec.History.Succeeded), v1alpha1.MaxRebases)
	s.Rebases = s.Rebases[max(0, len(s.Rebases)-room):]
}

func noted(b *v1alpha1.Build) v1alpha1.ImageRebase {
	inputs := made(b)
	return v1alpha1.ImageRebase{
		Number: b.Spec.Number, Digest: b.Status.Digest, RunImage: inputs.RunImage, RunDigest: inputs.RunDigest,
		Reasons: slices.Clone(b.Spec.Reasons), CompletedAt: b.Status.CompletedAt, Unchanged: b.Status.Unchanged,
	}
}

// brief leaves out of reasons what is long.
func brief(reasons []v1alpha1.BuildReason) []v1alpha1.BuildReason {
	out := slices.Clone(reasons)
	for i := range out {
		out[i].Detail = ""
	}
	return out
}

// told gives the rebases that need not be kept once the status is written.
func (f *facts) told() (out []*v1alpha1.Build) {
	for _, b := range f.builds {
		if unwritten(b) && succeeded(b) {
			out = append(out, b)
		}
	}
	return out
}

// last gives the newest Build that has ended: the last rebase in the status, if none has since.
func (f *facts) last() *v1alpha1.Build {
	last, s := f.newest(ended), &f.image.Status
	if len(s.Rebases) == 0 {
		return last
	}
	r := &s.Rebases[len(s.Rebases)-1]
	if r.Number < s.Builds || last != nil && last.Spec.Number >= r.Number {
		return last
	}
	b := New(f.image, r.Number, v1alpha1.BuildSpec{Method: v1alpha1.MethodRebase, Reasons: r.Reasons, Inputs: s.Inputs})
	for _, reason := range r.Reasons { // what was wanted, whatever has come of it
		if reason.Type == v1alpha1.ReasonBase {
			b.Spec.Inputs.RunDigest = cmp.Or(reason.Is, b.Spec.Inputs.RunDigest)
		}
	}
	b.Annotations[v1alpha1.AnnotationBuild] = s.Trigger
	b.Status.Phase, b.Status.CompletedAt = v1alpha1.BuildSucceeded, r.CompletedAt
	return b
}
