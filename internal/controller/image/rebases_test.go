package image

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"plimsoll.dev/plimsoll/api/v1alpha1"
)

// plan adds the rebase that the Image wants now, which is in no API, in the phase.
func (f *facts) plan(t *testing.T, phase v1alpha1.BuildPhase) *v1alpha1.Build {
	t.Helper()
	b := f.wish().create
	if b == nil || b.Spec.Method != v1alpha1.MethodRebase {
		t.Fatalf("it wants %v, and no rebase", b)
	}
	b.Status.Phase = phase
	f.builds, f.highest = append(f.builds, b), b.Spec.Number
	return b
}

// done has the rebase go well.
func done(b *v1alpha1.Build) {
	at := metav1.NewTime(noon.Add(-time.Hour))
	b.Status.Phase, b.Status.CompletedAt = v1alpha1.BuildSucceeded, &at
	b.Status.Digest = fmt.Sprint("image", b.Spec.Number)
	b.Status.RunImage = &v1alpha1.Published{Image: "run:1", Digest: b.Spec.Inputs.RunDigest}
}

// write has the status be written, and what was to be removed removed.
func (f *facts) write() wish {
	w := f.wish()
	f.image.Status = w.status
	for _, b := range w.remove {
		for i, other := range f.builds {
			if other == b {
				f.builds = append(f.builds[:i:i], f.builds[i+1:]...)
				break
			}
		}
	}
	return w
}

// rebased takes the Image through a rebase onto the run image, to its end.
func (f *facts) rebased(t *testing.T, run string) {
	t.Helper()
	f.builder.Status.Run[0].Digest = run
	done(f.plan(t, v1alpha1.BuildQueued))
	f.write()
}

func TestRebases(t *testing.T) {
	onto := func(f *facts, run string) { f.builder.Status.Run[0].Digest = run }
	for _, test := range []struct {
		name   string
		change func(t *testing.T, f *facts)
		want   []string
	}{
		{"one that waits is left alone", func(t *testing.T, f *facts) {
			onto(f, "run2")
			f.plan(t, v1alpha1.BuildQueued)
		}, []string{"Ready True UpToDate"}},
		{"one that waits gives way to what is newer", func(t *testing.T, f *facts) {
			onto(f, "run2")
			f.plan(t, v1alpha1.BuildQueued)
			onto(f, "run3")
		}, []string{"create shop-r3 Rebase Security: BASE", "remove shop-r2", "Ready True UpToDate"}},
		{"and to a build", func(t *testing.T, f *facts) {
			onto(f, "run2")
			f.plan(t, v1alpha1.BuildQueued)
			f.source.Revision = "commit2"
		}, []string{"create shop-b3 Build Security: BASE and COMMIT", "remove shop-r2", "Ready Unknown Building"}},
		{"and goes when all is as it was", func(t *testing.T, f *facts) {
			onto(f, "run2")
			f.plan(t, v1alpha1.BuildQueued)
			onto(f, "run1")
		}, []string{"remove shop-r2", "Ready True UpToDate"}},
		{"or is held back", func(t *testing.T, f *facts) {
			onto(f, "run2")
			f.plan(t, v1alpha1.BuildQueued)
			f.hold = func([]v1alpha1.BuildReason) string { return "the campaign openssl will see to it" }
		}, []string{"remove shop-r2", "Ready True HeldBack"}},
		{"one that runs is waited for", func(t *testing.T, f *facts) {
			onto(f, "run2")
			f.plan(t, v1alpha1.BuildRunning)
			onto(f, "run3")
		}, []string{"Ready True UpToDate"}},
		{"one that went well is in the status, and need not be kept", func(t *testing.T, f *facts) {
			onto(f, "run2")
			done(f.plan(t, v1alpha1.BuildQueued))
		}, []string{"remove shop-r2", "Ready True UpToDate"}},
		{"what is newer then is the next", func(t *testing.T, f *facts) {
			onto(f, "run2")
			done(f.plan(t, v1alpha1.BuildQueued))
			onto(f, "run3")
		}, []string{"create shop-r3 Rebase Security: BASE", "remove shop-r2", "Ready True UpToDate"}},
		{"one that has failed is a Build, and is not repeated", func(t *testing.T, f *facts) {
			onto(f, "run2")
			b := f.plan(t, v1alpha1.BuildFailed)
			b.ResourceVersion, b.Status.Message = "1", "denied"
		}, []string{"Ready False BuildFailed"}},
		{"once it is in the status nothing is to be done", func(t *testing.T, f *facts) {
			f.rebased(t, "run2")
		}, []string{"Ready True UpToDate"}},
		{"a mutable tag that turned out to be another makes no loop", func(t *testing.T, f *facts) {
			onto(f, "run2")
			b := f.plan(t, v1alpha1.BuildQueued)
			done(b)
			b.Status.RunImage.Digest, b.Status.Unchanged = "run1", true
			f.write()
		}, []string{"Ready True UpToDate"}},
		{"a failure before it says nothing any more", func(t *testing.T, f *facts) {
			f.source.Revision = "commit2"
			f.add(v1alpha1.BuildFailed, nil)
			f.source.Revision = "commit1"
			f.rebased(t, "run2")
			onto(f, "run1")
			f.source.Revision = "commit2"
		}, []string{"create shop-b4 Build Security: BASE and COMMIT", "Ready Unknown Building"}},
		{"nor does a campaign that took the tag back", func(t *testing.T, f *facts) {
			onto(f, "run2")
			f.add(v1alpha1.BuildSucceeded, func(b *v1alpha1.Build) {
				b.Annotations[v1alpha1.AnnotationTakenBack], b.Status.RunImage.Digest = "shop-b1", "run1"
			})
			if got := f.wish().say(); got[len(got)-1] != "Ready True TakenBack" {
				t.Fatalf("it says %v", got)
			}
			f.rebased(t, "run3")
			onto(f, "run2")
		}, []string{"create shop-r4 Rebase Security: BASE", "Ready True UpToDate"}},
		{"a build after it counts", func(t *testing.T, f *facts) {
			f.rebased(t, "run2")
			f.source.Revision = "commit2"
			f.add(v1alpha1.BuildFailed, nil)
		}, []string{"Ready False BuildFailed"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := known()
			test.change(t, f)
			w := f.wish()
			if diff := cmp.Diff(test.want, w.say()); diff != "" {
				t.Fatalf("(-want +got):\n%s", diff)
			}
			again(t, f, w)
		})
	}
}

// TestRebasesAreNotedOnce holds what the status tells of them, however often it is written, and that it
// stays small.
func TestRebasesAreNotedOnce(t *testing.T) {
	f := known()
	f.image.Spec.History.Succeeded = 3
	f.bases = func(string) *v1alpha1.BaseImage {
		run := f.builder.Status.Run[0].Digest
		return &v1alpha1.BaseImage{Status: v1alpha1.BaseImageStatus{Published: &v1alpha1.Published{Digest: run}, Changes: []string{"openssl to " + run}}}
	}
	for n := 2; n <= 6; n++ {
		f.builder.Status.Run[0].Digest = fmt.Sprint("run", n)
		done(f.plan(t, v1alpha1.BuildQueued))
		f.image.Status = f.wish().status
		f.write()
	}
	var got []string
	for _, r := range f.image.Status.Rebases {
		_, detail, _ := strings.Cut(r.Reasons[0].Detail, "\n")
		got = append(got, fmt.Sprintf("%d %s on %s@%s, %s → %s %s", r.Number, r.Digest, r.RunImage, r.RunDigest, r.Reasons[0].Was, r.Reasons[0].Is, strings.Split(detail, "\n")[0]))
	}
	want := []string{
		"4 image4 on run:1@run4, run3 → run4 ", "5 image5 on run:1@run5, run4 → run5 ", "6 image6 on run:1@run6, run5 → run6 openssl to run6",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	s := &f.image.Status
	if s.Builds != 6 || s.LatestBuild != "shop-r6" || s.LatestReason != v1alpha1.ReasonBase || s.LatestImage.Digest != "image6" || s.Inputs.RunDigest != "run6" {
		t.Errorf("the status is %+v", s)
	}
	f.image.Spec.History.Succeeded = 1
	if left := f.wish().status.Rebases; len(left) != 1 || left[0].Number != 6 {
		t.Errorf("of a history of one there is left %+v", left)
	}
}

// TestACampaignMayTakeTheNumber meanwhile: what ran later is what the tag names.
func TestACampaignMayTakeTheNumber(t *testing.T) {
	f := known()
	f.builder.Status.Run[0].Digest = "run2"
	done(f.plan(t, v1alpha1.BuildRunning))
	b := New(f.image, 2, v1alpha1.BuildSpec{Method: v1alpha1.MethodRebase, Inputs: f.inputs()})
	b.ResourceVersion, b.Labels[v1alpha1.LabelPatch] = "1", "openssl"
	done(b)
	b.Status.Digest = "another"
	f.builds = append(f.builds, b)
	f.write()
	if s := f.image.Status; s.LatestImage.Digest != "another" || s.LatestBuild != "shop-b2" || len(s.Rebases) != 1 || s.Rebases[0].Digest != "image2" {
		t.Errorf("the status is %+v", s)
	}
	if last := f.last(); last != b {
		t.Errorf("the last is %s", last.Name)
	}
}

// TestARebaseStaysUntilItIsJudged and its end written: it is asked for by nobody else.
func TestARebaseStaysUntilItIsJudged(t *testing.T) {
	f := known()
	f.image.Status = f.wish().status
	f.builder.Status.Run[0].Digest = "run2"
	b := f.plan(t, v1alpha1.BuildQueued)
	done(b)
	now := metav1.NewTime(noon)
	b.Status.CompletedAt = &now
	f.verdict = func(*v1alpha1.Published) (*v1alpha1.VerdictStatus, bool) { return nil, false }
	if w := f.wish(); len(w.remove) > 0 || len(w.status.Rebases) > 0 {
		t.Errorf("it goes, and the status says %+v", w.status)
	}
	f.verdict = func(*v1alpha1.Published) (*v1alpha1.VerdictStatus, bool) {
		return &v1alpha1.VerdictStatus{Action: "allow"}, true
	}
	if w := f.wish(); len(w.remove) != 1 || len(w.status.Rebases) != 1 || !w.rebased {
		t.Errorf("it is judged, and stays: %+v", w)
	}
}

func TestParseRebase(t *testing.T) {
	for name, want := range map[string]string{
		"shop-r2": "shop 2 true", "shop-r1-r12": "shop-r1 12 true",
		"shop-b2": " 0 false", "shop-r": " 0 false", "shop-r02": " 0 false", "shop-r+2": " 0 false", "shop-rail": " 0 false", "shop": " 0 false", "": " 0 false",
	} {
		image, number, ok := ParseRebase(name)
		if got := fmt.Sprint(image, " ", number, " ", ok); ok != strings.HasSuffix(want, "true") || ok && got != want {
			t.Errorf("%q: got %q", name, got)
		}
	}
}
