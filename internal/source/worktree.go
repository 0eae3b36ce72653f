package source

import (
	"context"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/ignore"
)

// workTree is what git knows of a directory. Without git, or outside of a work tree, only
// the user's own ignore rules are set.
type workTree struct {
	top     string          // the work tree's top, or the directory itself
	prefix  string          // the directory, relative to the top; "." is the top
	rule    *rules          // of the user and of the repository, which are in no tree
	files   map[string]bool // what is tracked, relative to the directory
	folders map[string]bool // the folders of files

	origin, branch, revision string
	time                     time.Time
	clean                    bool // nothing that is tracked differs from the revision
}

// path gives the path relative to the top.
func (w *workTree) path(at string) string { return path.Join(w.prefix, at) }

// above gives the folders from the top to above the directory.
func (w *workTree) above() []string {
	var out []string
	for at := w.prefix; at != "."; {
		at = path.Dir(at)
		out = append([]string{at}, out...)
	}
	return out
}

// describe tells the Source of the commit; allTracked says that git tracks all of it.
func (w *workTree) describe(s *artifact.Source, allTracked bool) {
	if len(w.files) == 0 || w.revision == "" {
		return // nothing in it is that repository's
	}
	s.Origin, s.Ref, s.Revision, s.Time = w.origin, w.branch, w.revision, w.time
	s.Clean = w.clean && allTracked
	if s.Subpath = w.prefix; s.Subpath == "." {
		s.Subpath = ""
	}
}

// workTree asks git about a directory. What git does not answer is not known.
func (j *job) workTree(ctx context.Context, dir string) workTree {
	w := workTree{top: dir, prefix: ".", files: map[string]bool{}, folders: map[string]bool{}}
	g := j.localGit(dir)
	config := g.config(ctx)
	w.rule = w.add(config.excludes(g.env), nil)
	lines := g.lines(ctx, "rev-parse", "--show-toplevel", "--show-prefix", "--git-path", "info/exclude")
	if len(lines) < 3 {
		return w
	}
	w.top, w.prefix = lines[0], path.Clean(lines[1])
	info := lines[2]
	if !filepath.IsAbs(info) {
		info = filepath.Join(dir, info)
	}
	w.rule = w.add(info, w.rule)
	g.settings = append(g.settings, config.withoutFilters()...)
	w.revision = g.line(ctx, "rev-parse", "--verify", "--quiet", "HEAD^{commit}")
	if w.revision == "" {
		return w
	}
	w.origin = publicRemote(config.last("remote.origin.url"))
	w.branch = g.line(ctx, "symbolic-ref", "--quiet", "--short", "HEAD")
	w.time = g.commitTime(ctx, w.revision)
	w.clean = w.track(ctx, g, "")
	return w
}

// add puts an ignore file that lies outside of the tree on top of the rules.
func (w *workTree) add(file string, above *rules) *rules {
	info, err := os.Stat(file)
	if err != nil || info.Size() > maxIgnores {
		return above
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return above
	}
	return &rules{".", ignore.Parse(string(text)), above}
}

// track lists what git tracks, in submodules too, and tells whether all is as in the commit.
func (w *workTree) track(ctx context.Context, g git, prefix string) (clean bool) {
	list, err := g.output(ctx, "ls-files", "--stage", "-z")
	if err != nil {
		return false
	}
	changed, err := g.output(ctx, "status", "--porcelain", "-z", "--untracked-files=no", "--ignore-submodules=dirty", "--no-renames", "--", ".")
	clean = err == nil && len(changed) == 0
	for line := range strings.SplitSeq(string(list), "\x00") {
		about, name, ok := strings.Cut(line, "\t")
		if !ok {
			continue
		}
		at := path.Join(prefix, name)
		if !strings.HasPrefix(about, gitlink+" ") {
			w.files[at] = true
			for folder := parent(at); folder != "." && !w.folders[folder]; folder = parent(folder) {
				w.folders[folder] = true
			}
			continue
		}
		dir := filepath.Join(g.dir, filepath.FromSlash(name))
		if _, err := os.Lstat(filepath.Join(dir, ".git")); err != nil {
			continue // not checked out
		}
		sub := g
		sub.dir = dir
		sub.settings = append(slices.Clip(g.settings), sub.config(ctx).withoutFilters()...)
		clean = w.track(ctx, sub, at) && clean
	}
	return clean
}

// gitConfig is what git's configuration files say, in their order.
type gitConfig []setting

type setting struct{ scope, name, value string }

func (g git) config(ctx context.Context) gitConfig {
	out, err := g.output(ctx, "config", "--list", "--show-scope", "-z")
	if err != nil {
		return nil
	}
	var c gitConfig
	fields := strings.Split(string(out), "\x00")
	for ; len(fields) >= 2; fields = fields[2:] {
		name, value, _ := strings.Cut(fields[1], "\n")
		c = append(c, setting{fields[0], name, value})
	}
	return c
}

func (c gitConfig) last(name string) string {
	for i := len(c) - 1; i >= 0; i-- {
		if c[i].name == name {
			return c[i].value
		}
	}
	return ""
}

// excludes gives the file of the user's own ignore rules, as gitignore(5) finds it.
func (c gitConfig) excludes(env []string) string {
	home := valueIn(env, "HOME")
	if file := c.last("core.excludesfile"); file != "" {
		if rest, ok := strings.CutPrefix(file, "~/"); ok {
			return filepath.Join(home, rest)
		}
		return file
	}
	if folder := valueIn(env, "XDG_CONFIG_HOME"); folder != "" {
		return filepath.Join(folder, "git", "ignore")
	}
	return filepath.Join(home, ".config", "git", "ignore")
}

// withoutFilters gives the settings that turn off the filters which the repository itself
// configures: they are commands, and who unpacks a stranger's repository does not mean to
// run them.
func (c gitConfig) withoutFilters() gitConfig {
	var off gitConfig
	for _, s := range c {
		if (s.scope == "local" || s.scope == "worktree") && strings.HasPrefix(s.name, "filter.") {
			value := ""
			if strings.HasSuffix(s.name, ".required") {
				value = "false"
			}
			off = append(off, setting{name: s.name, value: value})
		}
	}
	return off
}

// publicRemote gives a remote's URL without login; "" for one that is on this machine.
func publicRemote(remote string) string {
	p, err := parse(remote)
	if err != nil || p.kind != artifact.GitSource && p.kind != artifact.ArchiveSource || p.scheme == "file" {
		return ""
	}
	return p.shown
}

func (g git) commitTime(ctx context.Context, revision string) time.Time {
	seconds, _, _ := strings.Cut(g.line(ctx, "rev-list", "--max-count=1", "--timestamp", revision), " ")
	n, err := strconv.ParseInt(seconds, 10, 64)
	if err != nil {
		return time.Time{}
	}
	return time.Unix(n, 0).UTC()
}
