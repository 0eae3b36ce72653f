package cache

import (
	"context"
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Options of Prune. The zero value is for a command.
type Options struct {
	// Recent takes also what was used within the last hour, which stays otherwise.
	Recent bool
	// Pause is waited after each entry that was removed, so that others get at the disk.
	Pause time.Duration
}

// Pruned says what Prune did.
type Pruned struct {
	Removed Held
	Left    Held
}

// Prune removes the longest unused entries of the folders until they hold at most maxBytes together.
// What is in use stays, what is being written, and what was used within the last hour. Its errors are
// those of the file system, or of ctx; what was done until then is said with them.
func Prune(ctx context.Context, maxBytes int64, o Options, folders ...Folder) (Pruned, error) {
	var done Pruned
	var all []entry
	for _, f := range folders {
		if err := f.sweep(); err != nil {
			return done, err
		}
		err := f.each(ctx, func(e entry) {
			all = append(all, e)
			done.Left.Entries++
			done.Left.Bytes += e.bytes
		})
		if err != nil {
			return done, err
		}
	}
	slices.SortFunc(all, func(a, b entry) int { return a.used.Compare(b.used) })
	for _, e := range all {
		if done.Left.Bytes <= maxBytes {
			break
		}
		if err := ctx.Err(); err != nil {
			return done, err
		}
		if e.spared(o) {
			continue
		}
		removed, err := e.remove(o)
		if err != nil {
			return done, err
		}
		if !removed {
			continue
		}
		done.Removed.Entries++
		done.Removed.Bytes += e.bytes
		done.Left.Entries--
		done.Left.Bytes -= e.bytes
		if err := pause(ctx, o.Pause); err != nil {
			return done, err
		}
	}
	return done, nil
}

// spared says that the entry was used within the last hour, or is being written.
func (e entry) spared(o Options) bool {
	age := time.Since(e.used)
	if o.Recent {
		return age < 0 // of what is being written
	}
	return age < 2*fresh // since Used leaves a time that is not an hour old
}

// remove removes an entry that is not in use.
func (e entry) remove(o Options) (bool, error) {
	if e.tree {
		return removeTree(filepath.Join(e.folder, e.names[0]))
	}
	for _, name := range e.names {
		path := filepath.Join(e.folder, name)
		// It may have been used since it was listed.
		if info, err := os.Lstat(path); err == nil && info.ModTime().After(e.used) && !o.Recent {
			return false, nil
		}
	}
	for _, name := range e.names {
		if err := os.Remove(filepath.Join(e.folder, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return false, err
		}
	}
	if e.below {
		_ = os.Remove(e.folder) // where nothing else is in it
	}
	return true, nil
}

// removeTree removes a tree unless somebody holds its lock. It is out of sight at once, and removed at
// leisure: a crash leaves it to the next sweep.
func removeTree(path string) (bool, error) {
	lock, err := Lock(path+LockSuffix, unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer lock.Close()
	aside := filepath.Join(filepath.Dir(path), trash+rand.Text())
	if err := os.Rename(path, aside); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	return true, errors.Join(os.Remove(lock.Name()), os.RemoveAll(aside))
}

// sweep removes what Prunes that were killed left.
func (f Folder) sweep() error {
	if !f.Trees {
		return nil
	}
	list, err := os.ReadDir(f.Path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, item := range list {
		if strings.HasPrefix(item.Name(), trash) {
			if err := os.RemoveAll(filepath.Join(f.Path, item.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

func pause(ctx context.Context, d time.Duration) error {
	if d == 0 {
		return nil
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
