package cache

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// put writes a file that was used so long ago.
func put(t *testing.T, root, name string, size int, ago time.Duration) {
	t.Helper()
	path := filepath.Join(root, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, make([]byte, size), 0o644); err != nil {
		t.Fatal(err)
	}
	age(t, path, ago)
}

func age(t *testing.T, path string, ago time.Duration) {
	t.Helper()
	at := time.Now().Add(-ago)
	if err := os.Chtimes(path, at, at); err != nil {
		t.Fatal(err)
	}
}

// names lists the files below root, sorted.
func names(t *testing.T, root string) []string {
	t.Helper()
	found := []string{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			found = append(found, strings.TrimPrefix(path, root+"/"))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(found)
	return found
}

func TestPruneTakesTheLongestUnused(t *testing.T) {
	const day = 24 * time.Hour
	fill := func(t *testing.T) string {
		root := t.TempDir()
		put(t, root, "v1/old.json", 10, 3*day)
		put(t, root, "v1/old.blob", 8000, 9*day) // its name was used since
		put(t, root, "v2/a/older", 5000, 4*day)
		put(t, root, "v2/recent.json", 10, time.Hour)
		put(t, root, "v2/recent.blob", 5000, 9*day)
		put(t, root, "v2/.aside-1", 100, time.Minute)
		put(t, root, "v2/.aside-2", 100, 3*day)
		if err := os.Symlink("/etc/passwd", filepath.Join(root, "link")); err != nil {
			t.Fatal(err)
		}
		return root
	}
	rest := []string{"link", "v2/.aside-1", "v2/recent.blob", "v2/recent.json"}
	tests := []struct {
		name, reason string
		max          int64
		options      Options
		want         []string
		done         Pruned
	}{
		{
			"within", "what is within its bound stays", 1 << 20, Options{},
			[]string{"link", "v1/old.blob", "v1/old.json", "v2/.aside-1", "v2/.aside-2", "v2/a/older", "v2/recent.blob", "v2/recent.json"},
			Pruned{Left: Held{5, 40960}},
		},
		{
			"oldest", "the longest unused goes first, and no more than has to", 36 << 10, Options{},
			[]string{"link", "v1/old.blob", "v1/old.json", "v2/.aside-1", "v2/.aside-2", "v2/recent.blob", "v2/recent.json"},
			Pruned{Removed: Held{1, 8192}, Left: Held{4, 32768}},
		},
		{
			"recent", "what was used within the hour stays, and what is being written", 0, Options{},
			rest, Pruned{Removed: Held{3, 24576}, Left: Held{2, 16384}},
		},
		{
			"all", "all goes that is not being written", 0, Options{Recent: true},
			[]string{"link", "v2/.aside-1"}, Pruned{Removed: Held{4, 36864}, Left: Held{1, 4096}},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			root := fill(t)
			done, err := Prune(t.Context(), tt.max, tt.options, Folder{Path: root}, Folder{Path: root + "/absent"})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, names(t, root)); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tt.reason, diff)
			}
			if diff := cmp.Diff(tt.done, done); diff != "" {
				t.Errorf("it says (-want +got):\n%s", diff)
			}
			held, err := Measure(t.Context(), Folder{Path: root})
			if err != nil || held != done.Left {
				t.Errorf("it holds %v, not %v (%v)", held, done.Left, err)
			}
			if _, err := os.Stat(root + "/v1"); tt.max == 0 && !errors.Is(err, fs.ErrNotExist) {
				t.Error("an empty folder is left")
			}
		})
	}
}

func TestUsedIsNotedOnceAnHour(t *testing.T) {
	root := t.TempDir()
	for name, ago := range map[string]time.Duration{"young": time.Minute, "old": 5 * time.Hour} {
		put(t, root, name, 1, ago)
		path := filepath.Join(root, name)
		before, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		Used(path)
		after, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if noted := !after.ModTime().Equal(before.ModTime()); noted != (name == "old") {
			t.Errorf("use of the %s one noted: %t", name, noted)
		}
	}
	Used(filepath.Join(root, "absent"))
	if got := names(t, root); len(got) != 2 {
		t.Errorf("there are %v", got)
	}
}

func TestTreesInUseStay(t *testing.T) {
	root := t.TempDir()
	for _, name := range []string{"a", "b"} {
		put(t, root, name+"/committed/layer.tar", 5000, time.Hour)
		put(t, root, name+LockSuffix, 0, time.Hour)
		age(t, filepath.Join(root, name), 48*time.Hour)
	}
	put(t, root, trash+"x/committed/layer.tar", 5000, time.Hour) // a Prune was killed
	held, err := Lock(filepath.Join(root, "a"+LockSuffix), unix.LOCK_SH)
	if err != nil {
		t.Fatal(err)
	}
	folder := Folder{Path: root, Trees: true}
	done, err := Prune(t.Context(), 0, Options{}, folder)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(Pruned{Removed: Held{1, 12288}, Left: Held{1, 12288}}, done); diff != "" {
		t.Errorf("it says (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"a.lock", "a/committed/layer.tar"}, names(t, root)); diff != "" {
		t.Errorf("left (-want +got):\n%s", diff)
	}
	held.Close()
	if _, err := Prune(t.Context(), 0, Options{}, folder); err != nil {
		t.Fatal(err)
	}
	if left := names(t, root); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

// TestLockGuardsSomething: who waits for a lock whose file is removed meanwhile gets one of its own.
func TestLockGuardsSomething(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x"+LockSuffix)
	held, err := Lock(path, unix.LOCK_EX)
	if err != nil {
		t.Fatal(err)
	}
	next := make(chan error)
	go func() {
		lock, err := Lock(path, unix.LOCK_EX)
		if err == nil {
			defer lock.Close()
			var of, at os.FileInfo
			if of, err = lock.Stat(); err == nil {
				at, err = os.Stat(path)
			}
			if err == nil && !os.SameFile(of, at) {
				err = errors.New("the lock is on a file that is gone")
			}
		}
		next <- err
	}()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	held.Close()
	if err := <-next; err != nil {
		t.Fatal(err)
	}
}

func TestPruneEndsWithItsContext(t *testing.T) {
	root := t.TempDir()
	put(t, root, "old", 1, 48*time.Hour)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Prune(ctx, 0, Options{}, Folder{Path: root}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if got := names(t, root); len(got) != 1 {
		t.Errorf("left: %v", got)
	}
}
