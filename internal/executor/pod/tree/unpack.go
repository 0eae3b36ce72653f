package tree

import (
	"archive/tar"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"time"
)

// Unpack puts the members of a tar into a folder, which holds none of them. Nothing is ever
// written outside of it.
func Unpack(ctx context.Context, root *os.Root, r io.Reader, bounds Bounds) error {
	dirs, err := unpack(ctx, root, r, bounds)
	if err != nil {
		return err
	}
	return finish(root, dirs)
}

// folder is what a folder is to be when all is in it.
type folder struct {
	name string
	mode fs.FileMode
	time time.Time // zero: as it comes
}

// unpack leaves folders open to their owner, and gives what they are to be.
func unpack(ctx context.Context, root *os.Root, r io.Reader, bounds Bounds) ([]folder, error) {
	u := &unpacker{root: root, bounds: bounds.orNone(), in: tar.NewReader(r), buf: make([]byte, 256<<10)}
	for {
		h, err := u.in.Next()
		if err == io.EOF {
			return u.dirs, nil
		}
		if err == nil {
			err = cmp.Or(ctx.Err(), u.member(h))
		}
		if err != nil {
			return nil, err
		}
	}
}

type unpacker struct {
	root   *os.Root
	bounds Bounds
	in     *tar.Reader
	buf    []byte
	dirs   []folder
}

func (u *unpacker) member(h *tar.Header) error {
	name, err := clean(h.Name)
	if err != nil {
		return err
	}
	if err := u.bounds.take(name, h.Size); err != nil {
		return err
	}
	if name == "." && h.Typeflag != tar.TypeDir {
		return fmt.Errorf("the folder itself is of the kind %q", h.Typeflag)
	}
	if parent := path.Dir(name); parent != "." {
		if err := u.root.MkdirAll(parent, 0o700); err != nil {
			return err
		}
	}
	switch h.Typeflag {
	case tar.TypeDir:
		if err := u.root.Mkdir(name, 0o700); err != nil && !isDir(u.root, name) {
			return err
		}
		u.dirs = append(u.dirs, folder{name, fileMode(h.Mode), modTime(h)})
		return nil
	case tar.TypeSymlink:
		return u.root.Symlink(h.Linkname, name)
	case tar.TypeLink:
		target, err := clean(h.Linkname)
		if err != nil {
			return err
		}
		return u.root.Link(target, name)
	case tar.TypeReg:
		return u.file(name, h)
	}
	return fmt.Errorf("%q is of the kind %q", name, h.Typeflag)
}

func (u *unpacker) file(name string, h *tar.Header) error {
	f, err := u.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.CopyBuffer(struct{ io.Writer }{f}, struct{ io.Reader }{u.in}, u.buf)
	if err = errors.Join(err, f.Chmod(fileMode(h.Mode)), f.Close()); err != nil {
		return fmt.Errorf("%q: %w", name, err)
	}
	if t := modTime(h); !t.IsZero() {
		return u.root.Chtimes(name, t, t)
	}
	return nil
}

// finish gives folders their modes and times, the deepest first.
func finish(root *os.Root, dirs []folder) error {
	slices.SortFunc(dirs, func(a, b folder) int { return cmp.Compare(b.name, a.name) })
	for _, d := range dirs {
		if !isDir(root, d.name) {
			continue // something else took its place
		}
		if !d.time.IsZero() {
			if err := root.Chtimes(d.name, d.time, d.time); err != nil {
				return err
			}
		}
		// A folder's own root may be another's, such as a volume's.
		if err := root.Chmod(d.name, d.mode); err != nil && d.name != "." {
			return err
		}
	}
	return nil
}

func isDir(root *os.Root, name string) bool {
	info, err := root.Lstat(name)
	return err == nil && info.IsDir()
}

func fileMode(mode int64) fs.FileMode {
	m := fs.FileMode(mode & 0o777)
	if mode&modes&0o1000 != 0 {
		m |= fs.ModeSticky
	}
	return m
}

func modTime(h *tar.Header) time.Time {
	if h.ModTime.Unix() == 0 && h.Uname == "" {
		return time.Time{}
	}
	return withFraction(h.ModTime, h.Uname)
}
