// Package cache takes folders of what can be made again and gives them a bound: what was not used for
// the longest time goes first.
//
// Nobody holds a lock on an entry that is a file: whoever reads one opens it first and then needs its
// name no more, and whoever finds it gone makes it again. So any number of processes may use a folder
// while others prune it, and one that is killed leaves nothing that another cannot go on from.
package cache

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Folder is a folder of entries. One that is not there has none.
type Folder struct {
	Path string

	// Trees says that the folders in it are the entries, each guarded by Lock of its path with
	// LockSuffix. Else all files below it are, where those of one folder whose names are the same up to
	// the first dot are one entry.
	Trees bool
}

// LockSuffix is what the file that guards a tree has behind the tree's name.
const LockSuffix = ".lock"

// fresh is how far the time of use that an entry has may lie behind, so that one which is used all the
// time is not written to all the time.
const fresh = time.Hour

// Used notes that the entry was used of which the path is a file, or the tree. It is best effort: a
// wrong time of use only changes what is removed first.
func Used(path string) {
	now := time.Now()
	if info, err := os.Stat(path); err == nil && now.Sub(info.ModTime()) >= fresh {
		_ = os.Chtimes(path, now, now)
	}
}

// Lock takes the flock(2) of the file at path, which is made when it is missing; how is unix.LOCK_SH or
// LOCK_EX, with LOCK_NB to get unix.EWOULDBLOCK where that would have to wait. Closing the file lets go.
func Lock(path string, how int) (*os.File, error) {
	for {
		f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
		if err != nil {
			return nil, err
		}
		err = unix.Flock(int(f.Fd()), how)
		for errors.Is(err, unix.EINTR) {
			err = unix.Flock(int(f.Fd()), how)
		}
		var st unix.Stat_t
		if err == nil {
			err = unix.Fstat(int(f.Fd()), &st)
		}
		switch {
		case err != nil:
			return nil, errors.Join(err, f.Close())
		case st.Nlink > 0:
			return f, nil
		}
		f.Close() // whoever held it has removed it: it guards nothing
	}
}

// Held is what folders hold.
type Held struct {
	Entries int   `json:"entries"`
	Bytes   int64 `json:"bytes"` // on disk, by whole blocks of 4 KiB
}

// Measure gives what the folders hold together. Its errors are those of the file system, or of ctx.
func Measure(ctx context.Context, folders ...Folder) (Held, error) {
	var held Held
	for _, f := range folders {
		err := f.each(ctx, func(e entry) {
			held.Entries++
			held.Bytes += e.bytes
		})
		if err != nil {
			return held, err
		}
	}
	return held, nil
}

// entry is what is removed as one.
type entry struct {
	folder string
	names  []string // in the folder: of files, or of one tree
	tree   bool
	below  bool // the folder is one below the cache's own
	bytes  int64
	used   time.Time
}

const (
	block = 4 << 10 // bytes

	trash   = ".gone-" // begins the names of trees that are being removed
	writing = 24 * time.Hour
)

// each calls visit with every entry.
func (f Folder) each(ctx context.Context, visit func(entry)) error {
	if f.Trees {
		return f.trees(ctx, visit)
	}
	return f.files(ctx, f.Path, visit)
}

func (f Folder) files(ctx context.Context, dir string, visit func(entry)) error {
	list, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	entries := map[string]*entry{}
	for _, item := range list {
		if err := ctx.Err(); err != nil {
			return err
		}
		if item.IsDir() {
			if err := f.files(ctx, filepath.Join(dir, item.Name()), visit); err != nil {
				return err
			}
			continue
		}
		info, err := item.Info()
		if err != nil || !info.Mode().IsRegular() {
			continue // gone meanwhile, or nobody's entry
		}
		stem, _, _ := strings.Cut(item.Name(), ".")
		used := info.ModTime()
		if stem == "" { // internal/aside's: a write under way, or what a killed process left of one
			stem, used = item.Name(), used.Add(writing)
		}
		e := entries[stem]
		if e == nil {
			e = &entry{folder: dir, below: dir != f.Path}
			entries[stem] = e
		}
		e.add(item.Name(), info.Size(), used)
	}
	for _, e := range entries {
		visit(*e)
	}
	return nil
}

func (f Folder) trees(ctx context.Context, visit func(entry)) error {
	list, err := os.ReadDir(f.Path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, item := range list {
		info, err := item.Info()
		if err != nil || !info.IsDir() || strings.HasPrefix(item.Name(), trash) {
			continue
		}
		e := entry{folder: f.Path, tree: true}
		e.add(item.Name(), 0, info.ModTime())
		err = filepath.WalkDir(filepath.Join(f.Path, item.Name()), func(_ string, d fs.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() {
				return ctx.Err()
			}
			if info, err := d.Info(); err == nil {
				e.bytes += blocks(info.Size())
			}
			return ctx.Err()
		})
		if err != nil {
			return err
		}
		visit(e)
	}
	return nil
}

func (e *entry) add(name string, bytes int64, used time.Time) {
	e.names = append(e.names, name)
	e.bytes += blocks(bytes)
	if used.After(e.used) {
		e.used = used
	}
}

// blocks gives the bytes that a file takes on disk, about; an empty one takes its inode.
func blocks(size int64) int64 { return max(1, (size+block-1)/block) * block }
