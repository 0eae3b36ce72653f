package tree

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
)

// Staged is what came back for a folder, whole, beside what is in it. Commit or Discard it.
type Staged struct {
	root    *os.Root
	removed []string
	dirs    []folder        // what folders are to be at the end
	said    map[string]bool // the names of those that came back
	open    map[string]bool // the names of those that can be changed
}

// Stage puts the changes of a folder, as Changes packs them, beside what is in it.
func Stage(ctx context.Context, root *os.Root, removed []string, r io.Reader, bounds Bounds) (*Staged, error) {
	for _, name := range removed {
		if got, err := clean(name); err != nil || got == "." {
			return nil, errors.Join(err, errors.New("a folder itself cannot be removed"))
		}
	}
	s := &Staged{root: root, removed: removed, said: map[string]bool{}, open: map[string]bool{}}
	s.Discard() // a killed process's
	if err := root.Mkdir(Staging, 0o700); err != nil {
		return nil, err
	}
	stage, err := root.OpenRoot(Staging)
	if err != nil {
		return nil, err
	}
	defer stage.Close()
	if s.dirs, err = unpack(ctx, stage, r, bounds); err != nil {
		s.Discard()
		return nil, err
	}
	for _, d := range s.dirs {
		s.said[d.name] = true
	}
	return s, nil
}

// Discard removes what was staged.
func (s *Staged) Discard() { _ = s.root.RemoveAll(Staging) } // what is left of it, the next Stage removes

// Commit makes the folder what it became.
func (s *Staged) Commit() error {
	defer s.Discard()
	for _, name := range s.removed {
		if err := s.letIn(path.Dir(name)); err != nil {
			return err
		}
		if err := s.remove(name); err != nil {
			return err
		}
	}
	if err := s.merge("."); err != nil {
		return err
	}
	s.Discard() // which changes the folder's time
	return finish(s.root, s.dirs)
}

// merge moves what is staged in the folder of that name to its place.
func (s *Staged) merge(name string) error {
	list, err := fs.ReadDir(s.root.FS(), path.Join(Staging, name))
	if err != nil {
		return err
	}
	for _, e := range list {
		at := path.Join(name, e.Name())
		if e.IsDir() && isDir(s.root, at) {
			if err := s.merge(at); err != nil {
				return err
			}
			continue
		}
		if err := s.letIn(name); err != nil {
			return err
		}
		if err := s.remove(at); err != nil {
			return err
		}
		if err := s.root.Rename(path.Join(Staging, at), at); err != nil {
			return err
		}
	}
	return nil
}

// remove takes away what has the name, whatever it is.
func (s *Staged) remove(name string) error {
	err := s.root.Remove(name)
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	// Folders in it may be shut to their owner.
	below, err := s.root.OpenRoot(name)
	if err != nil {
		return err
	}
	err = walk(below, true, func(at string, info fs.FileInfo) error {
		if info.IsDir() && info.Mode()&0o700 != 0o700 {
			return below.Chmod(at, 0o700)
		}
		return nil
	})
	return errors.Join(err, below.Close(), s.root.RemoveAll(name))
}

// letIn lets a folder that is to change be changed. At the end it is what came back says,
// or else what it was.
func (s *Staged) letIn(name string) error {
	if s.open[name] {
		return nil
	}
	s.open[name] = true
	info, err := s.root.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) || err == nil && !info.IsDir() {
		return nil // it went with the folder above it
	}
	if err != nil {
		return err
	}
	if !s.said[name] {
		s.dirs = append(s.dirs, folder{name, info.Mode() & (fs.ModePerm | fs.ModeSticky), info.ModTime()})
	}
	if info.Mode()&0o700 == 0o700 {
		return nil
	}
	return s.root.Chmod(name, info.Mode().Perm()|0o700)
}
