package hardening

import (
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"strings"
)

// paths are those of one layer, by what they hide of the layers below.
type paths struct {
	files   []uint64 // hide a path and all below it: everything but folders, and whiteouts
	folders []uint64 // hide a path
	emptied []uint64 // hide all below a path
}

// mark stands for a path. It is a part of its SHA-256, so that nobody finds another path
// to hide it by.
func mark(path string) uint64 {
	sum := sha256.Sum256([]byte(path))
	return binary.BigEndian.Uint64(sum[:])
}

func (p *paths) add(path string, isFolder bool) {
	if isFolder {
		p.folders = append(p.folders, mark(path))
	} else {
		p.files = append(p.files, mark(path))
	}
}

func (p *paths) empty(folder string) { p.emptied = append(p.emptied, mark(folder)) }

// index gives the paths sorted.
func (p *paths) index() index {
	x := index{p.files, p.folders, p.emptied}
	for i := range x {
		slices.Sort(x[i])
		x[i] = slices.Compact(x[i])
	}
	return x
}

// index is paths as sorted lists of marks: files, folders, emptied.
type index [3][]uint64

// hides says whether a file of a lower layer, which is at the place, is not seen.
func (x *index) hides(at place) bool {
	if x.has(0, at.path) || x.has(1, at.path) {
		return true
	}
	if at.other != at.path && (x.has(0, at.other) || x.has(1, at.other)) {
		return true
	}
	for _, above := range at.above {
		if x.has(0, above) || x.has(2, above) {
			return true
		}
	}
	return false
}

// place is a path by marks, which are costly to make.
type place struct {
	path  uint64
	above []uint64 // the folders it is in, the root last
	other uint64   // the same file through a link of the root: bin/sh is usr/bin/sh
}

func placeOf(path string, links []link) place {
	other := path
	for _, l := range links {
		if rest, ok := strings.CutPrefix(path, l.From+"/"); ok {
			path = l.To + "/" + rest
			break
		}
		if rest, ok := strings.CutPrefix(path, l.To+"/"); ok {
			other = l.From + "/" + rest
		}
	}
	at := place{path: mark(path), other: mark(other)}
	for path != "" {
		path = path[:max(strings.LastIndexByte(path, '/'), 0)]
		at.above = append(at.above, mark(path))
	}
	return at
}

func (x *index) has(list int, want uint64) bool {
	_, found := slices.BinarySearch(x[list], want)
	return found
}
