package build

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"plimsoll.dev/plimsoll/api/v1alpha1"
	"plimsoll.dev/plimsoll/internal/controller"
	"plimsoll.dev/plimsoll/internal/controller/bed"
	"plimsoll.dev/plimsoll/internal/controller/image"
	"plimsoll.dev/plimsoll/internal/controller/logs"
	"plimsoll.dev/plimsoll/internal/controller/poll"
	"plimsoll.dev/plimsoll/internal/controller/tag"
)

// hands is a worker that does what tests say.
type hands struct {
	build func(ctx context.Context, job Job, log io.Writer, step func(v1alpha1.BuildStep)) (Outcome, error)

	mu     sync.Mutex
	rebase func(job Job) (Outcome, error) // nil does what there is to do
	builds []string                       // "NAME of SOURCE", as they began
	fleets [][]string
	run    string // digest of the run image now
	away   int32  // how many attempts at a rebase find that the registry is away
}

func (h *hands) Build(ctx context.Context, job Job, log io.Writer, step func(v1alpha1.BuildStep)) (Outcome, error) {
	h.mu.Lock()
	h.builds = append(h.builds, job.Build.Name+" of "+job.Build.Spec.Inputs.Source)
	build := h.build
	h.mu.Unlock()
	if build != nil {
		return build(ctx, job, log, step)
	}
	return h.outcome(job), nil
}

func (h *hands) Rebase(_ context.Context, jobs []Job, end func(int, Outcome, error)) {
	var names []string
	for _, job := range jobs {
		names = append(names, job.Build.Name)
	}
	h.mu.Lock()
	h.fleets = append(h.fleets, names)
	tries, rebase := h.away, h.rebase
	h.mu.Unlock()
	for i, job := range jobs {
		switch {
		case job.Build.Status.Attempts < tries:
			end(i, Outcome{}, away)
		case rebase != nil:
			outcome, err := rebase(job)
			end(i, outcome, err)
		default:
			end(i, h.outcome(job), nil)
		}
	}
}

// tries gives how often each rebase was tried.
func (h *hands) tries() map[string]int {
	h.mu.Lock()
	defer h.mu.Unlock()
	out := map[string]int{}
	for _, fleet := range h.fleets {
		for _, name := range fleet {
			out[name]++
		}
	}
	return out
}

// put sets what rebasing means from now on, and how many attempts find that the registry is away.
func (h *hands) put(away int32, rebase func(Job) (Outcome, error)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.away, h.rebase = away, rebase
}

func (h *hands) outcome(job Job) Outcome {
	h.mu.Lock()
	defer h.mu.Unlock()
	return Outcome{
		Digest: "sha256:" + job.Build.Name, Tags: []string{job.Image.Spec.Tag},
		RunImage: &v1alpha1.Published{Image: "run:1", Digest: h.run}, Buildpacks: []string{"plimsoll/go@1"},
	}
}

// do sets what building means from now on.
func (h *hands) do(build func(ctx context.Context, job Job, log io.Writer, step func(v1alpha1.BuildStep)) (Outcome, error)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.build = build
}

// sources gives what tests say.
type sources struct {
	mu       sync.Mutex
	revision string
}

func (s *sources) Revision(context.Context, poll.Question, poll.Answer) (poll.Answer, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return poll.Answer{Revision: s.revision}, nil
}

func (s *sources) Paths(context.Context, poll.Question, string, string) ([]string, error) {
	return nil, nil
}

// yard is an API server with Images and Builds at work.
type yard struct {
	*bed.Bed
	hands   *hands
	sources *sources
	images  *image.Images
	rebases *Rebases
	logs    *logs.Store
	options Options
	writes  *atomic.Int64 // requests of the manager that change something
	stop    func()
}

func newYard(t testing.TB, o Options) *yard {
	t.Helper()
	y := &yard{Bed: bed.New(t), hands: &hands{run: "run1"}, sources: &sources{revision: "commit1"}, logs: logs.New(t.TempDir(), 0), options: o, writes: &atomic.Int64{}}
	inner := y.Config.WrapTransport
	y.Config.WrapTransport = func(next http.RoundTripper) http.RoundTripper {
		if inner != nil {
			next = inner(next)
		}
		return counting{next, y.writes}
	}
	y.builder(t, "builder1", "run1")
	y.start(t)
	return y
}

// counting counts requests that change our resources.
type counting struct {
	http.RoundTripper
	writes *atomic.Int64
}

func (c counting) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Method != http.MethodGet && strings.Contains(r.URL.Path, v1alpha1.GroupVersion.Group) {
		c.writes.Add(1)
	}
	return c.RoundTripper.RoundTrip(r)
}

func (y *yard) start(t testing.TB) {
	t.Helper()
	y.stop = y.Manager(t, controller.Options{}, func(m ctrl.Manager) (err error) {
		if err := tag.Registry("").Setup(m); err != nil {
			return err
		}
		y.rebases, err = Setup(m, y.hands, y.logs, func(i types.NamespacedName) { y.images.Wake(i) }, y.options)
		if err != nil {
			return err
		}
		y.images, err = image.Setup(m, y.sources, y.rebases, image.Options{})
		return err
	})
}

// builder says what the Builder "standard" is now, and what run:1 names.
func (y *yard) builder(t testing.TB, digest, run string) {
	t.Helper()
	var b v1alpha1.Builder
	b.Name = "standard"
	b.Spec = v1alpha1.BuilderSpec{
		Build:      v1alpha1.BuildBase{Image: "build:1"},
		Run:        []v1alpha1.RunBase{{Image: "run:1"}},
		Lifecycle:  v1alpha1.LifecycleSource{Image: "lifecycle:1"},
		Buildpacks: []v1alpha1.BuildpackSource{{Image: "go:1"}},
		Order:      []v1alpha1.OrderGroup{{Group: []v1alpha1.OrderEntry{{ID: "plimsoll/go"}}}},
	}
	if err := y.Client.Create(t.Context(), &b); client.IgnoreAlreadyExists(err) != nil {
		t.Fatal(err)
	}
	y.hands.mu.Lock()
	y.hands.run = run
	y.hands.mu.Unlock()
	y.Until(t, func() string {
		y.Get(t, &b)
		b.Status.Published = &v1alpha1.Published{Image: "standard:1", Digest: digest}
		b.Status.Run = []v1alpha1.RunStatus{{Published: v1alpha1.Published{Image: "run:1", Digest: run}}}
		b.Status.Buildpacks = []string{"plimsoll/go@1"}
		if err := y.Client.Status().Update(t.Context(), &b); err != nil {
			return err.Error()
		}
		return ""
	})
}

// push has the sources at another commit, and every Image asked.
func (y *yard) push(commit string, images ...*v1alpha1.Image) {
	y.sources.mu.Lock()
	y.sources.revision = commit
	y.sources.mu.Unlock()
	for _, i := range images {
		y.images.Ask(client.ObjectKeyFromObject(i))
	}
}

func (y *yard) declare(t testing.TB, name string, change func(*v1alpha1.ImageSpec)) *v1alpha1.Image {
	t.Helper()
	i := &v1alpha1.Image{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name}}
	i.Spec = v1alpha1.ImageSpec{
		Tag: "default/" + name + ":1", Builder: v1alpha1.ClusterReference{Name: "standard"},
		Source: v1alpha1.ImageSource{Git: &v1alpha1.GitSource{URL: "https://git.example.com/shop.git", Revision: "main"}},
	}
	if change != nil {
		change(&i.Spec)
	}
	y.Create(t, i)
	return i
}

func (y *yard) ready(t testing.TB, i *v1alpha1.Image, is metav1.ConditionStatus, reason string) string {
	t.Helper()
	return y.UntilCondition(t, i, &i.Status.Status, v1alpha1.ConditionReady, is, reason)
}

// phase waits until the Image's Build of that number is in the phase.
func (y *yard) phase(t testing.TB, i *v1alpha1.Image, number int64, phase v1alpha1.BuildPhase) *v1alpha1.Build {
	t.Helper()
	return y.inPhase(t, i, image.Name(i.Name, number), phase)
}

// inPhase waits until the Image's Build of that name is in the phase.
func (y *yard) inPhase(t testing.TB, i *v1alpha1.Image, name string, phase v1alpha1.BuildPhase) *v1alpha1.Build {
	t.Helper()
	b := &v1alpha1.Build{ObjectMeta: metav1.ObjectMeta{Namespace: i.Namespace, Name: name}}
	y.Until(t, func() string {
		key := client.ObjectKeyFromObject(b)
		*b = v1alpha1.Build{}
		b.Namespace, b.Name = key.Namespace, key.Name
		if err := y.Client.Get(t.Context(), key, b); err != nil {
			return err.Error()
		}
		if b.Status.Phase != phase {
			return fmt.Sprintf("%s is %q: %s", b.Name, b.Status.Phase, b.Status.Message)
		}
		return ""
	})
	return b
}

// builds gives the Builds of the Image.
func (y *yard) builds(t testing.TB, i *v1alpha1.Image) []v1alpha1.Build {
	t.Helper()
	var list v1alpha1.BuildList
	if err := y.Client.List(t.Context(), &list, client.InNamespace(i.Namespace), client.MatchingLabels{v1alpha1.LabelImage: i.Name}); err != nil {
		t.Fatal(err)
	}
	return list.Items
}
