package build

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"

	"plimsoll.dev/plimsoll/api/v1alpha1"
	"plimsoll.dev/plimsoll/internal/controller"
	"plimsoll.dev/plimsoll/internal/controller/bed"
	"plimsoll.dev/plimsoll/internal/controller/image"
	"plimsoll.dev/plimsoll/internal/controller/logs"
	"plimsoll.dev/plimsoll/internal/controller/poll"
	"plimsoll.dev/plimsoll/internal/controller/tag"
	"plimsoll.dev/plimsoll/internal/testbed"
)

// errand is what the process of the controllers is told, in its environment.
type errand struct {
	Host   string
	TLS    rest.TLSClientConfig
	Source string // file that holds the commit
	Run    string // file that holds the digest of run:1
	Logs   string
}

// TestMain makes this program the process of an errand where it was sent for one.
func TestMain(m *testing.M) { testbed.Errands[errand](m) }

// Do runs the controllers until the process is ended.
func (e errand) Do() error {
	m, err := controller.New(&rest.Config{Host: e.Host, TLSClientConfig: e.TLS}, controller.Options{})
	if err != nil {
		return err
	}
	if err := tag.Registry("").Setup(m); err != nil {
		return err
	}
	var images *image.Images
	rebases, err := Setup(m, e, logs.New(e.Logs, 0), func(i types.NamespacedName) { images.Wake(i) }, Options{})
	if err != nil {
		return err
	}
	if images, err = image.Setup(m, e, rebases, image.Options{Poll: poll.Options{Interval: 100 * time.Millisecond}}); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	return m.Start(ctx)
}

func (e errand) Revision(context.Context, poll.Question, poll.Answer) (poll.Answer, error) {
	text, err := os.ReadFile(e.Source)
	return poll.Answer{Revision: string(text)}, err
}

func (e errand) Paths(context.Context, poll.Question, string, string) ([]string, error) {
	return nil, nil
}

func (e errand) Build(_ context.Context, job Job, log io.Writer, step func(v1alpha1.BuildStep)) (Outcome, error) {
	fmt.Fprintln(log, "building")
	step(v1alpha1.BuildStep{Name: "build"})
	return e.outcome(job)
}

func (e errand) Rebase(_ context.Context, jobs []Job, end func(int, Outcome, error)) {
	for i, job := range jobs {
		outcome, err := e.outcome(job)
		end(i, outcome, err)
	}
}

func (e errand) outcome(job Job) (Outcome, error) {
	run, err := os.ReadFile(e.Run)
	return Outcome{Digest: "sha256:" + job.Build.Name, Tags: []string{job.Image.Spec.Tag}, RunImage: &v1alpha1.Published{Image: "run:1", Digest: string(run)}}, err
}

// TestKilledAnywhere kills the controllers again and again while commits and bases change. In the
// end every Image is made from the newest, and nothing was done twice in a row.
func TestKilledAnywhere(t *testing.T) {
	const images, kills = 12, 15
	y := &yard{Bed: bed.New(t), hands: &hands{}}
	dir := t.TempDir()
	e := errand{Host: y.Config.Host, TLS: y.Config.TLSClientConfig, Source: filepath.Join(dir, "source"), Run: filepath.Join(dir, "run"), Logs: filepath.Join(dir, "logs")}
	put := func(path, text string) {
		if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+".new", path); err != nil {
			t.Fatal(err)
		}
	}
	put(e.Source, "commit0")
	put(e.Run, "run0")
	y.builder(t, "builder1", "run0")
	for k := range images {
		y.declare(t, fmt.Sprint("app-", k), nil)
	}
	for n := 1; n <= kills; n++ {
		process := testbed.Send(t, e)
		put(e.Source, fmt.Sprint("commit", n))
		put(e.Run, fmt.Sprint("run", n))
		y.builder(t, "builder1", fmt.Sprint("run", n))
		time.Sleep(time.Duration(rand.IntN(4000)) * time.Millisecond) // it is killed anywhere
		_ = process.Process.Kill()
		_ = process.Wait()
	}
	process := testbed.Send(t, e)
	defer func() {
		_ = process.Process.Kill()
		_ = process.Wait()
	}()
	builds := 0
	for k := range images {
		i := &v1alpha1.Image{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: fmt.Sprint("app-", k)}}
		y.Until(t, func() string {
			y.Get(t, i)
			if in := i.Status.Inputs; in.Source != fmt.Sprint("commit", kills) || in.RunDigest != fmt.Sprint("run", kills) {
				return fmt.Sprintf("%s is made from %s on %s", i.Name, in.Source, in.RunDigest)
			}
			return ""
		})
		y.ready(t, i, metav1.ConditionTrue, image.UpToDate)
		y.Until(t, func() string { // what was overtaken goes after the status was written
			for _, b := range y.builds(t, i) {
				if !b.Status.Phase.Ended() {
					return fmt.Sprintf("%s is %q still", b.Name, b.Status.Phase)
				}
			}
			y.Get(t, i)
			return ""
		})
		y.onceEach(t, i)
		builds += int(i.Status.Builds)
	}
	if builds < 3*images {
		t.Errorf("%d builds of %d Images: it was killed before it did anything", builds, images)
	}
	t.Logf("%d builds of %d Images while it was killed %d times", builds, images, kills)
}

// onceEach holds that no two builds or rebases of the Image in a row were from the same inputs, and that no
// rebase was written down that went well.
func (y *yard) onceEach(t *testing.T, i *v1alpha1.Image) {
	t.Helper()
	byNumber := map[int64]v1alpha1.Build{}
	var last int64
	for _, b := range y.builds(t, i) {
		byNumber[b.Spec.Number] = b
		last = max(last, b.Spec.Number)
		if !strings.HasPrefix(b.Name, i.Name+"-b") {
			t.Errorf("%s is no build of %s", b.Name, i.Name)
		}
	}
	for k, r := range i.Status.Rebases {
		if _, both := byNumber[r.Number]; both || k > 0 && r.Number <= i.Status.Rebases[k-1].Number {
			t.Errorf("%s: the rebase %d is there twice", i.Name, r.Number)
		}
		if was := r.Reasons[0].Was; was == r.RunDigest {
			t.Errorf("%s: the rebase %d is from %s to %s", i.Name, r.Number, was, r.RunDigest)
		}
	}
	for n := int64(2); n <= last; n++ {
		one, other := byNumber[n-1], byNumber[n]
		if one.Name != "" && other.Name != "" && one.Spec.Inputs == other.Spec.Inputs {
			t.Errorf("%s and %s are from the same inputs", one.Name, other.Name)
		}
	}
}
