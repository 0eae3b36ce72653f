package status_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/tools/record"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"plimsoll.dev/plimsoll/api/v1alpha1"
	"plimsoll.dev/plimsoll/internal/controller/status"
	"plimsoll.dev/plimsoll/internal/fault"
)

// TestDocument holds the table of docs/reconcilers.md against the reasons that there are.
func TestDocument(t *testing.T) {
	text, err := os.ReadFile("../../../docs/reconcilers.md")
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	seen := map[string]bool{}
	for _, r := range status.Reasons() {
		want = append(want, fmt.Sprintf("| `%s` | %s | %s |", r.Name, r.Of, r.Meaning))
		if seen[r.Name] {
			t.Errorf("%s is listed twice", r.Name)
		}
		seen[r.Name] = true
	}
	_, table, found := strings.Cut(string(text), "| reason | of | means |\n| --- | --- | --- |\n")
	if !found {
		t.Fatal("docs/reconcilers.md has no table of reasons")
	}
	if diff := cmp.Diff(strings.Join(want, "\n")+"\n", table); diff != "" {
		t.Error(diff)
	}
}

func TestEveryErrorHasAReason(t *testing.T) {
	names := map[string]bool{}
	for _, r := range status.Reasons() {
		names[r.Name] = true
	}
	for kind := fault.Failed; kind <= fault.Canceled; kind++ {
		if reason := status.OfError(fault.Newf(kind, "a", "b", "c")); !names[reason] {
			t.Errorf("kind %d has the reason %q, which the table lacks", kind, reason)
		}
	}
}

func TestNext(t *testing.T) {
	conflict := apierrors.NewConflict(schema.GroupResource{}, "a", errors.New("changed"))
	tests := []struct {
		name  string
		err   error
		want  reconcile.Result
		fails bool // goes back to the queue, which waits longer each time
	}{
		{"nothing wrong", nil, reconcile.Result{RequeueAfter: time.Hour}, false},
		{"stopped", context.Canceled, reconcile.Result{}, true},
		{"away", fault.Newf(fault.Unavailable, "a", "", "b"), reconcile.Result{}, true},
		{"failed", errors.New("a disk"), reconcile.Result{}, true},
		{"wrong", fault.Newf(fault.Usage, "a", "", "b"), reconcile.Result{RequeueAfter: time.Hour}, false},
		{"denied", fault.Newf(fault.Denied, "a", "", "b"), reconcile.Result{RequeueAfter: time.Hour}, false},
		{"missing", fault.Newf(fault.NotFound, "a", "", "b"), reconcile.Result{RequeueAfter: time.Hour}, false},
		{"took too long", context.DeadlineExceeded, reconcile.Result{}, true},
		{"a newer one", fmt.Errorf("write: %w", conflict), reconcile.Result{RequeueAfter: 100 * time.Millisecond}, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, err := status.Next(test.err, time.Hour)
			if (err != nil) != test.fails {
				t.Errorf("got the error %v", err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestTell(t *testing.T) {
	is := func(of metav1.ConditionStatus, reason, message string) v1alpha1.Status {
		var s v1alpha1.Status
		status.Set(&s, 1, "Ready", of, reason, message)
		return s
	}
	tests := []struct {
		name          string
		before, after v1alpha1.Status
		want          []string
	}{
		{"new and well", v1alpha1.Status{}, is("True", "A", "m"), nil},
		{"new and not", v1alpha1.Status{}, is("False", "A", "m"), []string{"Warning A not Ready: m"}},
		{"as before", is("False", "A", "m"), is("False", "A", "other words"), nil},
		{"for another reason", is("False", "A", "m"), is("False", "B", "m"), []string{"Warning B not Ready: m"}},
		{"well again", is("False", "A", "m"), is("True", "B", "m"), []string{"Normal B Ready again: m"}},
		{"nobody knows", is("False", "A", "m"), is("Unknown", "B", "m"), nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			events := record.NewFakeRecorder(10)
			status.Tell(events, &v1alpha1.BaseImage{}, &test.before, &test.after)
			close(events.Events)
			var got []string
			for e := range events.Events {
				got = append(got, e)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestSetKeepsTheTime(t *testing.T) {
	var s v1alpha1.Status
	status.Set(&s, 1, "Ready", metav1.ConditionTrue, "A", "m")
	long := metav1.NewTime(time.Now().Add(-time.Hour))
	s.Conditions[0].LastTransitionTime = long
	status.Set(&s, 2, "Ready", metav1.ConditionTrue, "B", strings.Repeat("m", 1<<20))
	c := s.Conditions[0]
	if !c.LastTransitionTime.Equal(&long) || c.ObservedGeneration != 2 || s.ObservedGeneration != 2 || len(c.Message) > 4<<10 {
		t.Errorf("at %s, of generation %d, %d bytes", c.LastTransitionTime, c.ObservedGeneration, len(c.Message))
	}
	if !status.Holds(&s, 2, "Ready") || status.Holds(&s, 3, "Ready") || status.Holds(&s, 2, "Fresh") {
		t.Error("it holds for another generation or type, or not for its own")
	}
}
