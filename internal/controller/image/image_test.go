package image

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"plimsoll.dev/plimsoll/api/v1alpha1"
	"plimsoll.dev/plimsoll/internal/controller"
	"plimsoll.dev/plimsoll/internal/controller/bed"
	"plimsoll.dev/plimsoll/internal/controller/poll"
	"plimsoll.dev/plimsoll/internal/controller/tag"
)

// repository is a source whose newest commit tests set.
type repository struct {
	mu       sync.Mutex
	revision string
	err      error
	paths    []string
}

func (r *repository) Revision(context.Context, poll.Question, poll.Answer) (poll.Answer, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return poll.Answer{Revision: r.revision}, r.err
}

func (r *repository) Paths(context.Context, poll.Question, string, string) ([]string, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.paths, nil
}

func (r *repository) push(revision string, paths ...string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.revision, r.paths = revision, paths
}

// desk is an API server with the reconciler at work, on which the test plays who runs Builds.
type desk struct {
	*bed.Bed
	source   *repository
	rebases  *shelf
	images   *Images
	registry tag.Registry
	cache    client.Reader
	stop     func()
}

// shelf is Rebases that the test does.
type shelf struct {
	mu  sync.Mutex
	all []*v1alpha1.Build
}

func (s *shelf) Add(b *v1alpha1.Build) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = append(s.all, b)
}

// end puts a rebase that has ended in the place of the one that waits.
func (s *shelf) end(done *v1alpha1.Build) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, b := range s.all {
		if b.Name == done.Name && b.Namespace == done.Namespace {
			s.all[i] = done
		}
	}
}

func (s *shelf) Of(image types.NamespacedName) (out []*v1alpha1.Build) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, b := range s.all {
		if b.Namespace == image.Namespace && b.Spec.Image.Name == image.Name {
			out = append(out, b)
		}
	}
	return out
}

func (s *shelf) Remove(b *v1alpha1.Build) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = slices.DeleteFunc(s.all, func(other *v1alpha1.Build) bool { return other.Name == b.Name && other.Namespace == b.Namespace })
}

func (s *shelf) Forget(image types.NamespacedName) {
	for _, b := range s.Of(image) {
		s.Remove(b)
	}
}

func newDesk(t *testing.T) *desk {
	t.Helper()
	d := &desk{Bed: bed.New(t), source: &repository{revision: "commit1"}, rebases: &shelf{}}
	d.start(t)
	return d
}

func (d *desk) start(t *testing.T) {
	t.Helper()
	d.stop = d.Manager(t, controller.Options{}, func(m ctrl.Manager) (err error) {
		d.cache = m.GetClient()
		if err := d.registry.Setup(m); err != nil {
			return err
		}
		d.images, err = Setup(m, d.source, d.rebases, Options{Registry: d.registry})
		return err
	})
}

// builder declares the Builder "standard", which stands on run:1.
func (d *desk) builder(t *testing.T, digest, run string) *v1alpha1.Builder {
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
	d.Create(t, &b)
	d.built(t, &b, digest, run)
	return &b
}

// built says what the Builder is now.
func (d *desk) built(t *testing.T, b *v1alpha1.Builder, digest, run string) {
	t.Helper()
	d.status(t, b, func() {
		b.Status.Published = &v1alpha1.Published{Image: "standard:1", Digest: digest}
		b.Status.Run = []v1alpha1.RunStatus{{Published: v1alpha1.Published{Image: "run:1", Digest: run}}}
		b.Status.Buildpacks = []string{"plimsoll/go@" + digest}
	})
}

// status changes the status of the object.
func (d *desk) status(t *testing.T, o client.Object, change func()) {
	t.Helper()
	d.Until(t, func() string {
		d.Get(t, o)
		change()
		if err := d.Client.Status().Update(t.Context(), o); err != nil {
			return err.Error()
		}
		return ""
	})
}

// declare declares an Image.
func (d *desk) declare(t *testing.T, name string, change func(*v1alpha1.ImageSpec)) *v1alpha1.Image {
	t.Helper()
	i := &v1alpha1.Image{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name}}
	i.Spec = v1alpha1.ImageSpec{
		Tag: "default/" + name + ":1", Builder: v1alpha1.ClusterReference{Name: "standard"},
		Source: v1alpha1.ImageSource{Git: &v1alpha1.GitSource{URL: "https://git.example.com/" + name + ".git", Revision: "main"}},
	}
	if change != nil {
		change(&i.Spec)
	}
	d.Create(t, i)
	return i
}

// waits waits for the Image's Build of that number.
func (d *desk) waits(t *testing.T, image string, number int64) *v1alpha1.Build {
	t.Helper()
	b := &v1alpha1.Build{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: Name(image, number)}}
	d.Until(t, func() string {
		if err := d.Client.Get(t.Context(), client.ObjectKeyFromObject(b), b); err != nil {
			return err.Error()
		}
		return ""
	})
	return b
}

// planned waits for the rebase of that number.
func (d *desk) planned(t *testing.T, image string, number int64) *v1alpha1.Build {
	t.Helper()
	var found *v1alpha1.Build
	d.Until(t, func() string {
		for _, b := range d.rebases.Of(types.NamespacedName{Namespace: "default", Name: image}) {
			if b.Spec.Number == number {
				found = b
				return ""
			}
		}
		return "there is no such rebase"
	})
	return found
}

// rebase says that the rebase has gone well, and waits until the Image's status tells of it.
func (d *desk) rebase(t *testing.T, i *v1alpha1.Image, b *v1alpha1.Build, run string) {
	t.Helper()
	now, done := metav1.Now(), b.DeepCopy()
	done.Status.Phase, done.Status.CompletedAt = v1alpha1.BuildSucceeded, &now
	done.Status.Digest = fmt.Sprint("sha256:image", b.Spec.Number)
	done.Status.RunImage = &v1alpha1.Published{Image: "run:1", Digest: run}
	d.rebases.end(done)
	d.images.Wake(client.ObjectKeyFromObject(i))
	d.Until(t, func() string {
		if left := d.rebases.Of(client.ObjectKeyFromObject(i)); len(left) > 0 {
			return left[0].Name + " is kept"
		}
		return ""
	})
	d.Get(t, i)
}

// ends says that the Build has succeeded, on the run image.
func (d *desk) ends(t *testing.T, b *v1alpha1.Build, run string) {
	t.Helper()
	d.status(t, b, func() {
		now := metav1.Now()
		b.Status.Phase, b.Status.CompletedAt = v1alpha1.BuildSucceeded, &now
		b.Status.Digest = fmt.Sprint("sha256:image", b.Spec.Number)
		b.Status.RunImage = &v1alpha1.Published{Image: "run:1", Digest: run}
	})
}

func (d *desk) ready(t *testing.T, i *v1alpha1.Image, is metav1.ConditionStatus, reason string) {
	t.Helper()
	d.UntilCondition(t, i, &i.Status.Status, v1alpha1.ConditionReady, is, reason)
}

// TestAnImageIsKept goes through the life of an Image on a real API server.
func TestAnImageIsKept(t *testing.T) {
	d := newDesk(t)
	i := d.declare(t, "shop", nil)
	d.ready(t, i, metav1.ConditionFalse, BuilderMissing)
	builder := d.builder(t, "builder1", "run1")

	first := d.waits(t, "shop", 1)
	if r := first.Spec.Reasons[0]; r.Type != v1alpha1.ReasonConfig || first.Spec.Method != v1alpha1.MethodBuild || first.Spec.Inputs.Source != "commit1" {
		t.Errorf("the first build is %+v", first.Spec)
	}
	d.ready(t, i, metav1.ConditionUnknown, Building)
	d.ends(t, first, "run1")
	d.ready(t, i, metav1.ConditionTrue, UpToDate)

	d.source.push("commit2")
	d.images.Ask(client.ObjectKeyFromObject(i))
	second := d.waits(t, "shop", 2)
	if r := second.Spec.Reasons[0]; r.Type != v1alpha1.ReasonCommit || r.Was != "commit1" || r.Is != "commit2" {
		t.Errorf("the second build is for %+v", r)
	}
	d.ends(t, second, "run1")

	d.built(t, builder, "builder1", "run2")
	third := d.planned(t, "shop", 3)
	if r := third.Spec.Reasons[0]; third.Spec.Method != v1alpha1.MethodRebase || r.Type != v1alpha1.ReasonBase || third.Spec.Priority != v1alpha1.PrioritySecurity {
		t.Errorf("the third build is %+v", third.Spec)
	}
	d.rebase(t, i, third, "run2")
	if s := &i.Status; len(s.Rebases) != 1 || s.LatestImage.Digest != "sha256:image3" || s.LatestBuild != "shop-r3" || s.LatestReason != v1alpha1.ReasonBase || s.Inputs.RunDigest != "run2" {
		t.Errorf("the status tells of the rebase %+v", s)
	}

	d.Change(t, i, func() { i.Spec.Build.Process = "web" })
	fourth := d.waits(t, "shop", 4)
	if r := fourth.Spec.Reasons[0]; r.Type != v1alpha1.ReasonConfig || r.Detail != "+ process: web" {
		t.Errorf("the fourth build is for %+v", r)
	}
	d.ends(t, fourth, "run2")
	d.Until(t, func() string {
		d.Get(t, i)
		if i.Status.Builds != 4 || i.Status.LatestImage.Digest != "sha256:image4" || i.Status.Inputs.Source != "commit2" || i.Status.Inputs.RunDigest != "run2" {
			return fmt.Sprintf("its status is %+v", i.Status)
		}
		return ""
	})
}
