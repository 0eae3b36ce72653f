package base

import (
	"archive/tar"
	"path"

	"plimsoll.dev/plimsoll/internal/base/content"
)

// node is one path of the image, as its layer will hold it.
type node struct {
	path     string // relative to the root, clean
	kind     byte   // tar.TypeReg, TypeDir, TypeSymlink or TypeLink
	mode     int64
	uid, gid int
	link     string
	size     int64
	mtime    int64
	xattr    map[string][]byte

	owner *member        // the package it belongs to; nil for what the spec or Plimsoll makes
	entry *content.Entry // what the package says of it; nil for made nodes
	data  []byte         // a made file's bytes
	layer string         // a made node's layer
	sum   string         // SHA-256 of the bytes, hex; set for regular files
}

// member is a package's part of the tree.
type member struct {
	pkg     Package
	content *content.Content
	nodes   []*node // kept ones, in the order of the package
}

// tree is all paths of one image of one architecture.
type tree struct {
	members []*member        // by name
	made    []*node          // what belongs to no package
	at      map[string]*node // by path; where packages share a path, the one that counts
}

// epoch is the time of all that Plimsoll makes: 1980-01-01T00:00:01Z, as buildpacks use,
// since some tools take a zero for "unset".
const epoch = 315532801

func (n *node) isDir() bool { return n.kind == tar.TypeDir }

// add puts a made node in the tree, in place of what a package may have shipped there.
func (t *tree) add(n *node) {
	if old, ok := t.at[n.path]; ok {
		t.drop(old)
	}
	n.owner, n.mtime, n.layer = nil, epoch, baseLayer
	t.made = append(t.made, n)
	t.at[n.path] = n
}

// parents adds the folders above the path that nobody made, plain and owned by root.
func (t *tree) parents(file string) {
	for dir := path.Dir(file); dir != "." && dir != "/"; dir = path.Dir(dir) {
		if _, ok := t.at[dir]; ok {
			return
		}
		t.add(&node{path: dir, kind: tar.TypeDir, mode: 0o755})
	}
}

// drop takes a node out of the tree.
func (t *tree) drop(n *node) {
	if t.at[n.path] == n {
		delete(t.at, n.path)
	}
	from := &t.made
	if n.owner != nil {
		from = &n.owner.nodes
	}
	for i, other := range *from {
		if other == n {
			*from = append((*from)[:i:i], (*from)[i+1:]...)
			return
		}
	}
}

// resolve gives the path with every symlink of the tree on the way followed, its last part
// only when last is true; ok is false when links go in a circle.
func (t *tree) resolve(file string, last bool) (string, bool) {
	return follow(file, last, func(p string) (string, bool) {
		if n, ok := t.at[p]; ok && n.kind == tar.TypeSymlink {
			return n.link, true
		}
		return "", false
	})
}

// each calls change for the node and, when it is a folder that several packages ship, for
// those of the others: every layer that holds the folder says the same of it.
func (t *tree) each(n *node, change func(*node)) {
	change(n)
	if !n.isDir() {
		return
	}
	for _, m := range t.members {
		for _, other := range m.nodes {
			if other.path == n.path && other != n {
				change(other)
			}
		}
	}
}
