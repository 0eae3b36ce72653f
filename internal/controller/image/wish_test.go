package image

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"plimsoll.dev/plimsoll/api/v1alpha1"
	"plimsoll.dev/plimsoll/internal/controller/poll"
	"plimsoll.dev/plimsoll/internal/controller/status"
	"plimsoll.dev/plimsoll/internal/controller/tag"
)

var noon = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

// known gives the facts of an Image that was built once from commit1, builder1 and run1, an hour
// ago, and that nothing has changed for.
func known() *facts {
	f := &facts{
		image:   &v1alpha1.Image{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "shop", UID: "shop-uid", Generation: 1}},
		builder: &v1alpha1.Builder{ObjectMeta: metav1.ObjectMeta{Name: "standard"}},
		bases:   func(string) *v1alpha1.BaseImage { return nil },
		source:  poll.State{Revision: "commit1"},
		touches: func(string, string, func(string) bool) (bool, bool) { return true, true },
		hold:    func([]v1alpha1.BuildReason) string { return "" },
		now:     noon,
	}
	f.image.Spec = v1alpha1.ImageSpec{
		Tag: "shop:1", Builder: v1alpha1.ClusterReference{Name: "standard"},
		Source: v1alpha1.ImageSource{Git: &v1alpha1.GitSource{URL: "https://git.example.com/shop.git"}},
	}
	f.builder.Status.Published = &v1alpha1.Published{Image: "standard:1", Digest: "builder1"}
	f.builder.Status.Run = []v1alpha1.RunStatus{{Published: v1alpha1.Published{Image: "run:1", Digest: "run1"}}}
	f.builder.Status.Buildpacks = []string{"plimsoll/go@1", "plimsoll/npm@1"}
	f.add(v1alpha1.BuildSucceeded, nil)
	return f
}

// now gives what the Image would be made from by the facts.
func (f *facts) inputs() v1alpha1.BuildInputs {
	f.settings, f.settingsDigest = Settings(&f.image.Spec)
	return f.wanted(f.absorb().Inputs)
}

// add adds a Build in the phase, from what is now.
func (f *facts) add(phase v1alpha1.BuildPhase, change func(*v1alpha1.Build)) *v1alpha1.Build {
	is := f.inputs()
	b := f.build(f.absorb().Inputs, is, []v1alpha1.BuildReason{{Type: v1alpha1.ReasonConfig}})
	b.Status.Phase, b.ResourceVersion = phase, "1"
	if phase.Ended() {
		at := metav1.NewTime(noon.Add(-time.Hour))
		b.Status.CompletedAt = &at
	}
	if phase == v1alpha1.BuildSucceeded {
		b.Status.Digest, b.Status.RunImage = fmt.Sprint("image", b.Spec.Number), &v1alpha1.Published{Image: "run:1", Digest: f.builder.Status.Run[0].Digest}
	}
	if change != nil {
		change(b)
	}
	f.builds, f.highest = append(f.builds, b), b.Spec.Number
	return b
}

// say gives the wish in words: "create b2 Rebase Security: BASE", "remove b1", the condition.
func (w wish) say() []string {
	var out []string
	if b := w.create; b != nil {
		out = append(out, fmt.Sprintf("create %s %s %s: %s", b.Name, b.Spec.Method, b.Spec.Priority, names(b.Spec.Reasons)))
	}
	for _, b := range w.remove {
		out = append(out, "remove "+b.Name)
	}
	c := meta.FindStatusCondition(w.status.Conditions, v1alpha1.ConditionReady)
	return append(out, fmt.Sprintf("Ready %s %s", c.Status, c.Reason))
}

func TestWish(t *testing.T) {
	const digest = "sha256:0123456789012345678901234567890123456789012345678901234567890123"
	for _, test := range []struct {
		name   string
		change func(f *facts)
		want   []string
	}{
		{"nothing has changed", func(*facts) {}, []string{"Ready True UpToDate"}},
		{"a commit", func(f *facts) { f.source.Revision = "commit2" }, []string{"create shop-b2 Build Commit: COMMIT", "Ready Unknown Building"}},
		{"another run image", func(f *facts) { f.builder.Status.Run[0].Digest = "run2" }, []string{"create shop-r2 Rebase Security: BASE", "Ready True UpToDate"}},
		{"another builder", func(f *facts) { f.builder.Status.Published.Digest = "builder2" }, []string{"create shop-b2 Build Routine: BUILDPACK", "Ready Unknown Building"}},
		{"another setting", func(f *facts) { f.image.Spec.Build.Process = "web" }, []string{"create shop-b2 Build Commit: CONFIG", "Ready Unknown Building"}},
		{"another tag beside", func(f *facts) { f.image.Spec.AdditionalTags = []string{"shop:latest"} }, []string{"create shop-b2 Build Commit: CONFIG", "Ready Unknown Building"}},
		{"what does not bear on the build", func(f *facts) {
			f.image.Spec.History.Failed, f.image.Spec.Build.Timeout = 3, &metav1.Duration{Duration: time.Minute}
			f.image.Spec.Build.Network, f.image.Spec.ServiceAccountName = v1alpha1.NetworkHost, "default"
		}, []string{"Ready True UpToDate"}},
		{"an override for an advisory", func(f *facts) { f.overrides = Held{Digest: digest, Advisories: []string{"CVE-1"}} }, []string{"create shop-b2 Build Security: ADVISORY", "Ready Unknown Building"}},
		{"an override for no advisory", func(f *facts) { f.overrides = Held{Digest: digest} }, []string{"create shop-b2 Build Commit: CONFIG", "Ready Unknown Building"}},
		{"an override of what is not in it", func(f *facts) { f.overrides = Held{Digest: digest, Idle: true} }, []string{"Ready True UpToDate"}},
		{"a commit meanwhile", func(f *facts) {
			f.overrides, f.source.Revision = Held{Digest: digest, Idle: true}, "commit2"
		}, []string{"create shop-b2 Build Commit: COMMIT", "Ready Unknown Building"}},
		{"somebody asks", func(f *facts) { f.image.Annotations = map[string]string{v1alpha1.AnnotationBuild: "now"} }, []string{"create shop-b2 Build Commit: TRIGGER", "Ready Unknown Building"}},
		{"somebody asked, and it was done", func(f *facts) {
			f.image.Annotations = map[string]string{v1alpha1.AnnotationBuild: "now"}
			f.add(v1alpha1.BuildSucceeded, nil)
		}, []string{"Ready True UpToDate"}},
		{"somebody takes back what he asked", func(f *facts) { f.image.Status.Trigger = "yesterday" }, []string{"Ready True UpToDate"}},
		{"a base and a commit are one build, and as urgent as the graver", func(f *facts) {
			f.builder.Status.Run[0].Digest, f.source.Revision = "run2", "commit2"
		}, []string{"create shop-b2 Build Security: BASE and COMMIT", "Ready Unknown Building"}},

		{"what waits for just this is left alone", func(f *facts) {
			f.source.Revision = "commit2"
			f.add("", nil)
		}, []string{"Ready Unknown Building"}},
		{"what waits is replaced when more changes", func(f *facts) {
			f.source.Revision = "commit2"
			f.add("", nil)
			f.source.Revision = "commit3"
		}, []string{"create shop-b3 Build Commit: COMMIT", "Ready Unknown Building"}},
		{"and removed when what replaces it is there", func(f *facts) {
			f.source.Revision = "commit2"
			f.add(v1alpha1.BuildQueued, nil)
			f.source.Revision = "commit3"
			f.add("", nil)
		}, []string{"remove shop-b2", "Ready Unknown Building"}},
		{"what waits is removed when all is as it was", func(f *facts) {
			f.source.Revision = "commit2"
			f.add("", nil)
			f.source.Revision = "commit1"
		}, []string{"remove shop-b2", "Ready True UpToDate"}},
		{"nothing is made while one runs", func(f *facts) {
			f.source.Revision = "commit2"
			f.add(v1alpha1.BuildRunning, nil)
			f.source.Revision = "commit3"
		}, []string{"Ready Unknown Building"}},
		{"nor beside what a campaign wants", func(f *facts) {
			f.builder.Status.Run[0].Digest = "run2"
			f.add("", func(b *v1alpha1.Build) { b.Labels[v1alpha1.LabelPatch] = "patch" })
			f.source.Revision = "commit2"
		}, []string{"Ready Unknown Building"}},

		{"a build that failed is not repeated", func(f *facts) {
			f.source.Revision = "commit2"
			f.add(v1alpha1.BuildFailed, nil)
		}, []string{"Ready False BuildFailed"}},
		{"nor one that was canceled", func(f *facts) {
			f.source.Revision = "commit2"
			f.add(v1alpha1.BuildCanceled, nil)
		}, []string{"Ready False BuildFailed"}},
		{"but when the Image was edited", func(f *facts) {
			f.source.Revision = "commit2"
			f.add(v1alpha1.BuildFailed, nil)
			f.image.Generation++
		}, []string{"create shop-b3 Build Commit: COMMIT", "Ready Unknown Building"}},
		{"or when something changed", func(f *facts) {
			f.source.Revision = "commit2"
			f.add(v1alpha1.BuildFailed, nil)
			f.source.Revision = "commit3"
		}, []string{"create shop-b3 Build Commit: COMMIT", "Ready Unknown Building"}},
		{"a mutable tag that is said to be another than it turns out to be makes no loop", func(f *facts) {
			f.builder.Status.Run[0].Digest = "run2"
			f.add(v1alpha1.BuildSucceeded, func(b *v1alpha1.Build) { b.Status.RunImage.Digest = "run1"; b.Status.Unchanged = true })
		}, []string{"Ready True UpToDate"}},

		{"a commit that touches nothing of it", func(f *facts) {
			f.source.Revision = "commit2"
			f.image.Spec.Triggers.Paths = []string{"/web/"}
			f.touches = paths("README.md", "docs/web/x")
		}, []string{"Ready True UpToDate"}},
		{"a commit that touches it", func(f *facts) {
			f.source.Revision = "commit2"
			f.image.Spec.Triggers.Paths = []string{"/web/"}
			f.touches = paths("README.md", "web/index.html")
		}, []string{"create shop-b2 Build Commit: COMMIT", "Ready Unknown Building"}},
		{"by default only the folder that is built counts", func(f *facts) {
			f.image.Spec.Source.Subpath = "services/[a]"
			f.add(v1alpha1.BuildSucceeded, nil)
			f.source.Revision = "commit2"
			f.touches = paths("services/a/main.go", "other/services/[a]/main.go")
		}, []string{"Ready True UpToDate"}},
		{"and does", func(f *facts) {
			f.image.Spec.Source.Subpath = "services/[a]"
			f.add(v1alpha1.BuildSucceeded, nil)
			f.source.Revision = "commit2"
			f.touches = paths("services/[a]/main.go")
		}, []string{"create shop-b3 Build Commit: COMMIT", "Ready Unknown Building"}},
		{"nothing is built while nobody knows what a commit touches", func(f *facts) {
			f.source.Revision = "commit2"
			f.image.Spec.Triggers.Paths = []string{"/web/"}
			f.touches = func(string, string, func(string) bool) (bool, bool) { return false, false }
		}, []string{"Ready True UpToDate"}},

		{"suspended", func(f *facts) {
			f.source.Revision = "commit2"
			f.add("", nil)
			f.image.Spec.Suspend = true
		}, []string{"remove shop-b2", "Ready Unknown Suspended"}},
		{"held back", func(f *facts) {
			f.builder.Status.Run[0].Digest = "run2"
			f.hold = func([]v1alpha1.BuildReason) string { return "the campaign openssl will see to it" }
		}, []string{"Ready True HeldBack"}},
		{"another has the tag", func(f *facts) { f.refusal, f.source.Revision = &tag.Refusal{Reason: status.TagTaken}, "commit2" }, []string{"Ready False TagTaken"}},
		{"there is no builder", func(f *facts) { f.builder = nil }, []string{"Ready False BuilderNotFound"}},
		{"the builder was never built", func(f *facts) { f.builds, f.builder.Status = nil, v1alpha1.BuilderStatus{} }, []string{"Ready Unknown BuilderNotReady"}},
		{"the source was not asked yet", func(f *facts) { f.builds, f.source = nil, poll.State{} }, []string{"Ready Unknown SourceUnknown"}},
		{"the source has never answered", func(f *facts) {
			f.builds, f.source = nil, poll.State{Err: errors.New("no such repository"), Failures: 1}
		}, []string{"Ready False SourceUnavailable"}},
		{"the source is away, and the image stands", func(f *facts) { f.source.Err, f.source.Failures = errors.New("refused"), 9 }, []string{"Ready True UpToDate"}},
		{"the source is away, and the base is fixed all the same", func(f *facts) {
			f.source.Err, f.source.Failures, f.builder.Status.Run[0].Digest = errors.New("refused"), 9, "run2"
		}, []string{"create shop-r2 Rebase Security: BASE", "Ready True UpToDate"}},
		{"the first build", func(f *facts) { f.builds, f.highest = nil, 0 }, []string{"create shop-b1 Build Commit: CONFIG", "Ready Unknown Building"}},
		{"a number that another Image of this name had is not given again", func(f *facts) { f.builds, f.highest = nil, 7 }, []string{"create shop-b8 Build Commit: CONFIG", "Ready Unknown Building"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := known()
			test.change(f)
			w := f.wish()
			if diff := cmp.Diff(test.want, w.say()); diff != "" {
				t.Fatalf("(-want +got):\n%s", diff)
			}
			again(t, f, w)
		})
	}
}

// again holds that a second look, with what the first has written, wishes nothing more.
func again(t *testing.T, f *facts, w wish) {
	t.Helper()
	if w.create != nil {
		f.builds, f.highest = append(f.builds, w.create), w.create.Spec.Number
	}
	f.image.Status = w.status
	second := f.wish()
	if second.create != nil {
		t.Errorf("a second look would make %s, too", second.create.Name)
	}
	if diff := cmp.Diff(w.status, second.status); diff != "" {
		t.Errorf("a second look would write (-first +second):\n%s", diff)
	}
}

// paths is what lies between any two commits.
func paths(all ...string) func(from, to string, match func(string) bool) (bool, bool) {
	return func(_, _ string, match func(string) bool) (bool, bool) {
		for _, path := range all {
			if match(path) {
				return true, true
			}
		}
		return false, true
	}
}

func TestReasonsSayWhatChanged(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(f *facts)
		want   v1alpha1.BuildReason
	}{
		{"a commit", func(f *facts) { f.source.Revision = "commit2" }, v1alpha1.BuildReason{Type: v1alpha1.ReasonCommit, Was: "commit1", Is: "commit2"}},
		{"a base whose changes are known", func(f *facts) {
			f.builder.Status.Run[0].Digest = "run2"
			f.bases = func(string) *v1alpha1.BaseImage {
				return &v1alpha1.BaseImage{Status: v1alpha1.BaseImageStatus{Published: &v1alpha1.Published{Digest: "run2"}, Previous: []string{"run1"}, Changes: []string{"openssl 1 → 2"}}}
			}
		}, v1alpha1.BuildReason{Type: v1alpha1.ReasonBase, Was: "run1", Is: "run2", Detail: "run:1:\nopenssl 1 → 2"}},
		{"a base whose changes are another's", func(f *facts) {
			f.builder.Status.Run[0].Digest = "run2"
			f.bases = func(string) *v1alpha1.BaseImage {
				return &v1alpha1.BaseImage{Status: v1alpha1.BaseImageStatus{Published: &v1alpha1.Published{Digest: "run3"}, Changes: []string{"openssl 1 → 2"}}}
			}
		}, v1alpha1.BuildReason{Type: v1alpha1.ReasonBase, Was: "run1", Is: "run2", Detail: "run:1"}},
		{"a builder", func(f *facts) {
			f.builder.Status.Published.Digest, f.builder.Status.Buildpacks = "builder2", []string{"plimsoll/go@2", "plimsoll/npm@1"}
		}, v1alpha1.BuildReason{Type: v1alpha1.ReasonBuildpack, Was: "builder1", Is: "builder2", Detail: "standard:\n- plimsoll/go@1\n+ plimsoll/go@2"}},
		{"overrides", func(f *facts) {
			f.overrides = Held{Digest: "o", Advisories: []string{"CVE-1"}, Text: "npm lodash >= 4.17.21"}
		}, v1alpha1.BuildReason{Type: v1alpha1.ReasonAdvisory, Is: "o", Detail: "dependency overrides that hold now:\nnpm lodash >= 4.17.21"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := known()
			test.change(f)
			if diff := cmp.Diff([]v1alpha1.BuildReason{test.want}, f.wish().create.Spec.Reasons); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestHistoryIsCut(t *testing.T) {
	f := known()
	f.image.Spec.History = v1alpha1.ImageHistory{Succeeded: 2, Failed: 1}
	for n := range 6 {
		f.source.Revision = fmt.Sprint("commit", n+2)
		phase := v1alpha1.BuildSucceeded
		if n%2 == 1 {
			phase = v1alpha1.BuildFailed
		}
		f.add(phase, func(b *v1alpha1.Build) {
			if phase == v1alpha1.BuildSucceeded {
				b.Spec.Method = v1alpha1.MethodRebase
			}
		})
	}
	// 1 from source, 2, 4, 6 rebases, 3, 5, 7 failed: the newest from source stays as well.
	if diff := cmp.Diff([]string{"remove shop-b5", "remove shop-b3", "remove shop-b2", "Ready False BuildFailed"}, f.wish().say()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	at := metav1.NewTime(noon.Add(-10 * time.Second))
	f.builds[6].Status.CompletedAt = &at
	if w := f.wish(); len(w.remove) != 0 || w.again != 50*time.Second {
		t.Errorf("moments after a build it removes %d Builds, and looks again in %s", len(w.remove), w.again)
	}
}

func TestAbsorbDoesNotGoBack(t *testing.T) {
	f := known()
	f.source.Revision = "commit2"
	f.add(v1alpha1.BuildSucceeded, nil)
	f.image.Status = f.wish().status
	f.builds = f.builds[:1] // somebody deleted the newest
	w := f.wish()
	if w.create != nil || w.status.LatestImage.Digest != "image2" || w.status.Inputs.Source != "commit2" {
		t.Errorf("it goes back to %+v, and makes %v", w.status, w.create)
	}
}

// TestTheVerdictStays while another on the same image is being found, so that the status is not written
// with none in between.
func TestTheVerdictStays(t *testing.T) {
	allow, deny := &v1alpha1.VerdictStatus{Action: "allow"}, &v1alpha1.VerdictStatus{Action: "deny"}
	for _, test := range []struct {
		name    string
		rebased bool
		verdict *v1alpha1.VerdictStatus
		known   bool
		want    *v1alpha1.VerdictStatus
	}{
		{"it is being found", false, nil, false, allow},
		{"it is another", false, deny, true, deny},
		{"nobody judges any more", false, nil, true, nil},
		{"it is being found, of another image", true, nil, false, nil},
		{"it is known, of another image", true, deny, true, deny},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := known()
			f.verdict = func(*v1alpha1.Published) (*v1alpha1.VerdictStatus, bool) { return allow, true }
			f.image.Status = f.wish().status
			if test.rebased {
				f.add(v1alpha1.BuildSucceeded, func(b *v1alpha1.Build) { b.Spec.Method = v1alpha1.MethodRebase })
			}
			f.verdict = func(*v1alpha1.Published) (*v1alpha1.VerdictStatus, bool) { return test.verdict, test.known }
			w := f.wish()
			if again := w.again != 0; again == test.known || w.again > unjudged {
				t.Errorf("it looks again in %s at what is an hour old", w.again)
			}
			if diff := cmp.Diff(test.want, w.status.Verdict); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if w.rebased != test.rebased {
				t.Errorf("rebased is %v", w.rebased)
			}
		})
	}
}

// TestTheStatusWaitsForTheVerdict on an image that is new, for a moment.
func TestTheStatusWaitsForTheVerdict(t *testing.T) {
	f := known()
	f.image.Status = f.wish().status
	f.add(v1alpha1.BuildSucceeded, func(b *v1alpha1.Build) {
		at := metav1.NewTime(noon.Add(-time.Second))
		b.Status.CompletedAt = &at
	})
	f.verdict = func(*v1alpha1.Published) (*v1alpha1.VerdictStatus, bool) { return nil, false }
	if w := f.wish(); w.status.LatestImage.Digest != "image1" || w.again != patience {
		t.Errorf("it names %s, and looks again in %s", w.status.LatestImage.Digest, w.again)
	}
	f.now = noon.Add(patience)
	if w := f.wish(); w.status.LatestImage.Digest != "image2" {
		t.Errorf("it names %s, and waits on", w.status.LatestImage.Digest)
	}
	f.now = noon
	f.verdict = func(*v1alpha1.Published) (*v1alpha1.VerdictStatus, bool) {
		return &v1alpha1.VerdictStatus{Action: "allow"}, true
	}
	if w := f.wish(); w.status.LatestImage.Digest != "image2" || w.status.Verdict.Action != "allow" {
		t.Errorf("it is judged, and it names %s", w.status.LatestImage.Digest)
	}
}

func TestOverwritten(t *testing.T) {
	at := func(version string) *v1alpha1.Image {
		return &v1alpha1.Image{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "shop", ResourceVersion: version}}
	}
	var o overwritten
	o.note(at("1"), at("1"))
	if o.is(at("1")) {
		t.Error("what was written and changed nothing counts")
	}
	o.note(at("1"), at("2"))
	for range 2 {
		if !o.is(at("1")) {
			t.Error("the cache is behind, and is believed")
		}
	}
	if o.is(at("2")) || o.is(at("3")) {
		t.Error("what the cache has is not believed")
	}
	o.note(at("3"), at("4"))
	o.forget(client.ObjectKeyFromObject(at("3")))
	if len(o.versions) != 0 {
		t.Errorf("it keeps %v", o.versions)
	}
}

func TestFreshTellsOfASourceThatIsAway(t *testing.T) {
	f := known()
	says := func() string {
		f.image.Status = f.wish().status
		return status.Says(&f.image.Status.Status, v1alpha1.ConditionFresh)
	}
	if got := says(); got != "" {
		t.Errorf("it has the condition %q without need", got)
	}
	f.source.Err, f.source.Failures = errors.New("refused"), 1
	if got := says(); got != "" {
		t.Errorf("one failure makes it %q", got)
	}
	f.source.Failures = poll.Alarming
	if got := says(); got != SourceAway {
		t.Errorf("it is %q", got)
	}
	f.source = poll.State{Revision: "commit1"}
	if got := says(); got != UpToDate {
		t.Errorf("it is %q", got)
	}
}

func TestDiffering(t *testing.T) {
	for _, test := range []struct{ was, is, want string }{
		{"", "", ""},
		{"a\nb\nc\n", "a\nb\nc\n", ""},
		{"a\nb\nc\n", "a\nx\nc\n", "- b\n+ x"},
		{"", "a\n", "+ a"},
		{"a\nb\n", "b\na\n", "- a\n+ a"},
		{strings.Repeat("x\n", 500), "", "too many lines to compare"},
	} {
		if got := differing(test.was, test.is); got != test.want {
			t.Errorf("%q to %q: %q, want %q", test.was, test.is, got, test.want)
		}
	}
}

// TestSettingsStay holds the digest of settings against what an earlier version wrote: another one
// builds every Image of every site again.
func TestSettingsStay(t *testing.T) {
	f := known()
	text, digest := Settings(&f.image.Spec)
	if want := "source: https://git.example.com/shop.git\n"; text != want {
		t.Errorf("got %q, want %q", text, want)
	}
	if want := "sha256:"; !strings.HasPrefix(digest, want) || len(digest) != 71 {
		t.Errorf("the digest is %q", digest)
	}
}
