package build

import (
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	caches "plimsoll.dev/plimsoll/internal/cache"
	"plimsoll.dev/plimsoll/internal/fault"
)

// work is the folder of one build. Its lock tells others that the build is alive.
type work struct {
	dir      string
	lock     *os.File
	removals sync.WaitGroup // of what is needed no more
}

// newWork makes a folder in dir, after removing those of builds that were killed.
func newWork(dir string) (*work, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fault.New(fault.Failed, "make work folder", dir, err)
	}
	sweepWork(dir)
	for {
		path := filepath.Join(dir, "build-"+rand.Text())
		w, err := lockWork(path)
		if err == nil {
			err = os.Mkdir(path, 0o700)
		}
		if errors.Is(err, unix.EWOULDBLOCK) {
			continue // a sweep was quicker, and took it for a dead build's
		}
		if err != nil {
			if w != nil {
				w.close()
			}
			return nil, fault.New(fault.Failed, "make work folder", path, err)
		}
		return w, nil
	}
}

// lockWork takes the lock of a folder, which need not exist. Its error is EWOULDBLOCK when
// another has it.
func lockWork(path string) (*work, error) {
	lock, err := caches.Lock(path+caches.LockSuffix, unix.LOCK_EX|unix.LOCK_NB)
	if err != nil {
		return nil, err
	}
	return &work{dir: path, lock: lock}, nil
}

func (w *work) path(elements ...string) string {
	return filepath.Join(append([]string{w.dir}, elements...)...)
}

func (w *work) close() {
	w.removals.Wait()
	_ = removeAll(w.dir) // what cannot be removed now is swept by the next build
	_ = os.Remove(w.dir + ".lock")
	_ = w.lock.Close()
}

// sweepWork removes the folders whose builds are dead, and their locks.
func sweepWork(dir string) {
	all, _ := filepath.Glob(filepath.Join(dir, "build-*"))
	for _, path := range all {
		if dead, err := lockWork(strings.TrimSuffix(path, ".lock")); err == nil {
			dead.close()
		}
	}
}

// removeAll is os.RemoveAll for trees with folders that may not be written to, such as a
// Go module cache.
func removeAll(dir string) error {
	err := os.RemoveAll(dir)
	if !errors.Is(err, fs.ErrPermission) {
		return err
	}
	_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			err = os.Chmod(path, 0o700)
		}
		return err
	})
	return os.RemoveAll(dir)
}

// discard removes folders that are needed no more, while the build goes on.
func (w *work) discard(folders ...string) {
	w.removals.Go(func() {
		for _, folder := range folders {
			_ = removeAll(folder) // close tries again
		}
	})
}

// enter gives the work folder of one architecture, with a copy of the source tree as its
// workspace; the last takes the tree itself.
func (w *work) enter(architecture, tree string, last bool) (*work, error) {
	inner := &work{dir: w.path(architecture)}
	if err := os.MkdirAll(inner.dir, 0o755); err != nil {
		return nil, err
	}
	if last {
		return inner, os.Rename(tree, inner.path("workspace"))
	}
	return inner, copyTree(inner.path("workspace"), tree)
}

// copyTree copies a source tree, whose files all have one time, and modes that do not
// depend on the umask.
func copyTree(to, from string) error {
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		return err
	}
	return filepath.WalkDir(to, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.Type() != fs.ModeSymlink {
			original, err := os.Lstat(from + strings.TrimPrefix(path, to))
			if err != nil {
				return err
			}
			if err := os.Chmod(path, original.Mode().Perm()); err != nil {
				return err
			}
		}
		stamp := unix.NsecToTimeval(lifecycleEpoch.UnixNano())
		return unix.Lutimes(path, []unix.Timeval{stamp, stamp})
	})
}
