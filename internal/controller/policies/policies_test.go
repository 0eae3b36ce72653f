package policies_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"

	"plimsoll.dev/plimsoll/api/v1alpha1"
	"plimsoll.dev/plimsoll/internal/controller"
	"plimsoll.dev/plimsoll/internal/controller/bed"
	"plimsoll.dev/plimsoll/internal/controller/imagepolicy"
	"plimsoll.dev/plimsoll/internal/controller/policies"
	"plimsoll.dev/plimsoll/internal/controller/policyexception"
	"plimsoll.dev/plimsoll/internal/controller/status"
	"plimsoll.dev/plimsoll/internal/policy"
)

const ready = v1alpha1.ConditionReady

// start starts a process that keeps the policies in the folder.
func start(t *testing.T, b *bed.Bed, dir string) (stop func()) {
	t.Helper()
	return b.Manager(t, controller.Options{}, func(m ctrl.Manager) error {
		folder := policies.New(dir)
		if err := imagepolicy.Setup(m, folder); err != nil {
			return err
		}
		return policyexception.Setup(m, folder)
	})
}

func newPolicy(name, expression string) *v1alpha1.ImagePolicy {
	return &v1alpha1.ImagePolicy{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: v1alpha1.ImagePolicySpec{
			Gates:      v1alpha1.PolicyGates{Registry: "deny"},
			Parameters: v1alpha1.PolicyParameters{"most": int64(3), "names": []any{"a", "b"}},
			Rules:      []v1alpha1.PolicyRule{{Name: "rule", Title: "a rule", Reason: "to test", Expression: expression}},
		},
	}
}

func newException(name string, expires time.Time) *v1alpha1.PolicyException {
	return &v1alpha1.PolicyException{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: v1alpha1.PolicyExceptionSpec{
			Owner: "team", Reason: "to test", Expires: metav1.NewTime(expires), Rules: []string{"strict/*"},
			Scope: v1alpha1.PolicyScope{Repositories: []string{"shop"}},
		},
	}
}

// names gives what the folder says, as all that reads a home reads it.
func names(t *testing.T, dir string) []string {
	t.Helper()
	all, err := policy.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := all.Compile(policy.Options{}); err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, p := range all.Policies {
		names = append(names, p.Name+": "+p.Spec.Rules[0].Expression)
	}
	for _, e := range all.Exceptions {
		names = append(names, e.Name)
	}
	return names
}

// TestPolicies runs against a real API server and the real compiler.
func TestPolicies(t *testing.T) {
	b, dir := bed.New(t), filepath.Join(t.TempDir(), "policies")
	stop := start(t, b, dir)

	strict := newPolicy("strict", "image.layers <= params.most")
	b.Create(t, strict)
	b.UntilCondition(t, strict, &strict.Status.Status, ready, metav1.ConditionTrue, status.InForce)
	sound := []string{"strict: image.layers <= params.most"}
	if diff := cmp.Diff(sound, names(t, dir)); diff != "" {
		t.Error(diff)
	}

	t.Run("a wrong change leaves the last good version", func(t *testing.T) {
		b.Change(t, strict, func() { strict.Spec.Rules[0].Expression = "image.layers <=\n  parms.most" })
		message := b.UntilCondition(t, strict, &strict.Status.Status, ready, metav1.ConditionFalse, status.Invalid)
		for _, want := range []string{"the version before this one stays in force", "strict/rule: rules[0].expression:2:3: ", "parms"} {
			if !strings.Contains(message, want) {
				t.Errorf("the message lacks %q: %s", want, message)
			}
		}
		if diff := cmp.Diff(sound, names(t, dir)); diff != "" {
			t.Error(diff)
		}
		b.Change(t, strict, func() { strict.Spec.Rules[0].Expression = "image.layers < 9" })
		b.UntilCondition(t, strict, &strict.Status.Status, ready, metav1.ConditionTrue, status.InForce)
		sound = []string{"strict: image.layers < 9"}
		if diff := cmp.Diff(sound, names(t, dir)); diff != "" {
			t.Error(diff)
		}
	})

	t.Run("another's file of that name", func(t *testing.T) {
		path := filepath.Join(dir, "imagepolicy-own.yaml")
		const text = "# mine\n"
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		own := newPolicy("own", "true")
		b.Create(t, own)
		b.UntilCondition(t, own, &own.Status.Status, ready, metav1.ConditionFalse, status.NameTaken)
		b.Delete(t, own)
		if got, err := os.ReadFile(path); err != nil || string(got) != text {
			t.Errorf("the file is now %q, %v", got, err)
		}
	})

	t.Run("one that another has by hand", func(t *testing.T) {
		path := filepath.Join(dir, "by-hand.yaml")
		text := "apiVersion: plimsoll.dev/v1alpha1\nkind: ImagePolicy\nmetadata: {name: twice}\nspec:\n  gates: {registry: warn}\n  rules: [{name: a, title: a, reason: a, expression: 'true'}]\n"
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		twice := newPolicy("twice", "true")
		b.Create(t, twice)
		message := b.UntilCondition(t, twice, &twice.Status.Status, ready, metav1.ConditionFalse, status.SetBroken)
		if !strings.Contains(message, ".yaml:") || strings.Contains(message, dir) {
			t.Errorf("it names no file, or the home: %s", message)
		}
		b.Delete(t, twice)
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	})

	t.Run("exceptions end at their time", func(t *testing.T) {
		lasting, ending := newException("lasting", time.Now().AddDate(300, 0, 0)), newException("ending", time.Now().Add(3*time.Second))
		b.Create(t, lasting)
		b.Create(t, ending)
		b.UntilCondition(t, lasting, &lasting.Status.Status, ready, metav1.ConditionTrue, status.InForce)
		b.UntilCondition(t, ending, &ending.Status.Status, ready, metav1.ConditionFalse, status.Expired)
		if !lasting.Status.Active || ending.Status.Active {
			t.Errorf("active: %t and %t, want true and false", lasting.Status.Active, ending.Status.Active)
		}
		b.Change(t, lasting, func() { lasting.Spec.Match = "nonsense" })
		b.UntilCondition(t, lasting, &lasting.Status.Status, ready, metav1.ConditionFalse, status.Invalid)
		if !lasting.Status.Active {
			t.Error("the version before is in force, but the status does not say so")
		}
		b.Delete(t, lasting)
		b.Delete(t, ending)
		if diff := cmp.Diff(sound, names(t, dir)); diff != "" {
			t.Error(diff)
		}
	})

	t.Run("deleted and renamed while nobody is here", func(t *testing.T) {
		stop()
		if err := b.Client.Delete(t.Context(), strict); err != nil {
			t.Fatal(err)
		}
		renamed := newPolicy("renamed", "image.layers < 9")
		b.Create(t, renamed)
		start(t, b, dir)
		b.UntilGone(t, strict)
		b.UntilCondition(t, renamed, &renamed.Status.Status, ready, metav1.ConditionTrue, status.InForce)
		if diff := cmp.Diff([]string{"renamed: image.layers < 9"}, names(t, dir)); diff != "" {
			t.Error(diff)
		}
	})
}
