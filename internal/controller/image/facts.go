package image

import (
	"cmp"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"plimsoll.dev/plimsoll/api/v1alpha1"
	"plimsoll.dev/plimsoll/internal/controller/poll"
	"plimsoll.dev/plimsoll/internal/controller/tag"
	"plimsoll.dev/plimsoll/internal/ignore"
)

// facts are all that is known of an Image at one time: what to do follows from them alone.
type facts struct {
	image     *v1alpha1.Image
	builds    []*v1alpha1.Build // of the Image, lowest number first
	highest   int64             // number of any Build that has its name
	builder   *v1alpha1.Builder // nil: there is none
	bases     func(tag string) *v1alpha1.BaseImage
	source    poll.State
	touches   func(from, to string, match func(path string) bool) (touches, known bool)
	overrides Held
	verdict   func(*v1alpha1.Published) (v *v1alpha1.VerdictStatus, known bool) // nil leaves it as it is
	ears      *metav1.Condition                                                 // of webhooks; nil: none are wanted
	refusal   *tag.Refusal                                                      // nil: it may publish what it wants to
	hold      func(reasons []v1alpha1.BuildReason) string
	now       time.Time

	settings, settingsDigest string
}

// Held are the overrides that hold for an Image.
type Held struct {
	Digest     string   // of all of them; "" when there are none
	Advisories []string // that they answer
	Text       string   // them, for a person: a line each

	// Idle says that nothing in what the Image has published is below any of them.
	Idle bool
}

// newest gives the last of the Image's Builds for which is holds, or nil.
func (f *facts) newest(is func(*v1alpha1.Build) bool) *v1alpha1.Build {
	for _, build := range slices.Backward(f.builds) {
		if is(build) {
			return build
		}
	}
	return nil
}

func ended(b *v1alpha1.Build) bool     { return b.Status.Phase.Ended() }
func succeeded(b *v1alpha1.Build) bool { return b.Status.Phase == v1alpha1.BuildSucceeded }
func running(b *v1alpha1.Build) bool   { return b.Status.Phase == v1alpha1.BuildRunning }
func waiting(b *v1alpha1.Build) bool   { return !ended(b) && !running(b) }
func campaign(b *v1alpha1.Build) bool  { return b.Labels[v1alpha1.LabelPatch] != "" }

// absorb gives the Image's status with what its builds and rebases have come to. It is the same however
// often it is done, and needs nothing but the newest Build that succeeded, and what no API has.
func (f *facts) absorb() v1alpha1.ImageStatus {
	status := *f.image.Status.DeepCopy()
	// What is older than what the status counts is in it already.
	if b := f.newest(succeeded); b != nil && b.Spec.Number >= status.Builds {
		status.Inputs = made(b)
		status.LatestImage = &v1alpha1.Published{Image: f.image.Spec.Tag, Digest: b.Status.Digest}
	}
	shown := f.newest(func(b *v1alpha1.Build) bool { return ended(b) || b.Spec.Method == v1alpha1.MethodBuild })
	if shown != nil && shown.Spec.Number >= status.Builds {
		show(&status, shown)
	}
	if b := f.newest(func(b *v1alpha1.Build) bool { return ended(b) && trigger(b) != "" }); b != nil && b.Spec.Number >= f.image.Status.Builds {
		status.Trigger = trigger(b)
	}
	f.note(&status)
	return status
}

// show has the status name the Build as the last.
func show(s *v1alpha1.ImageStatus, b *v1alpha1.Build) {
	s.LatestBuild, s.Builds = b.Name, b.Spec.Number
	s.LatestReason = v1alpha1.ReasonType(b.Labels[v1alpha1.LabelReason])
}

func trigger(b *v1alpha1.Build) string { return b.Annotations[v1alpha1.AnnotationBuild] }

// made gives what a Build that succeeded was made from: what it was to be made from, and the run
// image that it came to stand on.
func made(b *v1alpha1.Build) v1alpha1.BuildInputs {
	inputs := b.Spec.Inputs
	if run := b.Status.RunImage; run != nil {
		inputs.RunImage, inputs.RunDigest = run.Image, run.Digest
	}
	return inputs
}

// wanted gives what the Image would be made from now. What is not known now is as it was.
func (f *facts) wanted(was v1alpha1.BuildInputs) v1alpha1.BuildInputs {
	is := was
	is.Source = f.revision(was)
	is.Settings = f.settingsDigest
	if !f.overrides.Idle { // else the next build goes by them
		is.Overrides = f.overrides.Digest
	}
	is.RunImage = cmp.Or(f.image.Spec.Build.RunImage, was.RunImage)
	if f.builder == nil {
		return is
	}
	if p := f.builder.Status.Published; p != nil {
		is.Builder = cmp.Or(p.Digest, was.Builder)
	}
	is.RunDigest = cmp.Or(f.runDigest(is.RunImage), was.RunDigest)
	return is
}

// revision gives the newest revision of the source in which anything changed that matters.
func (f *facts) revision(was v1alpha1.BuildInputs) string {
	is := f.source.Revision
	if is == "" || is == was.Source || was.Source == "" || f.image.Spec.Source.Git == nil {
		return cmp.Or(is, was.Source)
	}
	patterns := f.image.Spec.Triggers.Paths
	if sub := f.image.Spec.Source.Subpath; len(patterns) == 0 && sub != "" {
		patterns = []string{"/" + literal.Replace(strings.Trim(sub, "/")) + "/"}
	}
	if len(patterns) == 0 {
		return is
	}
	list := ignore.Lines(patterns)
	touches, known := f.touches(was.Source, is, func(path string) bool { return list.Within(path) == ignore.Ignored })
	if touches || !known && f.settingsDigest != was.Settings {
		return is // what is built for another reason is built from the newest
	}
	return was.Source
}

// literal writes a folder's name as a pattern that matches nothing else.
var literal = strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`, "[", `\[`)

// runDigest gives what the run image's tag names now, as the builder knows it or its base does.
func (f *facts) runDigest(tag string) string {
	if tag == "" {
		return ""
	}
	for _, run := range f.builder.Status.Run {
		if run.Image == tag {
			return run.Digest
		}
	}
	if base := f.bases(tag); base != nil && base.Status.Published != nil {
		return base.Status.Published.Digest
	}
	return ""
}
