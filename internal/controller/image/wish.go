package image

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"plimsoll.dev/plimsoll/api/v1alpha1"
	"plimsoll.dev/plimsoll/internal/controller/poll"
	"plimsoll.dev/plimsoll/internal/controller/status"
)

// The reasons of an Image's conditions that no other kind has.
const (
	UpToDate       = "UpToDate"
	Building       = "Building"
	BuildFailed    = "BuildFailed"
	HeldBack       = "HeldBack"
	TakenBack      = "TakenBack"
	SourceUnknown  = "SourceUnknown"
	SourceAway     = "SourceUnavailable"
	BuilderMissing = "BuilderNotFound"
	BuilderUnready = "BuilderNotReady"
)

// Judged is the reason of the event that tells of another verdict.
const Judged = "Judged"

// wish is what should be done about an Image.
type wish struct {
	status v1alpha1.ImageStatus
	create *v1alpha1.Build   // nil: none
	remove []*v1alpha1.Build // superseded before they started, older than the history goes, or in the status
	again  time.Duration     // when to look again though nothing changes; 0 is never

	rebased bool // the status tells of an image that a rebase made
}

// wish decides. It is a pure function of the facts.
func (f *facts) wish() wish {
	f.settings, f.settingsDigest = Settings(&f.image.Spec)
	w := wish{status: f.absorb()}
	was := w.status.Inputs
	is := f.wanted(was)
	if !f.image.Spec.Suspend && f.refusal == nil { // else nobody asks
		w.status.Source.Revision = f.source.Revision
	}
	held := f.judge(&w)
	reasons := f.reasons(was, is, w.status.Trigger)
	ready := f.obstacle(is)
	if ready == nil {
		ready = f.settle(&w, was, is, reasons)
	}
	if f.image.Spec.Suspend || f.refusal != nil {
		w.remove = f.idle()
	}
	status.Set(&w.status.Status, f.image.Generation, v1alpha1.ConditionReady, ready.Status, ready.Reason, ready.Message)
	f.fresh(&w.status)
	f.hear(&w)
	f.prune(&w)
	if held {
		w.status, w.rebased = f.image.Status, false
		w.lookAgain(patience)
		return w
	}
	w.remove = append(w.remove, f.told()...)
	return w
}

// patience is how long a status waits for the verdict on a new image, to be written once.
const patience = 2 * time.Second

// unjudged is after how long the verdict is asked for again where nobody has told one.
const unjudged = time.Minute

// judge puts into the wish the verdict on what its status names, which may be newer than what the
// Image's names. It says whether that is worth waiting for.
func (f *facts) judge(w *wish) (held bool) {
	moved := digest(w.status.LatestImage) != digest(f.image.Status.LatestImage)
	made := f.newest(succeeded)
	w.rebased = moved && made != nil && made.Spec.Method == v1alpha1.MethodRebase
	if f.verdict == nil {
		return false
	}
	verdict, known := f.verdict(w.status.LatestImage)
	if !known {
		w.lookAgain(unjudged) // whoever looks into it says when it is known, unless that fails
	}
	if !known && !moved {
		return false // the last one stays
	}
	w.status.Verdict = verdict
	if known || made == nil || made.Status.CompletedAt == nil {
		return false
	}
	return f.now.Sub(made.Status.CompletedAt.Time) < patience
}

func digest(p *v1alpha1.Published) string {
	if p == nil {
		return ""
	}
	return p.Digest
}

func (w *wish) lookAgain(after time.Duration) {
	after = max(after, time.Second)
	if w.again == 0 || after < w.again {
		w.again = after
	}
}

func condition(is metav1.ConditionStatus, reason, message string) *metav1.Condition {
	return &metav1.Condition{Status: is, Reason: reason, Message: message}
}

// obstacle gives the condition of an Image that nothing can be done for.
func (f *facts) obstacle(is v1alpha1.BuildInputs) *metav1.Condition {
	switch {
	case f.image.Spec.Suspend:
		return condition(metav1.ConditionUnknown, status.Suspended, "spec.suspend is true: nothing is built or rebased")
	case f.refusal != nil:
		return condition(metav1.ConditionFalse, f.refusal.Reason, f.refusal.Message)
	case f.builder == nil:
		return condition(metav1.ConditionFalse, BuilderMissing, fmt.Sprintf("there is no Builder %q: make one, or name another in spec.builder (kubectl get builders)", f.image.Spec.Builder.Name))
	case is.Builder == "":
		return condition(metav1.ConditionUnknown, BuilderUnready, fmt.Sprintf("the Builder %q has not been built yet: kubectl describe builder %[1]s", f.image.Spec.Builder.Name))
	case f.source.Revision == "" && f.source.Err != nil:
		return condition(metav1.ConditionFalse, SourceAway, status.Message(f.source.Err))
	case f.source.Revision == "":
		return condition(metav1.ConditionUnknown, SourceUnknown, "the source is being asked for its newest revision")
	}
	return nil
}

// settle adds to the wish what makes the Image what it should be, and gives its condition. There
// is at most one Build that waits: what changes meanwhile replaces it. While one runs nothing is
// made: what changes meanwhile is seen when it ends.
func (f *facts) settle(w *wish, was, is v1alpha1.BuildInputs, reasons []v1alpha1.BuildReason) *metav1.Condition {
	if b := f.newest(func(b *v1alpha1.Build) bool { return running(b) || waiting(b) && campaign(b) }); b != nil {
		return underWay(b)
	}
	queued := f.newest(waiting)
	if len(reasons) == 0 {
		w.remove = f.idle() // what they were for is no more
		if last := f.last(); last != nil && !f.same(last, is) {
			return upToDate() // what it failed at is no more, either: a commit that was taken back
		}
		return f.rest()
	}
	if held := f.hold(reasons); held != "" {
		w.remove = f.idle()
		return condition(metav1.ConditionTrue, HeldBack, held)
	}
	if queued != nil && f.same(queued, is) {
		w.remove = slices.DeleteFunc(f.idle(), func(b *v1alpha1.Build) bool { return b == queued })
		return underWay(queued)
	}
	if queued == nil {
		if last := f.last(); last != nil && f.same(last, is) && f.unedited(last) {
			return f.rest() // it would come to the same
		}
	}
	w.create = f.build(was, is, reasons)
	w.remove = slices.DeleteFunc(f.idle(), func(b *v1alpha1.Build) bool { return !unwritten(b) }) // the API's go when it has this one
	if w.create.Spec.Method == v1alpha1.MethodBuild {
		show(&w.status, w.create)
	}
	return underWay(w.create)
}

// same says that the Build is from just these inputs, and obeys the trigger that stands now.
func (f *facts) same(b *v1alpha1.Build, is v1alpha1.BuildInputs) bool {
	value := f.image.Annotations[v1alpha1.AnnotationBuild]
	return b.Spec.Inputs == is && (value == "" || trigger(b) == value)
}

// unedited says that nobody has edited the Image since the Build failed: an edit tries again.
func (f *facts) unedited(b *v1alpha1.Build) bool {
	return succeeded(b) || b.Annotations[annotationGeneration] == strconv.FormatInt(f.image.Generation, 10)
}

// idle gives the Image's Builds that wait and that no campaign wants.
func (f *facts) idle() (out []*v1alpha1.Build) {
	for _, b := range f.builds {
		if waiting(b) && !campaign(b) {
			out = append(out, b)
		}
	}
	return out
}

// underWay is the condition while the Build waits or runs. A rebase does not show: it is over in
// moments, and its end is written anyway.
func underWay(b *v1alpha1.Build) *metav1.Condition {
	if b.Spec.Method == v1alpha1.MethodRebase {
		return upToDate()
	}
	does := "waits for its turn"
	switch {
	case running(b):
		does = "is being built"
	case b.Status.RetryAt != nil:
		does = "is tried again: " + status.Brief(b.Status.Message)
	}
	return condition(metav1.ConditionUnknown, Building, fmt.Sprintf("%s, for %s, %s", b.Name, names(b.Spec.Reasons), does))
}

func upToDate() *metav1.Condition {
	return condition(metav1.ConditionTrue, UpToDate, "the tag names an image of the newest inputs")
}

// rest is the condition when there is nothing to do.
func (f *facts) rest() *metav1.Condition {
	last := f.last()
	switch {
	case last == nil, succeeded(last) && last.Annotations[v1alpha1.AnnotationTakenBack] == "":
		return upToDate()
	case succeeded(last):
		return condition(metav1.ConditionTrue, TakenBack, fmt.Sprintf("the campaign %s took the tag back: it stays until the Image changes, or another campaign takes it along", last.Labels[v1alpha1.LabelPatch]))
	}
	return condition(metav1.ConditionFalse, BuildFailed, fmt.Sprintf("%s: %s", last.Name, cmp.Or(last.Status.Message, string(last.Status.Phase))))
}

// fresh says in a condition of its own when the source does not answer, of an Image that stands.
func (f *facts) fresh(s *v1alpha1.ImageStatus) {
	generation := f.image.Generation
	switch {
	case f.source.Failures >= poll.Alarming:
		status.Set(&s.Status, generation, v1alpha1.ConditionFresh, metav1.ConditionFalse, SourceAway, status.Message(f.source.Err))
	case f.source.Err == nil && status.Says(&s.Status, v1alpha1.ConditionFresh) != "":
		status.Set(&s.Status, generation, v1alpha1.ConditionFresh, metav1.ConditionTrue, UpToDate, "the source answers")
	}
}
