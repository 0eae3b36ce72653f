package rootfs

import (
	"errors"
	"fmt"
	"path"
	"strings"

	"plimsoll.dev/plimsoll/internal/fault"
)

// tree is a root filesystem in memory.
type tree struct {
	root  *node
	steps int // name lookups done so far
}

// node is one inode; two names of one file share it.
type node struct {
	entry    *entry
	layer    int              // whose blob, for a file
	children map[string]*node // of a folder, else nil
}

const (
	maxHops = 40 // as the kernel's own limit on symbolic links in one path
	// A real image needs some ten lookups an entry. Chains of links can be made to need
	// thousands; this bounds what they cost to some seconds.
	maxSteps = 100_000_000
)

func newDir(name string) *node {
	return &node{entry: &entry{Name: name, Kind: dir, Mode: 0o755}, children: map[string]*node{}}
}

// merge joins layers, bottom first, as image-spec layer.md says: a layer's whiteouts hide
// what lies below it, and only that; then its entries are laid over.
func merge(layers []*layer) (*tree, error) {
	t := &tree{root: newDir(".")}
	for i, l := range layers {
		for _, e := range l.entries {
			if e.Kind == whiteout || e.Kind == opaque {
				if err := t.hide(e); err != nil {
					return nil, refuse(l.diffID, err)
				}
			}
		}
		for _, e := range l.entries {
			if e.Kind != whiteout && e.Kind != opaque {
				if err := t.put(i, e); err != nil {
					return nil, refuse(l.diffID, err)
				}
			}
		}
	}
	return t, nil
}

// hide takes a whiteout's target out of the tree. One that hides nothing is no error.
func (t *tree) hide(e *entry) error {
	name := e.Name
	if e.Kind == whiteout {
		name = path.Dir(name)
	}
	parent, _, err := t.walk(name, false)
	if errors.Is(err, errAbsent) || errors.Is(err, errNoFolder) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("whiteout in %q: %w", name, err)
	}
	if e.Kind == opaque {
		clear(parent.children)
		return nil
	}
	delete(parent.children, path.Base(e.Name))
	return nil
}

// put lays one entry over the tree. A folder over a folder keeps what is in it.
func (t *tree) put(layer int, e *entry) error {
	if e.Name == "." {
		t.root.entry = e
		return nil
	}
	parent, _, err := t.walk(path.Dir(e.Name), true)
	if err != nil {
		return fmt.Errorf("%q: %w", e.Name, err)
	}
	base := path.Base(e.Name)
	n := &node{entry: e, layer: layer}
	switch e.Kind {
	case hardlink:
		if n, err = t.linked(e); err != nil {
			return err
		}
	case dir:
		n.children = map[string]*node{}
		if old := parent.children[base]; old != nil && old.children != nil {
			n.children = old.children
		}
	}
	parent.children[base] = n
	return nil
}

// linked gives the file that a hard link names.
func (t *tree) linked(e *entry) (*node, error) {
	parent, _, err := t.walk(path.Dir(e.Link), false)
	if err != nil {
		return nil, fmt.Errorf("hard link %q to %q: %w", e.Name, e.Link, err)
	}
	n := parent.children[path.Base(e.Link)]
	switch {
	case n == nil:
		return nil, fmt.Errorf("hard link %q to %q: %w", e.Name, e.Link, errAbsent)
	case n.children != nil:
		return nil, fmt.Errorf("hard link %q to the folder %q", e.Name, e.Link)
	}
	return n, nil
}

var (
	errAbsent   = errors.New("it does not exist")
	errNoFolder = errors.New("not a folder")
)

// walk gives the folder of that name and its true path. Symbolic links are followed as if
// the tree were the whole world, like a process inside would see it. With grow, missing
// folders are made.
func (t *tree) walk(name string, grow bool) (*node, []string, error) {
	at, names := []*node{t.root}, []string{}
	rest, hops, length := strings.Split(name, "/"), 0, 0
	for len(rest) > 0 {
		part := rest[0]
		rest = rest[1:]
		if t.steps++; t.steps > maxSteps {
			return nil, nil, errors.New("the layers' links are too tangled to follow")
		}
		switch part {
		case "", ".":
			continue
		case "..":
			if len(names) > 0 {
				length -= len(names[len(names)-1]) + 1
				at, names = at[:len(at)-1], names[:len(names)-1]
			}
			continue
		}
		next := at[len(at)-1].children[part]
		if next == nil {
			if !grow {
				return nil, nil, errAbsent
			}
			next = newDir(part)
			at[len(at)-1].children[part] = next
		}
		switch {
		case next.children != nil:
			if length += len(part) + 1; length > maxPath {
				return nil, nil, fmt.Errorf("its path is longer than %d bytes", maxPath)
			}
			at, names = append(at, next), append(names, part)
		case next.entry.Kind == symlink:
			if hops++; hops > maxHops {
				return nil, nil, fmt.Errorf("too many symbolic links at %q", part)
			}
			if path.IsAbs(next.entry.Link) {
				at, names, length = at[:1], names[:0], 0
			}
			rest = append(strings.Split(next.entry.Link, "/"), rest...)
		default:
			return nil, nil, fmt.Errorf("%q: %w", part, errNoFolder)
		}
	}
	return at[len(at)-1], names, nil
}

// point makes a mount point where there is none and gives its true path.
func (t *tree) point(p Point) (string, error) {
	wrong := func(why error) error {
		return fault.New(fault.Usage, "make mount point", p.Path, why)
	}
	name, err := cleanName(path.Clean(p.Path))
	if err != nil {
		return "", wrong(err)
	}
	for range maxHops {
		parent, names, err := t.walk(path.Dir(name), true)
		if err != nil {
			return "", wrong(err)
		}
		base := path.Base(name)
		lies := "/" + path.Join(path.Join(names...), base)
		n := parent.children[base]
		switch {
		case n == nil && p.Dir:
			parent.children[base] = newDir(base)
			return lies, nil
		case n == nil:
			parent.children[base] = &node{entry: &entry{Name: base, Kind: file, Mode: 0o644}, layer: noBlob}
			return lies, nil
		case n.entry.Kind == symlink:
			if name = n.entry.Link; !path.IsAbs(name) {
				name = path.Join("/", path.Join(names...), name)
			}
			name = strings.TrimPrefix(path.Clean(name), "/")
			if name == "" {
				return "", wrong(errors.New("it would hide the root filesystem"))
			}
		case p.Dir != (n.children != nil):
			return "", wrong(errors.New("a folder and a file cannot be mounted on each other"))
		default:
			return lies, nil
		}
	}
	return "", wrong(errors.New("too many symbolic links"))
}

// noBlob marks an empty file that no layer holds.
const noBlob = -1
