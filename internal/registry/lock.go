package registry

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"plimsoll.dev/plimsoll/internal/fault"
)

// locks keep manifest writes (many at once) apart from the deletions of the collector
// (alone): in this process and, with a local folder, in every process on that folder.
type locks struct {
	dir  string // "" when the store is not local
	mu   sync.RWMutex
	once sync.Once
	err  error
}

// Lock files. The kernel drops a lock with the process that held it, so a kill leaves
// nothing to mend.
const (
	writersLock   = "writers"   // shared by manifest writes, exclusive to a sweep
	turnstileLock = "turnstile" // held by a waiting sweep, so that writes cannot starve it
	collectLock   = "collect"   // one collection at a time
)

func newLocks(root string, readOnly bool) *locks {
	if root == "" || readOnly {
		return &locks{}
	}
	return &locks{dir: filepath.Join(root, "plimsoll", "locks")}
}

// shared holds off sweeps until the returned function is called.
func (l *locks) shared(ctx context.Context) (func(), error) {
	l.mu.RLock()
	gate, err := l.flock(ctx, turnstileLock, unix.LOCK_SH)
	if err != nil {
		l.mu.RUnlock()
		return nil, err
	}
	release, err := l.flock(ctx, writersLock, unix.LOCK_SH)
	gate()
	if err != nil {
		l.mu.RUnlock()
		return nil, err
	}
	return func() { release(); l.mu.RUnlock() }, nil
}

// exclusive waits for the writes under way and holds off new ones.
func (l *locks) exclusive(ctx context.Context) (func(), error) {
	l.mu.Lock()
	gate, err := l.flock(ctx, turnstileLock, unix.LOCK_EX)
	if err != nil {
		l.mu.Unlock()
		return nil, err
	}
	release, err := l.flock(ctx, writersLock, unix.LOCK_EX)
	if err != nil {
		gate()
		l.mu.Unlock()
		return nil, err
	}
	return func() { release(); gate(); l.mu.Unlock() }, nil
}

// collectPatience is how long a collection waits for its turn. One that has just ended may
// seem to go on for a moment: a process begun meanwhile holds all that is open here until
// it becomes another program.
const collectPatience = 2 * time.Second

// collecting claims the store for one collection, or gives an Unavailable fault.
func (l *locks) collecting(ctx context.Context) (func(), error) {
	if l.dir == "" {
		return func() {}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, collectPatience)
	defer cancel()
	release, err := l.flock(ctx, collectLock, unix.LOCK_EX)
	if errors.Is(err, context.DeadlineExceeded) {
		return nil, fault.Newf(fault.Unavailable, "collect garbage", filepath.Dir(filepath.Dir(l.dir)),
			"another collection is running").WithHint("wait until it has ended")
	}
	return release, err
}

// flock takes the named lock. Every call opens the file anew: a lock belongs to an open
// file, so calls in one process exclude each other as those of two processes do.
func (l *locks) flock(ctx context.Context, name string, how int) (func(), error) {
	if l.dir == "" {
		return func() {}, nil
	}
	l.once.Do(func() { l.err = os.MkdirAll(l.dir, 0o755) })
	if l.err != nil {
		return nil, fault.New(fault.Failed, "lock registry", l.dir, l.err)
	}
	path := filepath.Join(l.dir, name)
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_CREAT|unix.O_CLOEXEC, 0o644)
	if err != nil {
		return nil, fault.New(fault.Failed, "lock registry", path, err)
	}
	for wait := 200 * time.Microsecond; ; wait = min(2*wait, 20*time.Millisecond) {
		err := unix.Flock(fd, how|unix.LOCK_NB)
		if err == nil {
			return func() { unix.Close(fd) }, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			unix.Close(fd)
			return nil, fault.New(fault.Failed, "lock registry", path, err)
		}
		select {
		case <-ctx.Done():
			unix.Close(fd)
			return nil, ctx.Err()
		case <-time.After(wait):
		}
	}
}
