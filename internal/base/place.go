package base

import (
	"archive/tar"
	"path"
	"regexp"
	"strings"
)

// merged are the top folders that stand in /usr (Debian's merged /usr; UsrMerge on the
// Debian wiki). Packages that still ship into them are placed where the links lead.
var merged = []string{"bin", "sbin", "lib", "lib32", "lib64", "libx32"}

// usrMerge gives the path below usr for one below a merged folder.
func usrMerge(file string) string {
	top, _, _ := strings.Cut(file, "/")
	for _, name := range merged {
		if top == name {
			return "usr/" + file
		}
	}
	return file
}

// maxLinks bounds the symlinks followed on one path, as the kernel does.
const maxLinks = 40

// follow walks the path part by part and follows symlinks, which readlink knows. An
// absolute link starts at the image's root; ".." never leaves it.
func follow(file string, last bool, readlink func(string) (string, bool)) (string, bool) {
	done, todo := "", strings.Split(file, "/")
	for hops := 0; len(todo) > 0; {
		part := todo[0]
		todo = todo[1:]
		switch part {
		case "", ".":
			continue
		case "..":
			if done = path.Dir(done); done == "." {
				done = ""
			}
			continue
		}
		next := path.Join(done, part)
		target, isLink := readlink(next)
		if !isLink || len(todo) == 0 && !last {
			done = next
			continue
		}
		if hops++; hops > maxLinks {
			return file, false
		}
		if strings.HasPrefix(target, "/") {
			done = ""
		}
		todo = append(strings.Split(target, "/"), todo...)
	}
	return done, true
}

// placer moves the paths that packages ship to where they really come to lie: through
// merged /usr, and through symlinked folders that another package ships.
type placer struct{ links map[string]string }

func newPlacer(members []*member) *placer {
	p := &placer{links: map[string]string{}}
	for _, m := range members {
		for i := range m.content.Entries {
			if e := &m.content.Entries[i]; e.Type == tar.TypeSymlink {
				p.links[p.merge(e.Path, e.Type)] = e.Link
			}
		}
	}
	return p
}

// merge applies merged /usr; the links at the top themselves (bin -> usr/bin) stay.
func (p *placer) merge(file string, kind byte) string {
	if kind == tar.TypeSymlink && !strings.Contains(file, "/") {
		return file
	}
	return usrMerge(file)
}

// place gives the path at which an entry of the kind comes to lie.
func (p *placer) place(file string, kind byte) (string, bool) {
	file = p.merge(file, kind)
	return follow(file, kind == tar.TypeDir, func(at string) (string, bool) {
		target, ok := p.links[at]
		return target, ok
	})
}

// patterns matches absolute paths: "*" and "?" stay within a folder, "**" crosses them.
type patterns []*regexp.Regexp

func compile(texts []string) patterns {
	var ps patterns
	for _, text := range texts {
		quoted := regexp.QuoteMeta(strings.TrimPrefix(text, "/"))
		quoted = strings.NewReplacer(`/\*\*`, `(/.*)?`, `\*\*`, `.*`, `\*`, `[^/]*`, `\?`, `[^/]`).Replace(quoted)
		ps = append(ps, regexp.MustCompile("^"+quoted+"$"))
	}
	return ps
}

func (ps patterns) match(file string) bool {
	for _, p := range ps {
		if p.MatchString(file) {
			return true
		}
	}
	return false
}
