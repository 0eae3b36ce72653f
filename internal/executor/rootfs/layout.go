package rootfs

import (
	"context"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// layOut makes the tree at dst, which must not exist, and gives the bytes it takes besides
// the layers' blobs. Every folder it works in was made by itself just before, so no path
// here runs through a link.
func (s *Store) layOut(ctx context.Context, t *tree, layers []*layer, dst string) (int64, error) {
	l := &layout{ctx: ctx, layers: layers, idBase: s.opt.IDBase}
	err := l.dir(dst, t.root)
	return l.bytes, err
}

type layout struct {
	ctx    context.Context
	layers []*layer
	idBase uint32
	bytes  int64
	// Symbolic links and pipes that have two names; files are linked from their blob.
	placed map[*node]string
}

func (l *layout) dir(at string, n *node) error {
	if err := l.ctx.Err(); err != nil {
		return err
	}
	l.bytes += 4096
	if err := os.Mkdir(at, 0o700); err != nil {
		return err
	}
	for name, child := range n.children {
		path := filepath.Join(at, name)
		if child.children != nil {
			if err := l.dir(path, child); err != nil {
				return err
			}
			continue
		}
		if err := l.leaf(path, child); err != nil {
			return err
		}
	}
	// Last, because its mode may shut out even its maker, and its time changes until now.
	return setMeta(at, n.entry, l.idBase)
}

func (l *layout) leaf(at string, n *node) error {
	if n.entry.Kind == file && n.layer != noBlob {
		return os.Link(l.layers[n.layer].blob(n.entry), at)
	}
	if first, ok := l.placed[n]; ok {
		return os.Link(first, at)
	}
	l.bytes += 4096
	var err error
	switch n.entry.Kind {
	case symlink:
		err = os.Symlink(n.entry.Link, at)
	case fifo:
		if err = unix.Mkfifo(at, 0o600); err != nil {
			err = &os.PathError{Op: "mkfifo", Path: at, Err: err}
		}
	default:
		err = os.WriteFile(at, nil, 0o600)
	}
	if err != nil {
		return err
	}
	if l.placed == nil {
		l.placed = map[*node]string{}
	}
	l.placed[n] = at
	return setMeta(at, n.entry, l.idBase)
}
