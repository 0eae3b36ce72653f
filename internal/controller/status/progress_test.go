package status_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"plimsoll.dev/plimsoll/api/v1alpha1"
	"plimsoll.dev/plimsoll/internal/controller/status"
)

func TestTurns(t *testing.T) {
	turns, waited := make(status.Turns, 1), 0
	waits := func() error { waited++; return nil }
	if err := turns.Take(t.Context(), waits); err != nil || waited != 0 {
		t.Fatalf("the first waits: %v", err)
	}
	ended, end := context.WithCancel(t.Context())
	end()
	if err := turns.Take(ended, waits); !errors.Is(err, context.Canceled) || waited != 1 {
		t.Errorf("the second gets %v, and has said %d times that it waits", err, waited)
	}
	unsaid := errors.New("it cannot be said")
	if err := turns.Take(t.Context(), func() error { return unsaid }); !errors.Is(err, unsaid) {
		t.Errorf("one that cannot say that it waits gets %v", err)
	}
	turns.Give()
	if err := turns.Take(t.Context(), waits); err != nil || waited != 1 {
		t.Errorf("what was handed back is not there: %v", err)
	}
}

func TestAwaited(t *testing.T) {
	for name, c := range map[string]struct {
		is     metav1.ConditionStatus
		reason string
		of     int64
		want   bool
	}{
		"nothing is said":        {"", "", 0, true},
		"of an earlier spec":     {"False", status.Missing, 1, true},
		"it waits for its turn":  {"False", status.Queued, 2, true},
		"it waits for its base":  {"False", status.WaitsFor, 2, true},
		"a restart while it was": {"Unknown", status.Building, 2, true},
		"it has failed":          {"False", status.Away, 2, false},
		"it is ready":            {"True", status.Published, 2, false},
	} {
		t.Run(name, func(t *testing.T) {
			var s v1alpha1.Status
			if c.is != "" {
				status.Set(&s, c.of, "Ready", c.is, c.reason, "")
			}
			if got := status.Awaited(&s, 2, "Ready"); got != c.want {
				t.Errorf("got %v", got)
			}
		})
	}
}

func TestBrief(t *testing.T) {
	for message, want := range map[string]string{
		"a line":                   "a line",
		"a line\nand what it said": "a line",
		"":                         "",
		strings.Repeat("é", 1000):  strings.Repeat("é", 500) + "…",
	} {
		if got := status.Brief(message); got != want {
			t.Errorf("got %q", got)
		}
	}
}
