package rootfs

import (
	"context"
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"plimsoll.dev/plimsoll/internal/cache"
	"plimsoll.dev/plimsoll/internal/fault"
)

const (
	shared    = unix.LOCK_SH
	exclusive = unix.LOCK_EX
)

var errBusy = errors.New("in use")

// lock is a held flock(2). The kernel drops it when its process dies, so a lock that can be
// taken is the proof that its owner is gone.
type lock struct{ file *os.File }

// hold gives the shared lock on the folder dir, once it is there and whole; when it is not,
// one of those who want it makes it under the exclusive lock.
//
// The exclusive lock is never waited for. One that waits for it because the folder was
// missing a moment ago could wait for a reader that itself waits for this one.
func (s *Store) hold(ctx context.Context, name, dir string, build func() error) (*lock, error) {
	path := filepath.Join(s.dir, "locks", name)
	for wait := time.Millisecond; ; wait = min(2*wait, 50*time.Millisecond) {
		held, err := tryLock(path, shared)
		if err == nil && s.whole(dir) {
			held.touch()
			return held, nil
		}
		if err == nil {
			held.release()
			held, err = tryLock(path, exclusive)
		}
		if err == nil {
			err = s.makeHeld(held, dir, build)
			wait = time.Millisecond / 2
		}
		if err != nil && !errors.Is(err, errBusy) {
			if _, known := errors.AsType[*fault.Error](err); known {
				return nil, err
			}
			return nil, fault.New(fault.Failed, "lock layer cache", name, err)
		}
		select {
		case <-ctx.Done():
			return nil, fault.New(fault.Canceled, "wait for the layer cache", name, ctx.Err())
		case <-time.After(wait):
		}
	}
}

func (s *Store) makeHeld(held *lock, dir string, build func() error) error {
	defer held.release()
	if there, err := s.usable(dir); there || err != nil {
		return err
	}
	return build()
}

// tryLock takes the lock at path now or says errBusy.
func tryLock(path string, how int) (*lock, error) {
	f, err := cache.Lock(path, how|unix.LOCK_NB)
	switch {
	case errors.Is(err, unix.EWOULDBLOCK):
		return nil, errBusy
	case err != nil:
		return nil, err
	}
	return &lock{f}, nil
}

// touch notes the time of use, which Prune goes by.
func (l *lock) touch() {
	now := time.Now()
	// Best effort: a wrong time of use only changes what is pruned first.
	_ = os.Chtimes(l.file.Name(), now, now)
}

func (l *lock) release() { l.file.Close() }

// remove deletes the lock's file while it is held, then lets go.
func (l *lock) remove() {
	os.Remove(l.file.Name())
	l.release()
}

// aside has build fill a temporary folder and then renames it to final, so that final is
// either whole or absent.
func (s *Store) aside(ctx context.Context, final string, build func(dir string) error) error {
	tmp := filepath.Join(s.dir, "tmp", rand.Text())
	held, err := tryLock(tmp+".lock", exclusive)
	if err != nil {
		return fault.New(fault.Failed, "make temporary folder", tmp, err)
	}
	defer dispose(context.WithoutCancel(ctx), tmp, held)
	if err := os.Mkdir(tmp, 0o700); err != nil {
		return fault.New(fault.Failed, "make temporary folder", tmp, err)
	}
	if err := build(tmp); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(tmp, bootFile), []byte(s.boot), 0o600); err != nil {
		return fault.New(fault.Failed, "fill layer cache", final, err)
	}
	if err := ctx.Err(); err != nil {
		return fault.New(fault.Canceled, "fill layer cache", "", err)
	}
	if err := os.Rename(tmp, final); err != nil {
		return fault.New(fault.Failed, "fill layer cache", final, err)
	}
	return nil
}

// sweep removes temporary folders whose owner is gone.
func (s *Store) sweep(ctx context.Context) error {
	dir := filepath.Join(s.dir, "tmp")
	list, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range list {
		name, isLock := strings.CutSuffix(e.Name(), ".lock")
		if !isLock {
			continue // its lock, made before it, decides
		}
		held, err := tryLock(filepath.Join(dir, e.Name()), exclusive)
		if errors.Is(err, errBusy) {
			continue
		}
		if err != nil {
			return err
		}
		if err := dispose(ctx, filepath.Join(dir, name), held); err != nil {
			return err
		}
	}
	return nil
}

// dispose removes a temporary folder, if it is there, and then its lock, which stays for another sweep
// where the folder does.
func dispose(ctx context.Context, dir string, held *lock) error {
	err := removeInBits(ctx, dir)
	if err != nil {
		held.release()
	} else {
		held.remove()
	}
	return err
}

// removeInBits is removeAll that looks at ctx before each folder two levels below.
func removeInBits(ctx context.Context, dir string) error {
	for _, top := range folders(dir) {
		for _, sub := range folders(top) {
			if err := ctx.Err(); err != nil {
				return err
			}
			_ = removeAll(sub) // what stays is found below
		}
	}
	return removeAll(dir)
}

// folders lists those in a folder; none where it cannot be read.
func folders(dir string) (paths []string) {
	list, _ := os.ReadDir(dir) // its mode may shut it: removeAll gets through
	for _, e := range list {
		if e.IsDir() {
			paths = append(paths, filepath.Join(dir, e.Name()))
		}
	}
	return paths
}

// removeAll is os.RemoveAll that also gets through folders whose mode, taken from a layer,
// shuts out their own owner.
func removeAll(dir string) error {
	if err := os.RemoveAll(dir); err == nil {
		return nil
	}
	_ = filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err == nil && e.IsDir() {
			return os.Chmod(path, 0o700)
		}
		return nil
	})
	return os.RemoveAll(dir)
}
