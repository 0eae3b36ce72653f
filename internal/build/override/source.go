package override

import (
	"cmp"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/mod/modfile"
	"golang.org/x/mod/semver"

	"plimsoll.dev/plimsoll/api/v1alpha1"
	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/buildpacks/nodejs/manifest"
	"plimsoll.dev/plimsoll/buildpacks/python/requirement"
	"plimsoll.dev/plimsoll/internal/fault"
)

// Raise is an override that bears on a source.
type Raise struct {
	Override v1alpha1.DependencyOverride

	// From are the versions below the floor that the source's lock files name, the lowest
	// first; none where only the build will show what it takes.
	From []string
}

// In gives the overrides that bear on the source in a folder: those of packages that its lock
// files name in a lower version, and those that may be about what no lock file says. The others
// would change nothing. It looks where buildpacks do: at the top, and into a Go workspace's
// modules.
func (h Holding) In(dir string) ([]Raise, error) {
	if len(h) == 0 {
		return nil, nil
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fault.New(fault.Failed, "open source", dir, err)
	}
	defer root.Close()
	sources := map[string]source{}
	for ecosystem, read := range map[string]func(tree) source{"npm": tree.npm, "Go": tree.golang, "PyPI": tree.python} {
		sources[ecosystem] = read(tree{root})
	}
	var raises []Raise
	for _, o := range h {
		s := sources[o.Spec.Ecosystem]
		from := s.below(o.Spec)
		if s.open || len(from) > 0 {
			raises = append(raises, Raise{o, from})
		}
	}
	return raises, nil
}

// Overrides gives those that the raises are of.
func Overrides(raises []Raise) Holding {
	var h Holding
	for _, r := range raises {
		h = append(h, r.Override)
	}
	return h
}

// source is what a source says of its dependencies in one ecosystem.
type source struct {
	locked map[string][]string // versions by the name's one spelling
	open   bool                // it does not say all
}

func (s *source) add(ecosystem, name, version string) {
	if s.locked == nil {
		s.locked = map[string][]string{}
	}
	name = artifact.AdvisorySpelling(ecosystem, name)
	s.locked[name] = append(s.locked[name], version)
}

func (s source) below(spec v1alpha1.DependencyOverrideSpec) []string {
	var low []string
	for _, v := range s.locked[artifact.AdvisorySpelling(spec.Ecosystem, spec.Package)] {
		if compare(spec.Ecosystem, v, spec.Version) < 0 {
			low = append(low, v)
		}
	}
	slices.SortFunc(low, func(a, b string) int { return cmp.Or(compare(spec.Ecosystem, a, b), cmp.Compare(a, b)) })
	return slices.Compact(low)
}

// tree reads files of a source: anybody's, so nothing leads out of it.
type tree struct{ root *os.Root }

const maxText = 64 << 20 // bytes; the largest lock files have a fifth

// text gives the file's content. What cannot be read is for the buildpack to complain of.
func (t tree) text(name string) ([]byte, bool) {
	f, err := t.root.Open(name)
	if err != nil {
		return nil, false
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() || info.Size() > maxText {
		return nil, true
	}
	text, err := io.ReadAll(io.LimitReader(f, maxText))
	if err != nil {
		return nil, true
	}
	return text, true
}

func (t tree) has(name string) bool {
	_, err := t.root.Stat(name)
	return !errors.Is(err, fs.ErrNotExist)
}

// npm reads the lock file that npm would use.
func (t tree) npm() source {
	text, ok := t.text("package.json")
	if !ok {
		return source{}
	}
	p, err := manifest.Parse(text)
	if err == nil && !p.HasDependencies() && !t.has("node_modules") {
		return source{}
	}
	for _, name := range []string{"npm-shrinkwrap.json", "package-lock.json"} {
		if text, ok = t.text(name); ok {
			break
		}
	}
	lock, err := manifest.ParseLock(text)
	s := source{open: err != nil || t.has("node_modules")}
	for folder, locked := range lock.Packages {
		if strings.Contains(folder, "node_modules/") && !locked.Link {
			s.add("npm", locked.NameIn(folder), locked.Version)
		}
	}
	return s
}

// golang reads go.mod: since Go 1.17 it names all modules that a build needs
// (https://go.dev/ref/mod#graph-pruning).
func (t tree) golang() source {
	modules := []string{"."}
	if text, ok := t.text("go.work"); ok {
		work, err := modfile.ParseWork("go.work", text, nil)
		if err != nil {
			return source{open: true}
		}
		modules = nil
		for _, use := range work.Use {
			modules = append(modules, use.Path)
		}
	}
	var s source
	for _, module := range modules {
		text, ok := t.text(path.Join(module, "go.mod"))
		if !ok {
			continue
		}
		file, err := modfile.Parse("go.mod", text, nil)
		if err != nil || file.Go == nil || semver.Compare("v"+file.Go.Version, "v1.17") < 0 {
			s.open = true
		}
		if err != nil {
			continue
		}
		for _, require := range file.Require {
			s.add("Go", require.Mod.Path, require.Mod.Version)
		}
		for _, replace := range file.Replace {
			if replace.New.Path == replace.Old.Path {
				s.add("Go", replace.New.Path, replace.New.Version)
			}
		}
	}
	return s
}

// pinned is a line of a requirements file that says which version.
var pinned = regexp.MustCompile(`^([A-Za-z0-9][A-Za-z0-9._-]*)\s*(?:\[[^\]]*\])?\s*\(?===?\s*([A-Za-z0-9.!+_-]+)\s*\)?\s*(;|--hash|$)`)

// python reads requirements.txt: with a hash for each it says all, else pip finds the rest.
func (t tree) python() source {
	var s source
	text, ok := t.text("requirements.txt")
	if !ok {
		_, project := t.text("pyproject.toml")
		return source{open: project}
	}
	for _, line := range requirement.Lines(string(text)) {
		if m := pinned.FindStringSubmatch(line); m != nil {
			s.add("PyPI", m[1], m[2])
		}
		s.open = s.open || !strings.Contains(line, "--hash")
	}
	return s
}
