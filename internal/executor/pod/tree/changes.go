package tree

import (
	"context"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
)

// Snapshot is what lay in a folder at a time.
type Snapshot struct {
	stamps map[string]stamp
}

// Snap looks at a folder. What is changed in it later than the next tick of the file
// system's clock (milliseconds) is found by Changes.
func Snap(root *os.Root) (*Snapshot, error) {
	s := &Snapshot{stamps: map[string]stamp{}}
	err := walk(root, false, func(name string, info fs.FileInfo) error {
		s.stamps[name] = stampOf(info)
		return nil
	})
	return s, err
}

// Changes is what has become of a folder since a Snapshot.
type Changes struct {
	Removed []string // names that are gone, without those below them
	root    *os.Root
	changed []member
}

// Changes compares the folder with what it was. It opens folders that their owner has shut,
// and gives ErrTooMuch when more has changed than the bounds allow.
func (s *Snapshot) Changes(root *os.Root, bounds Bounds) (*Changes, error) {
	left := maps.Clone(s.stamps)
	bounds = bounds.orNone()
	c := &Changes{root: root}
	err := walk(root, true, func(name string, info fs.FileInfo) error {
		before, was := left[name]
		delete(left, name)
		if mode := info.Mode(); !mode.IsDir() && !mode.IsRegular() && mode&fs.ModeSymlink == 0 {
			return nil
		}
		if was && before == stampOf(info) {
			return nil
		}
		size := int64(0)
		if info.Mode().IsRegular() {
			size = info.Size()
		}
		c.changed = append(c.changed, member{at: name, name: name, info: info})
		return bounds.take(name, size)
	})
	if err != nil {
		return nil, err
	}
	for _, name := range slices.Sorted(maps.Keys(left)) {
		if _, whole := left[path.Dir(name)]; !whole {
			c.Removed = append(c.Removed, name)
		}
	}
	return c, nil
}

// Pack writes what is new or other than it was.
func (c *Changes) Pack(ctx context.Context, w io.Writer) error {
	p := NewPacker(ctx, w)
	seen := map[stamp]string{}
	for _, m := range c.changed {
		if err := p.member(c.root, m, seen, true); err != nil {
			return err
		}
	}
	return p.Close()
}
