package base

import (
	"archive/tar"
	"path"
	"slices"

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

	replaced bool // by another package's file; only passes through the tree

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
		for _, m := range t.members { // the same path of packages that share it
			for _, other := range slices.Clone(m.nodes) {
				if other.path == n.path {
					t.drop(other)
				}
			}
		}
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
	at := slices.Index(*from, n)
	if at < 0 {
		return
	}
	if heir := inherit(n, (*from)[at+1:]); heir != nil {
		*from = slices.DeleteFunc(slices.Clone(*from), func(other *node) bool { return other == heir })
		(*from)[at] = heir
		return
	}
	*from = slices.Delete(slices.Clone(*from), at, at+1)
}

// inherit makes the first hard link to a file that goes the file itself, with the place of
// its bytes in the package, and lets the others link there.
func inherit(n *node, after []*node) (heir *node) {
	if n.kind != tar.TypeReg {
		return nil
	}
	for _, other := range after {
		switch {
		case other.kind != tar.TypeLink || other.link != n.path:
		case heir == nil:
			heir = other
			heir.kind, heir.link, heir.size, heir.sum, heir.entry, heir.data = tar.TypeReg, "", n.size, n.sum, n.entry, n.data
		default:
			other.link = heir.path
		}
	}
	return heir
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

// each calls change for the node, for the same path of other packages that share it, and
// for all hard links of its file: every entry of a path or an inode says the same of it.
func (t *tree) each(n *node, change func(*node)) {
	file := n.path
	if n.kind == tar.TypeLink {
		file = n.link
	}
	change(n)
	among := func(nodes []*node) {
		for _, other := range nodes {
			if other != n && (other.path == file || other.kind == tar.TypeLink && other.link == file) {
				change(other)
			}
		}
	}
	among(t.made)
	for _, m := range t.members {
		among(m.nodes)
	}
}
