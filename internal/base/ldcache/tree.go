package ldcache

import (
	"path"
	"slices"
	"strings"
)

// tree is the composed file system as far as libraries need it.
type tree struct {
	files   map[string]File     // files and links by path
	entries map[string][]string // names by directory, sorted
	dirs    map[string]bool     // directories that hold something
}

func newTree(files []File) *tree {
	t := &tree{files: map[string]File{}, entries: map[string][]string{}, dirs: map[string]bool{"/": true}}
	for _, f := range files {
		if _, twice := t.files[f.Path]; !twice {
			dir := path.Dir(f.Path)
			t.entries[dir] = append(t.entries[dir], path.Base(f.Path))
		}
		t.files[f.Path] = f
		for d := path.Dir(f.Path); !t.dirs[d]; d = path.Dir(d) {
			t.dirs[d] = true
		}
	}
	for _, names := range t.entries {
		slices.Sort(names)
	}
	return t
}

// has says whether there is a file or a link at the path, which may not run over links.
func (t *tree) has(p string) bool {
	_, ok := t.files[p]
	return ok
}

// children gives the names of the directories and links in a directory, sorted.
func (t *tree) children(dir string) []string {
	names := slices.Clone(t.entries[dir])
	for d := range t.dirs {
		if d != "/" && path.Dir(d) == dir {
			names = append(names, path.Base(d))
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// maxLinks is how many symbolic links a path may run over, as in Linux.
const maxLinks = 40

// resolve gives the path without symbolic links, inside the tree, and whether a file or a
// directory with something in it is there.
func (t *tree) resolve(p string) (string, bool) {
	done, rest := "/", strings.Split(p, "/")
	for links := 0; len(rest) > 0; {
		name := rest[0]
		rest = rest[1:]
		switch name {
		case "", ".":
			continue
		case "..":
			done = path.Dir(done)
			continue
		}
		next := path.Join(done, name)
		f, ok := t.files[next]
		if !ok || f.Target == "" {
			done = next
			continue
		}
		if links++; links > maxLinks {
			return "", false
		}
		if strings.HasPrefix(f.Target, "/") {
			done = "/"
		}
		rest = append(strings.Split(f.Target, "/"), rest...)
	}
	return done, t.dirs[done] || t.has(done)
}
