package build

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/BurntSushi/toml"

	"plimsoll.dev/plimsoll/internal/build/cnb"
	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/ignore"
	"plimsoll.dev/plimsoll/internal/oci"
)

const (
	projectFile = "project.toml"
	maxProject  = 1 << 20 // bytes
)

// project is a project.toml, of which a build takes what concerns it (CNB
// extensions/project-descriptor.md, schema versions 0.1 to 0.3).
type project struct {
	New struct {
		Schema string `toml:"schema-version"`
	} `toml:"_"`
	IO struct {
		Buildpacks descriptor `toml:"buildpacks"`
	} `toml:"io"`
	Old descriptor01 `toml:"build"` // schema version 0.1
}

// descriptor is [io.buildpacks].
type descriptor struct {
	Builder string      `toml:"builder"`
	Include []string    `toml:"include"`
	Exclude []string    `toml:"exclude"`
	Group   []groupItem `toml:"group"`
	Pre     addition    `toml:"pre"`
	Post    addition    `toml:"post"`
	Build   struct {
		Env []variable `toml:"env"`
	} `toml:"build"`
}

// descriptor01 is [build] of schema version 0.1.
type descriptor01 struct {
	Builder    string      `toml:"builder"`
	Include    []string    `toml:"include"`
	Exclude    []string    `toml:"exclude"`
	Buildpacks []groupItem `toml:"buildpacks"`
	Env        []variable  `toml:"env"`
}

// addition is put before or after every group of the builder's order.
type addition struct {
	Group []groupItem `toml:"group"`
}

type groupItem struct {
	ID      string         `toml:"id"`
	Version string         `toml:"version"`
	URI     string         `toml:"uri"`
	Script  map[string]any `toml:"script"`
	ExecEnv execEnv        `toml:"exec-env"`
}

type variable struct {
	Name    string  `toml:"name"`
	Value   string  `toml:"value"`
	ExecEnv execEnv `toml:"exec-env"`
}

// execEnv lists the execution environments that something is for; none means all (CNB
// platform.md, "Execution Environments"). Builds here are for production.
type execEnv []string

func (e execEnv) applies() bool {
	return len(e) == 0 || slices.Contains(e, "production") || slices.Contains(e, "*")
}

// readProject reads the source's project.toml; one without is as an empty one.
func readProject(dir string) (*descriptor, error) {
	wrong := func(why string) error {
		return fault.Newf(fault.Usage, "read project descriptor", projectFile, why).WithHint("see docs/build.md, \"project.toml\"")
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fault.New(fault.Failed, "open source", dir, err)
	}
	defer root.Close()
	st, err := root.Stat(projectFile)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return &descriptor{}, nil
	case err != nil:
		return nil, wrong(err.Error())
	case !st.Mode().IsRegular() || st.Size() > maxProject:
		return nil, wrong("it is no file of at most 1 MiB")
	}
	text, err := root.ReadFile(projectFile)
	if err != nil {
		return nil, wrong(err.Error())
	}
	d, err := parseProject(text)
	if err != nil {
		return nil, wrong(err.Error())
	}
	return d, nil
}

func parseProject(text []byte) (*descriptor, error) {
	var p project
	if err := toml.Unmarshal(text, &p); err != nil {
		var parse toml.ParseError
		if errors.As(err, &parse) {
			return nil, fmt.Errorf("line %d: %s", parse.Position.Line, parse.Message)
		}
		return nil, err
	}
	d := p.IO.Buildpacks
	switch p.New.Schema {
	case "", "0.1":
		d = descriptor{Builder: p.Old.Builder, Include: p.Old.Include, Exclude: p.Old.Exclude, Group: p.Old.Buildpacks}
		d.Build.Env = p.Old.Env
	case "0.2", "0.3":
	default:
		return nil, fmt.Errorf("schema version %q is not known: 0.1, 0.2 and 0.3 are", p.New.Schema)
	}
	if len(d.Include) > 0 && len(d.Exclude) > 0 {
		return nil, errors.New("it has both include and exclude: only one is allowed")
	}
	for _, item := range slices.Concat(d.Group, d.Pre.Group, d.Post.Group) {
		switch {
		case item.URI != "":
			return nil, fmt.Errorf("buildpack %q has a uri: only buildpacks of the builder can be named here; add it to the builder", item.URI)
		case item.Script != nil:
			return nil, fmt.Errorf("buildpack %q is a script: only buildpacks of the builder can be named here; add one to the builder", item.ID)
		case item.ID == "":
			return nil, errors.New("a buildpack of a group has no id")
		}
	}
	for _, v := range d.Build.Env {
		if why := CheckVariable(v.Name); why != "" {
			return nil, fmt.Errorf("variable %q: %s", v.Name, why)
		}
	}
	return &d, nil
}

// join gives the request with what the descriptor adds, and with its defaults; what the
// user says counts more.
func (d *descriptor) join(r Request) (Request, error) {
	env := map[string]string{}
	for _, v := range d.Build.Env {
		if v.ExecEnv.applies() {
			env[v.Name] = v.Value
		}
	}
	maps.Copy(env, r.Settings.Environment)
	r.Settings.Environment = env
	if len(r.Settings.Buildpacks) == 0 {
		r.Settings.Buildpacks = fullNames(d.Group)
	}
	r.Settings.pre, r.Settings.post = fullNames(d.Pre.Group), fullNames(d.Post.Group)
	if len(r.Architectures) == 0 {
		r.Architectures = []string{machine}
	}
	if r.Builder.Reference != nil {
		return r, nil
	}
	var err error
	if r.Builder, err = oci.Parse(cmp.Or(d.Builder, DefaultBuilder)); err != nil {
		return r, err
	}
	// A builder approves bases: the source may choose among yours, and bring none.
	if !r.Builder.IsLocal() {
		return r, fault.Newf(fault.Denied, "choose builder", r.Builder.String(), "the source names it in project.toml, and it is not of the local store").
			WithHint("approve it: --builder " + r.Builder.String())
	}
	return r, nil
}

func fullNames(group []groupItem) []string {
	var names []string
	for _, item := range group {
		if item.ExecEnv.applies() {
			names = append(names, cnb.FullName(item.ID, item.Version))
		}
	}
	return names
}

// prune removes from the source what the descriptor keeps out of the build.
func (d *descriptor) prune(dir string) error {
	keep, patterns := false, d.Exclude
	if len(d.Include) > 0 {
		keep, patterns = true, d.Include
	}
	if len(patterns) == 0 {
		return nil
	}
	list := ignore.Lines(patterns)
	var doomed []string
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		relative, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		matched := list.Match(filepath.ToSlash(relative), e.IsDir()) == ignore.Ignored
		switch {
		case matched && keep && e.IsDir():
			return filepath.SkipDir // all that is in it stays
		case matched == keep || keep && e.IsDir():
			return nil
		}
		doomed = append(doomed, path)
		if e.IsDir() {
			return filepath.SkipDir
		}
		return nil
	})
	if err != nil {
		return fault.New(fault.Failed, "leave out files", projectFile, err)
	}
	for _, path := range doomed {
		if err := os.RemoveAll(path); err != nil {
			return fault.New(fault.Failed, "leave out files", projectFile, err)
		}
	}
	return nil
}
