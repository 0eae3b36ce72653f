package watch_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"plimsoll.dev/plimsoll/internal/registry/watch"
)

func TestValueFollowsItsFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	reads := 0
	value := watch.New(func() (string, error) {
		reads++
		text, err := os.ReadFile(path)
		if string(text) == "broken" {
			return "", errors.New("broken")
		}
		return string(text), err
	}, path)
	complaints := 0
	complain := func(error) { complaints++ }
	for _, step := range []struct {
		text, want        string
		reads, complaints int
	}{
		{"one", "one", 1, 0},
		{"one", "one", 2, 0}, // replaced by the same
		{"", "one", 2, 0},    // untouched
		{"broken", "one", 3, 1},
		{"", "one", 3, 1},
		{"two, mended", "two, mended", 4, 1},
	} {
		if step.text != "" {
			if err := errors.Join(os.WriteFile(path+".new", []byte(step.text), 0o600), os.Rename(path+".new", path)); err != nil {
				t.Fatal(err)
			}
		}
		if got := value.Last(complain); got != step.want || reads != step.reads || complaints != step.complaints {
			t.Errorf("after %q: %q with %d reads and %d complaints, want %+v", step.text, got, reads, complaints, step)
		}
	}
}
