package poll

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/types"

	"plimsoll.dev/plimsoll/api/v1alpha1"
	"plimsoll.dev/plimsoll/internal/fault"
)

// git is a source whose answers tests set.
type git struct {
	mu       sync.Mutex
	revision string
	err      error
	paths    []string
	pathsErr error
	asked    []time.Time
	last     []Answer
	compared int
}

func (g *git) Revision(_ context.Context, _ Question, last Answer) (Answer, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.asked = append(g.asked, time.Now())
	g.last = append(g.last, last)
	return Answer{Revision: g.revision, Validator: "etag of " + g.revision}, g.err
}

func (g *git) Paths(context.Context, Question, string, string) ([]string, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.compared++
	return g.paths, g.pathsErr
}

func (g *git) set(revision string, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.revision, g.err = revision, err
}

// questions gives how many there were since the last call.
func (g *git) questions() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	n := len(g.asked)
	g.asked = nil
	return n
}

// bed is a Poller in a bubble of time that runs.
type bed struct {
	*Poller
	git  *git
	mu   sync.Mutex
	told []string
}

// run runs the test with a Poller, on a clock that jumps to the next thing that happens.
func run(t *testing.T, o Options, test func(t *testing.T, b *bed)) {
	synctest.Test(t, func(t *testing.T) {
		b := &bed{git: &git{revision: "one"}}
		b.Poller = New(b.git, func(name types.NamespacedName) {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.told = append(b.told, name.Name)
		}, o)
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { _ = b.Start(ctx) })
		test(t, b)
		cancel()
		running.Wait()
	})
}

// after lets the time pass and gives who was told in it.
func (b *bed) after(d time.Duration) []string {
	time.Sleep(d) // the bubble's time
	synctest.Wait()
	b.mu.Lock()
	defer b.mu.Unlock()
	told := b.told
	b.told = nil
	return told
}

func image(name string) types.NamespacedName {
	return types.NamespacedName{Namespace: "shop", Name: name}
}

var shop = Question{Kind: Git, Location: "https://git.example.com/shop.git", Namespace: "shop", ServiceAccount: "default"}

func TestAThousandFollowersAreOneQuestion(t *testing.T) {
	run(t, Options{}, func(t *testing.T, b *bed) {
		known := 0
		for i := range 1000 {
			if state := b.Follow(image(fmt.Sprint(i)), shop, "", 0); state.Revision != "" {
				known++ // it came after the answer
			}
		}
		if told := b.after(time.Minute); known+len(told) < 1000 || b.git.questions() != 1 {
			t.Fatalf("%d knew at once, %d were told", known, len(told))
		}
		if told := b.after(time.Hour); len(told) != 0 {
			t.Errorf("%d were told of nothing new", len(told))
		}
		if n := b.git.questions(); n < 10 || n > 14 {
			t.Errorf("%d questions in an hour, want one every five minutes", n)
		}
		if last := b.git.last[len(b.git.last)-1]; last.Validator != "etag of one" {
			t.Errorf("the question is not conditional: %+v", last)
		}
		b.git.set("two", nil)
		if told := b.after(6 * time.Minute); len(told) != 1000 {
			t.Errorf("%d were told of what is new", len(told))
		}
		if state := b.Follow(image("7"), shop, "", 0); state != (State{Revision: "two"}) {
			t.Errorf("it knows %+v", state)
		}
	})
}

func TestARestartAsksNobodyAtOnce(t *testing.T) {
	run(t, Options{Interval: 100 * time.Minute}, func(t *testing.T, b *bed) {
		for i := range 1000 {
			q := shop
			q.Revision = fmt.Sprint("branch", i)
			if state := b.Follow(image(fmt.Sprint(i)), q, "one", 0); state.Revision != "one" {
				t.Fatal("what the Image remembers is not known")
			}
		}
		b.after(10 * time.Minute)
		if n := b.git.questions(); n < 50 || n > 150 {
			t.Errorf("%d questions in the first tenth, want about a hundred", n)
		}
		if told := b.after(100 * time.Minute); len(told) > 0 {
			t.Errorf("%d were told what they remember", len(told))
		}
	})
}

func TestWhoDoesNotAnswerIsAskedLessOften(t *testing.T) {
	run(t, Options{}, func(t *testing.T, b *bed) {
		b.Follow(image("a"), shop, "one", 0)
		b.after(10 * time.Minute)
		b.git.questions()
		away := fault.Newf(fault.Unavailable, "ask", "git.example.com", "connection refused")
		b.git.set("", away)
		told := b.after(24 * time.Hour)
		if n := b.git.questions(); n < 20 || n > 32 {
			t.Errorf("%d questions in a day, want some, then one an hour", n)
		}
		if len(told) != 1 {
			t.Errorf("followers were told %d times that it is away", len(told))
		}
		state := b.Follow(image("a"), shop, "", 0)
		if state.Revision != "one" || !errors.Is(state.Err, error(away)) || state.Failures < Alarming {
			t.Errorf("it knows %+v", state)
		}
		b.git.set("one", nil)
		if told := b.after(2 * time.Hour); len(told) != 1 {
			t.Errorf("followers were told %d times that it is back", len(told))
		}
		if n := b.git.questions(); n < 8 {
			t.Errorf("only %d questions since it is back", n)
		}
	})
}

func TestAFirstFailureIsToldAtOnce(t *testing.T) {
	run(t, Options{}, func(t *testing.T, b *bed) {
		b.git.set("", errors.New("no such repository"))
		b.Follow(image("a"), shop, "", 0)
		if told := b.after(time.Second); len(told) != 1 {
			t.Errorf("told %v", told)
		}
	})
}

func TestAskIsAtOnceAndCoalesced(t *testing.T) {
	run(t, Options{Interval: 10 * time.Hour}, func(t *testing.T, b *bed) {
		b.Follow(image("a"), shop, "one", 0)
		b.git.set("two", nil)
		for range 100 {
			if !b.Ask(image("a")) {
				t.Fatal("it follows nothing")
			}
		}
		if told := b.after(time.Second); !cmp.Equal(told, []string{"a"}) {
			t.Errorf("told %v", told)
		}
		if n := b.git.questions(); n > 2 {
			t.Errorf("a hundred calls were %d questions", n)
		}
		if b.Ask(image("unknown")) {
			t.Error("an unknown Image can be asked for")
		}
	})
}

func TestTheLeastPatientFollowerCounts(t *testing.T) {
	run(t, Options{Interval: 10 * time.Hour}, func(t *testing.T, b *bed) {
		b.Follow(image("a"), shop, "one", 0)
		b.Follow(image("b"), shop, "one", time.Minute)
		b.after(time.Hour)
		if n := b.git.questions(); n < 50 || n > 70 {
			t.Errorf("%d questions in an hour", n)
		}
		b.Forget(image("b"))
		b.after(2 * time.Minute)
		b.git.questions()
		b.after(8 * time.Hour)
		if n := b.git.questions(); n > 1 {
			t.Errorf("%d questions in eight hours", n)
		}
		b.Forget(image("a"))
		b.after(100 * time.Hour)
		if n := b.git.questions(); n > 0 {
			t.Errorf("%d questions for nobody", n)
		}
	})
}

func TestFollowMovesToAnotherSource(t *testing.T) {
	run(t, Options{}, func(t *testing.T, b *bed) {
		b.Follow(image("a"), shop, "", 0)
		b.after(time.Second)
		other := shop
		other.Revision = "next"
		if state := b.Follow(image("a"), other, "", 0); state.Revision != "" {
			t.Errorf("it takes the answer of another branch: %+v", state)
		}
		if len(b.asked) != 1 {
			t.Errorf("%d sources are asked", len(b.asked))
		}
	})
}

func TestTouches(t *testing.T) {
	away := fault.Newf(fault.Unavailable, "ask", "git.example.com", "connection refused")
	inWeb := func(path string) bool { return strings.HasPrefix(path, "web/") }
	for _, test := range []struct {
		name    string
		paths   []string
		err     error
		touches bool
		known   bool
	}{
		{name: "a file that matches", paths: []string{"README.md", "web/index.html"}, touches: true, known: true},
		{name: "none that matches", paths: []string{"README.md"}, known: true},
		{name: "no file at all", known: true},
		{name: "nobody can tell", err: errors.New("unrelated histories"), touches: true, known: true},
		{name: "it does not answer", err: away},
		{name: "more than anybody remembers", paths: make([]string, mostPaths+1), touches: true, known: true},
	} {
		t.Run(test.name, func(t *testing.T) {
			run(t, Options{}, func(t *testing.T, b *bed) {
				b.git.paths, b.git.pathsErr = test.paths, test.err
				b.Follow(image("a"), shop, "one", 0)
				if _, known := b.Touches(image("a"), "one", "two", inWeb); known {
					t.Fatal("it knows what nobody asked")
				}
				told := b.after(time.Second)
				if len(told) > 0 != test.known {
					t.Errorf("told %v", told)
				}
				touches, known := b.Touches(image("a"), "one", "two", inWeb)
				if touches != test.touches || known != test.known {
					t.Errorf("touches %v, known %v", touches, known)
				}
				b.after(time.Hour)
				if b.git.compared > 12 {
					t.Errorf("compared %d times in an hour", b.git.compared)
				}
			})
		})
	}
}

func TestQuestionOf(t *testing.T) {
	const id = "0123456789012345678901234567890123456789"
	const digest = "sha256:0123456789012345678901234567890123456789012345678901234567890123"
	for _, test := range []struct {
		name   string
		source v1alpha1.ImageSource
		want   Question
		fixed  string
	}{
		{name: "a branch", source: v1alpha1.ImageSource{Git: &v1alpha1.GitSource{URL: "u", Revision: "main"}}, want: Question{Kind: Git, Location: "u", Revision: "main"}},
		{name: "a commit", source: v1alpha1.ImageSource{Git: &v1alpha1.GitSource{URL: "u", Revision: id}}, want: Question{Kind: Git, Location: "u", Revision: id}, fixed: id},
		{name: "a branch that looks like a short commit", source: v1alpha1.ImageSource{Git: &v1alpha1.GitSource{URL: "u", Revision: "0123456"}}, want: Question{Kind: Git, Location: "u", Revision: "0123456"}},
		{name: "an archive", source: v1alpha1.ImageSource{Archive: &v1alpha1.ArchiveSource{URL: "u"}}, want: Question{Kind: Archive, Location: "u"}},
		{name: "an archive with its checksum", source: v1alpha1.ImageSource{Archive: &v1alpha1.ArchiveSource{URL: "u", Checksum: digest}}, want: Question{Kind: Archive, Location: "u"}, fixed: digest},
		{name: "an artifact", source: v1alpha1.ImageSource{Artifact: &v1alpha1.ArtifactSource{Image: "r:1"}}, want: Question{Kind: Artifact, Location: "r:1"}},
		{name: "an artifact by its digest", source: v1alpha1.ImageSource{Artifact: &v1alpha1.ArtifactSource{Image: "r@" + digest}}, want: Question{Kind: Artifact, Location: "r@" + digest}, fixed: digest},
		{name: "nothing"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var i v1alpha1.Image
			i.Namespace, i.Spec.ServiceAccountName, i.Spec.Source = "n", "a", test.source
			test.want.Namespace, test.want.ServiceAccount = "n", "a"
			got, fixed := QuestionOf(&i)
			if diff := cmp.Diff(test.want, got); diff != "" || fixed != test.fixed {
				t.Errorf("fixed %q (-want +got):\n%s", fixed, diff)
			}
		})
	}
}
