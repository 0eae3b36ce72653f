// Package bed takes a test and gives it a Kubernetes API with our resources, and managers that
// start, end and start again as processes do.
package bed

import (
	"context"
	"fmt"
	"path/filepath"
	"reflect"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"plimsoll.dev/plimsoll/api/v1alpha1"
	crd "plimsoll.dev/plimsoll/config/crd"
	"plimsoll.dev/plimsoll/internal/cluster/clustertest"
	"plimsoll.dev/plimsoll/internal/controller"
)

// Bed is an API server that has our resources.
type Bed struct {
	Config *rest.Config
	Client client.Client // asks the API itself, no cache
}

// patience is how long a test waits for what must come.
const patience = 60 * time.Second

// New starts one, which ends with the test.
func New(t testing.TB) *Bed {
	t.Helper()
	scheme, err := controller.Scheme()
	if err != nil {
		t.Fatal(err)
	}
	if err := apiextensionsv1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	b := &Bed{Config: clustertest.Start(t).Config()}
	if b.Client, err = client.New(b.Config, client.Options{Scheme: scheme}); err != nil {
		t.Fatal(err)
	}
	files, err := crd.Files.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		text, err := crd.Files.ReadFile(file.Name())
		if err != nil {
			t.Fatal(err)
		}
		var definition apiextensionsv1.CustomResourceDefinition
		if err := yaml.UnmarshalStrict(text, &definition); err != nil {
			t.Fatal(filepath.Base(file.Name()), err)
		}
		b.Create(t, &definition)
		b.Until(t, func() string {
			b.Get(t, &definition)
			for _, c := range definition.Status.Conditions {
				if c.Type == apiextensionsv1.Established && c.Status == apiextensionsv1.ConditionTrue {
					return ""
				}
			}
			return definition.Name + " is not established"
		})
	}
	return b
}

// Manager starts a manager with what setup adds to it, and gives what ends it and waits.
func (b *Bed) Manager(t testing.TB, o controller.Options, setup func(ctrl.Manager) error) (stop func()) {
	t.Helper()
	o.SkipNames = true
	m, err := controller.New(b.Config, o)
	if err != nil {
		t.Fatal(err)
	}
	if err := setup(m); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- m.Start(ctx) }()
	var stopped atomic.Bool
	stop = func() {
		if stopped.Swap(true) {
			return
		}
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("the manager ended with %v", err)
		}
	}
	t.Cleanup(stop)
	return stop
}

// Create makes the object, or fails the test.
func (b *Bed) Create(t testing.TB, o client.Object) {
	t.Helper()
	if err := b.Client.Create(t.Context(), o); err != nil {
		t.Fatalf("create %s: %v", o.GetName(), err)
	}
}

// Get reads the object anew.
func (b *Bed) Get(t testing.TB, o client.Object) {
	t.Helper()
	key := client.ObjectKeyFromObject(o)
	reflect.ValueOf(o).Elem().SetZero() // decoding keeps what the answer does not say
	if err := b.Client.Get(t.Context(), key, o); err != nil {
		t.Fatalf("get %s: %v", key.Name, err)
	}
}

// Change reads the object anew, changes it, and writes it, again where another was faster.
func (b *Bed) Change(t testing.TB, o client.Object, change func()) {
	t.Helper()
	b.Until(t, func() string {
		b.Get(t, o)
		change()
		err := b.Client.Update(t.Context(), o)
		if err != nil && !apierrors.IsConflict(err) {
			t.Fatalf("change %s: %v", o.GetName(), err)
		}
		return text(err)
	})
}

// Delete asks for the object's end, and waits for it.
func (b *Bed) Delete(t testing.TB, o client.Object) {
	t.Helper()
	if err := b.Client.Delete(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	b.UntilGone(t, o)
}

// UntilGone waits until the API no longer has the object.
func (b *Bed) UntilGone(t testing.TB, o client.Object) {
	t.Helper()
	b.Until(t, func() string {
		if err := b.Client.Get(t.Context(), client.ObjectKeyFromObject(o), o); !apierrors.IsNotFound(err) {
			return fmt.Sprintf("%s is still there: finalizers %v (%v)", o.GetName(), o.GetFinalizers(), err)
		}
		return ""
	})
}

// UntilCondition waits until the object has the condition with the status and the reason, and
// gives its message. conditions gives those of the object.
func (b *Bed) UntilCondition(t testing.TB, o client.Object, conditions *v1alpha1.Status, kind string, is metav1.ConditionStatus, reason string) string {
	t.Helper()
	message := ""
	b.Until(t, func() string {
		b.Get(t, o)
		c := meta.FindStatusCondition(conditions.Conditions, kind)
		if c == nil {
			return "it has no condition " + kind
		}
		message = c.Message
		if c.Status != is || c.Reason != reason || c.ObservedGeneration != o.GetGeneration() {
			return fmt.Sprintf("%s is %s, %s: %s (of generation %d, now %d)", kind, c.Status, c.Reason, c.Message, c.ObservedGeneration, o.GetGeneration())
		}
		return ""
	})
	return message
}

// Events gives the reasons of the object's events, each once.
func (b *Bed) Events(t testing.TB, o client.Object) []string {
	t.Helper()
	var list corev1.EventList
	if err := b.Client.List(t.Context(), &list); err != nil {
		t.Fatal(err)
	}
	var reasons []string
	for _, e := range list.Items {
		if e.InvolvedObject.UID == o.GetUID() {
			reasons = append(reasons, e.Reason)
		}
	}
	return reasons
}

// Until asks until nothing is missing, or fails the test with what was.
func (b *Bed) Until(t testing.TB, missing func() string) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		why := missing()
		if why == "" {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(why)
		}
	}
}

func text(err error) string {
	if err != nil {
		return err.Error()
	}
	return ""
}
