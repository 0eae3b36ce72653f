package build

import (
	"os"
	"path/filepath"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// TestWorkFolders: builds that begin and end at the same time sweep away no living one's
// folder, and leave nothing.
func TestWorkFolders(t *testing.T) {
	dir := t.TempDir()
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for range 100 {
				w, err := newWork(dir)
				if err != nil {
					t.Error(err)
					return
				}
				if err := os.WriteFile(w.path("x"), nil, 0o644); err != nil {
					t.Error(err)
				}
				w.close()
			}
		})
	}
	group.Wait()
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// TestSweep: of killed builds neither folder nor lock stays.
func TestSweep(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"build-a", "build-b"} {
		if err := os.MkdirAll(filepath.Join(dir, name, "layers"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"build-b.lock", "build-c.lock"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	living, err := newWork(dir)
	if err != nil {
		t.Fatal(err)
	}
	sweepWork(dir)
	left, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(left) != 2 || left[0] != living.dir || left[1] != living.dir+".lock" {
		t.Errorf("left are %v, %v", left, err)
	}
}

func TestCopyTree(t *testing.T) {
	from, to := filepath.Join(t.TempDir(), "from"), filepath.Join(t.TempDir(), "to")
	if err := os.MkdirAll(filepath.Join(from, "dir"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, mode := range map[string]os.FileMode{"dir/file": 0o644, "program": 0o755} {
		if err := os.WriteFile(filepath.Join(from, name), []byte("x"), mode); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("/nowhere", filepath.Join(from, "link")); err != nil {
		t.Fatal(err)
	}
	defer unix.Umask(unix.Umask(0o077))
	if err := copyTree(to, from); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]os.FileMode{"": 0o755 | os.ModeDir, "dir": 0o755 | os.ModeDir, "dir/file": 0o644, "program": 0o755} {
		st, err := os.Lstat(filepath.Join(to, name))
		if err != nil {
			t.Fatal(err)
		}
		if st.Mode() != want {
			t.Errorf("%q has mode %v, want %v", name, st.Mode(), want)
		}
		if !st.ModTime().Equal(lifecycleEpoch) {
			t.Errorf("%q is of %v", name, st.ModTime())
		}
	}
	if target, err := os.Readlink(filepath.Join(to, "link")); err != nil || target != "/nowhere" {
		t.Errorf("the link leads to %q: %v", target, err)
	}
}
