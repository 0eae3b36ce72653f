package source

import (
	"maps"
	"slices"
	"strings"

	"plimsoll.dev/plimsoll/internal/ignore"
)

const (
	ownIgnore  = ".plimsollignore"
	maxIgnores = 1 << 20 // bytes of an ignore file
)

// chooser says what of a tree is taken, by the options and the tree's .plimsollignore.
type chooser struct {
	include, exclude, own ignore.List
}

func (o *Options) chooser(own string) chooser {
	return chooser{ignore.Lines(o.Include), ignore.Lines(o.Exclude), ignore.Parse(own)}
}

// verdict looks at the path itself, not at the folders that it is in.
func (c *chooser) verdict(at string, folder bool) ignore.Verdict {
	if v := c.exclude.Match(at, folder); v != ignore.Silent {
		return v
	}
	return c.own.Match(at, folder)
}

// includes tells whether a file is among those that alone are taken.
func (c *chooser) includes(at string) bool {
	return c.include.Empty() || c.include.Within(at) == ignore.Ignored
}

// arrange makes what is wanted of an unpacked tree all of it: the single top folder is
// stripped when strip is set, the sub-path descended to, what is left out removed.
func (j *job) arrange(strip bool) error {
	if strip {
		if err := j.tree.descend(j.tree.top()); err != nil {
			return err
		}
	}
	if err := j.tree.descend(j.options.Subpath); err != nil {
		return err
	}
	return j.choose()
}

// choose removes from the tree what the options and .plimsollignore leave out.
func (j *job) choose() error {
	own, err := j.tree.text(ownIgnore, maxIgnores)
	if err != nil {
		return err
	}
	c := j.options.chooser(own)
	out := map[string]bool{".": false} // folders
	var isOut func(folder string) bool
	isOut = func(folder string) bool {
		v, known := out[folder]
		if !known {
			v = isOut(parent(folder)) || c.verdict(folder, true) == ignore.Ignored
			out[folder] = v
		}
		return v
	}
	for _, at := range slices.Collect(maps.Keys(j.tree.entries)) {
		if isOut(parent(at)) || c.verdict(at, false) == ignore.Ignored || !c.includes(at) {
			if err := j.tree.remove(at); err != nil {
				return err
			}
		}
	}
	return nil
}

func parent(at string) string {
	if cut := strings.LastIndexByte(at, '/'); cut >= 0 {
		return at[:cut]
	}
	return "."
}
