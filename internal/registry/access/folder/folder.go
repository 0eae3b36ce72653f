// Package folder takes the folder where access is kept and gives it to one writer at a time.
package folder

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"plimsoll.dev/plimsoll/internal/fault"
)

// patience is how long a writer waits for another, who needs a few milliseconds.
const patience = 10 * time.Second

// Make makes the folder for this user alone.
func Make(path string) error {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return fault.New(fault.Failed, "make folder", path, err).WithHint("choose a home this user may write to")
	}
	return nil
}

// Lock keeps other writers out, in this process and in others, until the function that it
// gives is called. The kernel drops the lock with the process that held it.
func Lock(ctx context.Context, path string) (unlock func(), err error) {
	if err := Make(path); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	name := filepath.Join(path, "lock")
	fd, err := unix.Open(name, unix.O_RDWR|unix.O_CREAT|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, fault.New(fault.Failed, "lock", name, err)
	}
	for {
		err := unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return func() { unix.Close(fd) }, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			unix.Close(fd)
			return nil, fault.New(fault.Failed, "lock", name, err)
		}
		select {
		case <-ctx.Done():
			unix.Close(fd)
			return nil, fault.New(fault.Unavailable, "lock", name, ctx.Err()).WithHint("another program holds it: try again")
		case <-time.After(5 * time.Millisecond):
		}
	}
}
