package image

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"plimsoll.dev/plimsoll/api/v1alpha1"
)

// What a Build remembers of the time when it was made.
const (
	annotationGeneration = "plimsoll.dev/generation" // of the Image's spec
	annotationSettings   = "plimsoll.dev/settings"   // what of it bears on the build, as YAML
	annotationBuildpacks = "plimsoll.dev/buildpacks" // of the builder, "id@version", by spaces
)

// Name gives the name of an Image's Build. It follows from the number, so that two who make the
// same one, or one who does not know that he has made it already, make one.
func Name(image string, number int64) string { return fmt.Sprintf("%s-b%d", image, number) }

// New gives a Build of the Image, which owns it. It fills in the Image's name and the number.
func New(image *v1alpha1.Image, number int64, spec v1alpha1.BuildSpec) *v1alpha1.Build {
	spec.Image.Name, spec.Number = image.Name, number
	b := &v1alpha1.Build{Spec: spec}
	b.Namespace, b.Name = image.Namespace, Name(image.Name, number)
	b.Labels = map[string]string{v1alpha1.LabelImage: image.Name, v1alpha1.LabelTeam: Team(image)}
	if len(spec.Reasons) > 0 {
		b.Labels[v1alpha1.LabelReason] = string(spec.Reasons[0].Type)
	}
	b.Annotations = map[string]string{annotationGeneration: strconv.FormatInt(image.Generation, 10)}
	b.OwnerReferences = []metav1.OwnerReference{*metav1.NewControllerRef(image, v1alpha1.GroupVersion.WithKind(v1alpha1.ImageKind))}
	return b
}

// Team gives who answers for the Image.
func Team(image *v1alpha1.Image) string {
	if team := image.Labels[v1alpha1.LabelTeam]; team != "" {
		return team
	}
	return image.Namespace
}

// build gives the Build that the Image needs; a rebase is for Rebases.
func (f *facts) build(was, is v1alpha1.BuildInputs, reasons []v1alpha1.BuildReason) *v1alpha1.Build {
	b := New(f.image, f.highest+1, v1alpha1.BuildSpec{
		Method: method(reasons, was), Priority: priority(reasons), Reasons: reasons, Inputs: is,
	})
	if value := f.image.Annotations[v1alpha1.AnnotationBuild]; value != "" {
		b.Annotations[v1alpha1.AnnotationBuild] = value
	}
	switch b.Spec.Method {
	case v1alpha1.MethodRebase:
		b.Name = rebaseName(f.image.Name, b.Spec.Number)
	case v1alpha1.MethodBuild:
		b.Annotations[annotationSettings] = f.settings
		b.Annotations[annotationBuildpacks] = strings.Join(f.builder.Status.Buildpacks, " ")
	}
	return b
}

// lull is how long nothing of an Image must have ended before its history is cut: a fleet that is
// being rebased needs the API for other things.
const lull = time.Minute

// prune adds to the wish the removal of Builds that the history has no room for. The newest of
// all, the newest that succeeded and the newest from source always stay: what the Image is made
// from is read there.
func (f *facts) prune(w *wish) {
	room := map[bool]int{true: limit(f.image.Spec.History.Succeeded), false: limit(f.image.Spec.History.Failed)}
	var old []*v1alpha1.Build
	newest, source := f.newest(ended), f.newest(func(b *v1alpha1.Build) bool { return succeeded(b) && b.Spec.Method == v1alpha1.MethodBuild })
	for _, b := range slices.Backward(f.builds) {
		if !ended(b) || unwritten(b) {
			continue
		}
		room[succeeded(b)]--
		if room[succeeded(b)] < 0 && b != newest && b != source {
			old = append(old, b)
		}
	}
	if len(old) == 0 {
		return
	}
	if at := newest.Status.CompletedAt; at != nil && f.now.Sub(at.Time) < lull {
		w.lookAgain(lull - f.now.Sub(at.Time))
		return
	}
	w.remove = append(w.remove, old...)
}

// limit gives what the history keeps; the default is the resource's.
func limit(n int32) int {
	if n == 0 {
		return 10
	}
	return int(n)
}
