package builder_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"

	"plimsoll.dev/plimsoll/api/v1alpha1"
	"plimsoll.dev/plimsoll/internal/build/builder"
	"plimsoll.dev/plimsoll/internal/controller"
	"plimsoll.dev/plimsoll/internal/controller/bed"
	controlled "plimsoll.dev/plimsoll/internal/controller/builder"
	"plimsoll.dev/plimsoll/internal/controller/status"
	"plimsoll.dev/plimsoll/internal/controller/tag"
	"plimsoll.dev/plimsoll/internal/fault"
)

// maker stands for the program's: its builders differ when their build base does.
type maker struct {
	mu       sync.Mutex
	registry map[string]string // what tags name that no BaseImage keeps
	made     int
	fails    error
	last     *builder.Spec
}

func digest(of string) string {
	sum := sha256.Sum256([]byte(of))
	return "sha256:" + hex.EncodeToString(sum[:])
}

// Make implements builder.Maker.
func (m *maker) Make(_ context.Context, spec *builder.Spec, name string) (controlled.Result, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.made, m.last = m.made+1, spec
	return controlled.Result{Image: "registry.test/" + name, Digest: digest(fmt.Sprint(m.made)), Buildpacks: []string{"b@1", "a@1"}}, m.fails
}

// Digest implements builder.Maker.
func (m *maker) Digest(_ context.Context, ref string) (string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if d := m.registry[ref]; d != "" {
		return d, nil
	}
	return "", fault.Newf(fault.NotFound, "look for", ref, "there is no such image")
}

func (m *maker) count() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.made
}

func (m *maker) set(change func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	change()
}

func start(t *testing.T, b *bed.Bed, m *maker) (stop func()) {
	t.Helper()
	return b.Manager(t, controller.Options{}, func(mgr ctrl.Manager) error {
		if err := tag.Registry("").Setup(mgr); err != nil {
			return err
		}
		return controlled.Setup(mgr, m, controlled.Options{Parts: "/parts", Every: 200 * time.Millisecond})
	})
}

func newBase(name string) *v1alpha1.BaseImage {
	return &v1alpha1.BaseImage{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec:       v1alpha1.BaseImageSpec{Archive: v1alpha1.Archive{Suites: []string{"test"}}, Packages: []string{"base-files"}},
	}
}

// publish says that the base has an image, as its own reconciler does.
func publish(t *testing.T, b *bed.Bed, base *v1alpha1.BaseImage, is string) {
	t.Helper()
	b.Get(t, base)
	base.Status.Published = &v1alpha1.Published{Image: "registry.test/" + base.Name + ":1", Digest: digest(is)}
	if err := b.Client.Status().Update(t.Context(), base); err != nil {
		t.Fatal(err)
	}
}

func newBuilder(name string) *v1alpha1.Builder {
	return &v1alpha1.Builder{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: v1alpha1.BuilderSpec{
			Build:     v1alpha1.BuildBase{Image: "build:1"},
			Run:       []v1alpha1.RunBase{{Image: "run:1"}, {Image: "java:1", Buildpacks: []string{"a/java"}}},
			Lifecycle: v1alpha1.LifecycleSource{Path: "lifecycle"}, Buildpacks: []v1alpha1.BuildpackSource{{Image: "buildpack:1"}},
			Order: []v1alpha1.OrderGroup{{Group: []v1alpha1.OrderEntry{{ID: "a/java"}}}},
		},
	}
}

const (
	ready = v1alpha1.ConditionReady
	fresh = v1alpha1.ConditionFresh
)

// TestBuilders runs against a real API server.
func TestBuilders(t *testing.T) {
	b, m := bed.New(t), &maker{registry: map[string]string{"java:1": digest("java"), "buildpack:1": digest("buildpack")}}
	build, run := newBase("build"), newBase("run")
	b.Create(t, build)
	b.Create(t, run)
	stop := start(t, b, m)
	main := newBuilder("main")
	b.Create(t, main)

	// It waits for its bases.
	message := b.UntilCondition(t, main, &main.Status.Status, ready, metav1.ConditionFalse, status.WaitsFor)
	if want := "no image yet: BaseImage/build, BaseImage/run"; message != want {
		t.Errorf("got %q, want %q", message, want)
	}
	publish(t, b, build, "build")
	publish(t, b, run, "run")
	b.UntilCondition(t, main, &main.Status.Status, ready, metav1.ConditionTrue, status.Published)
	want := v1alpha1.BuilderStatus{
		Published:  &v1alpha1.Published{Image: "registry.test/main:1", Digest: digest("1")},
		Buildpacks: []string{"a@1", "b@1"},
		Run: []v1alpha1.RunStatus{
			{Published: v1alpha1.Published{Image: "run:1", Digest: digest("run")}},
			{Published: v1alpha1.Published{Image: "java:1", Digest: digest("java")}, Buildpacks: []string{"a/java"}},
		},
	}
	if diff := cmp.Diff(want, main.Status, cmpopts.IgnoreTypes(v1alpha1.Status{})); diff != "" {
		t.Error(diff)
	}
	if got := filepath.Join("/parts", "lifecycle"); m.last.Spec.Lifecycle.Path != got {
		t.Errorf("the lifecycle is at %q, want %q", m.last.Spec.Lifecycle.Path, got)
	}
	message = b.UntilCondition(t, main, &main.Status.Status, fresh, metav1.ConditionTrue, status.LookedUp)
	if want := "no BaseImage keeps java:1: the registry is asked every 200ms"; message != want {
		t.Errorf("got %q, want %q", message, want)
	}

	untilRun := func(i int, is string) {
		t.Helper()
		b.Until(t, func() string {
			b.Get(t, main)
			if got := main.Status.Run[i].Digest; got != digest(is) {
				return fmt.Sprintf("run[%d] is %s still", i, got)
			}
			return ""
		})
	}
	t.Run("only run bases move", func(t *testing.T) {
		made := m.count()
		publish(t, b, run, "run fixed")
		untilRun(0, "run fixed")
		m.set(func() { m.registry["java:1"] = digest("java fixed") })
		untilRun(1, "java fixed")
		if m.count() != made || main.Status.Published.Digest != digest(fmt.Sprint(made)) {
			t.Errorf("it was made %d times for nothing", m.count()-made)
		}
	})
	t.Run("what it is made of moves", func(t *testing.T) {
		for name, change := range map[string]func(){
			"build base": func() { publish(t, b, build, "build fixed") },
			"buildpack":  func() { m.set(func() { m.registry["buildpack:1"] = digest("buildpack 2") }) },
			"spec":       func() { b.Change(t, main, func() { main.Spec.Description = "another" }) },
		} {
			made := m.count()
			change()
			b.Until(t, func() string {
				if b.Get(t, main); main.Status.Published.Digest != digest(fmt.Sprint(made+1)) || m.count() != made+1 {
					return fmt.Sprintf("%s: made %d times, want %d; the status has %s", name, m.count(), made+1, main.Status.Published.Digest)
				}
				return ""
			})
		}
	})
	t.Run("one that cannot be made keeps the last", func(t *testing.T) {
		m.set(func() { m.fails = fault.Newf(fault.Denied, "make builder", "main", "not now") })
		before := *main.Status.Published
		publish(t, b, build, "build broken")
		b.UntilCondition(t, main, &main.Status.Status, fresh, metav1.ConditionFalse, status.Refused)
		b.UntilCondition(t, main, &main.Status.Status, ready, metav1.ConditionTrue, status.Published)
		publish(t, b, run, "run fixed again")
		untilRun(0, "run fixed again")
		version, made := main.ResourceVersion, m.count()
		b.Until(t, func() string {
			if m.count() < made+3 {
				return "nobody tries again"
			}
			return ""
		})
		if b.Get(t, main); main.ResourceVersion != version || *main.Status.Published != before {
			t.Errorf("what failed again was written again: %+v", main.Status)
		}
		m.set(func() { m.fails = nil })
		b.UntilCondition(t, main, &main.Status.Status, fresh, metav1.ConditionTrue, status.LookedUp)
	})
	t.Run("a base that is used is deleted", func(t *testing.T) {
		m.set(func() { m.registry["run:1"] = digest("run fixed again") }) // images stay
		b.Delete(t, run)
		b.Until(t, func() string {
			b.Get(t, main)
			for _, c := range main.Status.Conditions {
				if c.Type == fresh && c.Message == "no BaseImage keeps run:1, java:1: the registry is asked every 200ms" {
					return ""
				}
			}
			return fmt.Sprintf("the builder does not say so: %+v", main.Status.Conditions)
		})
		if main.Status.Run[0].Digest != digest("run fixed again") {
			t.Errorf("run is %s", main.Status.Run[0].Digest)
		}
	})
	t.Run("two of one tag", func(t *testing.T) {
		second := newBuilder("second")
		second.Spec.Tag = "main:1"
		b.Create(t, second)
		message := b.UntilCondition(t, second, &second.Status.Status, ready, metav1.ConditionFalse, status.TagTaken)
		if want := "Builder/main publishes under the tag main:1: give one of them another"; message != want {
			t.Errorf("got %q, want %q", message, want)
		}
		b.Delete(t, main)
		b.UntilCondition(t, second, &second.Status.Status, ready, metav1.ConditionTrue, status.Published)
	})
	t.Run("a hostile path", func(t *testing.T) {
		hostile := newBuilder("hostile")
		hostile.Spec.Lifecycle.Path = "../../etc"
		if err := b.Client.Create(t.Context(), hostile); err == nil { // where the API takes it at all
			b.UntilCondition(t, hostile, &hostile.Status.Status, ready, metav1.ConditionFalse, status.Invalid)
		}
	})
	stop()
}
