package clock_test

import (
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"plimsoll.dev/plimsoll/internal/registry/access/clock"
)

func TestClockNeverGoesBack(t *testing.T) {
	path := filepath.Join(t.TempDir(), "clock")
	start := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	now := start
	open := func() *clock.Clock {
		t.Helper()
		c, err := clock.Open(path, func() time.Time { return now }, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	c := open()
	for _, step := range []struct {
		name      string
		at        time.Duration // the machine's clock, after the start
		want      time.Duration
		restarted bool
	}{
		{"as the machine", 0, 0, false},
		{"on", time.Hour, time.Hour, false},
		{"set back", -24 * time.Hour, time.Hour, false},
		{"on while set back", -23 * time.Hour, 2 * time.Hour, false},
		{"restarted while set back", -22 * time.Hour, 2 * time.Hour, true},
		{"put right", 3 * time.Hour, 27 * time.Hour, false}, // this machine has no monotonic clock: late is safe
		{"restarted once more", 30 * time.Hour, 30 * time.Hour, true},
	} {
		now = start.Add(step.at)
		if step.restarted {
			c = open()
		}
		if got := c.Now().Sub(start); got != step.want {
			t.Errorf("%s: got %s after the start, want %s", step.name, got, step.want)
		}
	}
	if err := os.WriteFile(path, []byte("nonsense"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := clock.Open(path, time.Now, slog.New(slog.DiscardHandler)); err == nil {
		t.Error("a mark that cannot be read was taken for none")
	}
}
