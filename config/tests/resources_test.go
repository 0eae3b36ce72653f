package tests

import (
	"context"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// TestResources asks one API server everything, for it takes seconds to start.
func TestResources(t *testing.T) {
	b := newBed(t)
	for _, name := range []string{"shop", "team", "team-a", "team-b", "team-c"} {
		if err := b.client.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}); err != nil {
			t.Fatal(err)
		}
	}
	t.Run("files that people have are resources", b.testFiles)
	t.Run("rules", b.testRules)
	t.Run("changes", b.testChanges)
	t.Run("defaults", b.testDefaults)
	t.Run("applied twice", b.testAppliedTwice)
	t.Run("explain", b.testExplain)
	t.Run("columns", b.testColumns)
	t.Run("roles", b.testRoles)
}

// testDefaults applies the least of each kind: what comes back stands in testdata/KIND.golden.
func (b *bed) testDefaults(t *testing.T) {
	for _, definition := range definitions(t) {
		kind := definition.Spec.Names.Kind
		t.Run(kind, func(t *testing.T) {
			got, err := b.apply(t.Context(), least(t, kind), client.DryRunAll)
			if err != nil {
				t.Fatal(problems(err))
			}
			golden(t, strings.ToLower(kind)+".golden", yamlOf(t, got.Object["spec"]))
		})
	}
}

// testAppliedTwice applies what a user has a second time: nothing may be written.
func (b *bed) testAppliedTwice(t *testing.T) {
	for _, definition := range definitions(t) {
		kind := definition.Spec.Names.Kind
		t.Run(kind, func(t *testing.T) {
			first, err := b.apply(t.Context(), most(t, kind))
			if err == nil && kind == "Build" { // no user's: its status' default is stored with the first change
				first, err = b.apply(t.Context(), most(t, kind))
			}
			if err != nil {
				t.Fatal(strings.Join(problems(err), "\n"))
			}
			t.Cleanup(func() { b.remove(t, first) })
			again, err := b.apply(t.Context(), most(t, kind))
			if err != nil {
				t.Fatal(problems(err))
			}
			if was, is := first.GetResourceVersion(), again.GetResourceVersion(); was != is {
				t.Errorf("it was written again:\n%s", cmp.Diff(first.Object, again.Object))
			}
			// All that was given is still there: nothing in it is unknown to the schema.
			if diff := missing(most(t, kind).Object["spec"], again.Object["spec"], "spec"); diff != "" {
				t.Errorf("the server dropped or changed %s", diff)
			}
		})
	}
}

func (b *bed) remove(t *testing.T, o *unstructured.Unstructured) {
	t.Helper()
	if err := b.client.Delete(context.WithoutCancel(t.Context()), o); client.IgnoreNotFound(err) != nil {
		t.Error(err)
	}
}
