package builder

import (
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"

	"plimsoll.dev/plimsoll/api/v1alpha1"
	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/manifest"
	"plimsoll.dev/plimsoll/internal/oci"
)

// Spec is a checked Builder, with its defaults and absolute paths, that knows its lines.
type Spec struct {
	v1alpha1.Builder

	file string
	doc  *manifest.Document // nil: it was read from no file
}

const specHint = "docs/builders.md describes every field"

// Load reads the Builder in the file.
func Load(path string) (*Spec, error) {
	text, err := manifest.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return Parse(path, text)
}

// Parse reads the Builder in the text, as if it stood in the file.
func Parse(file string, text []byte) (*Spec, error) {
	s := &Spec{file: file}
	var err error
	if s.doc, err = manifest.Decode(text, v1alpha1.BuilderKind, &s.Builder); err != nil {
		return nil, fault.New(fault.Usage, "read spec", file, err).WithHint(specHint)
	}
	if bad := check(&s.Builder); bad != nil {
		return nil, s.fault(fault.Usage, bad.Field, bad.Text).WithHint(specHint)
	}
	s.setDefaults(filepath.Dir(file))
	return s, nil
}

// FromResource checks a Builder that stands in a cluster. There is no file beside it: a relative
// path in it is below the folder of parts, and no other path is taken.
func FromResource(resource *v1alpha1.Builder, parts string) (*Spec, error) {
	s := &Spec{Builder: *resource.DeepCopy(), file: v1alpha1.BuilderKind + "/" + resource.Name}
	s.APIVersion, s.Kind = v1alpha1.APIVersion, v1alpha1.BuilderKind
	bad := check(&s.Builder)
	if bad == nil {
		bad = checkParts(&s.Builder.Spec, parts)
	}
	if bad != nil {
		return nil, s.fault(fault.Usage, bad.Field, bad.Text).WithHint(specHint)
	}
	s.setDefaults(parts)
	return s, nil
}

// checkParts gives the first path that does not lie below the folder of parts, or nil.
func checkParts(s *v1alpha1.BuilderSpec, parts string) *manifest.Problem {
	check := func(field, path string) *manifest.Problem {
		if path == "" || parts != "" && filepath.IsLocal(path) {
			return nil
		}
		return manifest.Bad(field, fmt.Sprintf("want a path below the folder of parts, or name an image, got %q", path))
	}
	if p := check("spec.lifecycle.path", s.Lifecycle.Path); p != nil {
		return p
	}
	for i, b := range s.Buildpacks {
		if p := check(fmt.Sprintf("spec.buildpacks[%d].path", i), b.Path); p != nil {
			return p
		}
	}
	return nil
}

// fault gives an error about a field, which names its line where it has one.
func (s *Spec) fault(kind fault.Kind, field, text string) *fault.Error {
	return fault.New(kind, "read spec", s.file, s.at(field, errors.New(text)))
}

// at gives err as a complaint about a field.
func (s *Spec) at(field string, err error) error {
	if s.doc == nil {
		return fmt.Errorf("%s: %w", field, err)
	}
	return fmt.Errorf("line %d: %s: %w", s.doc.Line(field), field, err)
}

// wrap gives err, of its own kind, as the fault of a field. The hint is for where err has
// none.
func (s *Spec) wrap(field string, err error, hint string) error {
	wrapped := fault.New(fault.KindOf(err), "make builder", s.file, s.at(field, err))
	if fault.HintOf(err) == "" {
		return wrapped.WithHint(hint)
	}
	return wrapped
}

func (s *Spec) setDefaults(folder string) {
	spec := &s.Builder.Spec
	if len(spec.Architectures) == 0 {
		spec.Architectures = []string{runtime.GOARCH}
	}
	slices.Sort(spec.Architectures)
	absolute := func(path *string) {
		if *path != "" && !filepath.IsAbs(*path) {
			*path = filepath.Join(folder, *path)
		}
	}
	absolute(&spec.Lifecycle.Path)
	for i := range spec.Buildpacks {
		absolute(&spec.Buildpacks[i].Path)
	}
}

var (
	// buildpackID matches ids (buildpack.md, "buildpack.toml"). Without "_" no two of them
	// have the same folder.
	buildpackID = regexp.MustCompile(`^[A-Za-z0-9-][A-Za-z0-9.-]*(/[A-Za-z0-9-][A-Za-z0-9.-]*)*$`)
	version     = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9.+_-]*$`)
	envName     = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
)

// known are the architectures that builders are made for.
var known = []string{"amd64", "arm64"}

// check gives the first problem of the builder, or nil.
func check(b *v1alpha1.Builder) *manifest.Problem {
	if p := manifest.CheckHeader(b.TypeMeta, v1alpha1.BuilderKind, b.Name); p != nil {
		return p
	}
	for _, step := range []func(*v1alpha1.BuilderSpec) *manifest.Problem{
		checkBases, checkSources, checkOrder, checkRest,
	} {
		if p := step(&b.Spec); p != nil {
			p.Field = "spec." + p.Field
			return p
		}
	}
	return nil
}

func checkBases(s *v1alpha1.BuilderSpec) *manifest.Problem {
	if p := checkRef("build.image", s.Build.Image); p != nil {
		return p
	}
	if len(s.Run) == 0 {
		return manifest.Bad("run", "want at least one, the default")
	}
	var images, ids []string
	for i, run := range s.Run {
		field := fmt.Sprintf("run[%d]", i)
		if p := checkRef(field+".image", run.Image); p != nil {
			return p
		}
		if slices.Contains(images, run.Image) {
			return manifest.Bad(field+".image", "it is listed twice")
		}
		images = append(images, run.Image)
		for j, mirror := range run.Mirrors {
			if p := checkRef(fmt.Sprintf("%s.mirrors[%d]", field, j), mirror); p != nil {
				return p
			}
		}
		switch {
		case i == 0 && len(run.Buildpacks) > 0:
			return manifest.Bad(field+".buildpacks", "the first is the default, for all buildpacks that no other names")
		case i > 0 && len(run.Buildpacks) == 0:
			return manifest.Bad(field+".buildpacks", "name the buildpacks it is for: only the first is for all others")
		}
		for j, id := range run.Buildpacks {
			if !buildpackID.MatchString(id) || slices.Contains(ids, id) {
				return manifest.Bad(fmt.Sprintf("%s.buildpacks[%d]", field, j), fmt.Sprintf("bad or repeated id %q", id))
			}
			ids = append(ids, id)
		}
	}
	return nil
}

func checkSources(s *v1alpha1.BuilderSpec) *manifest.Problem {
	if p := checkSource("lifecycle", s.Lifecycle.Path, s.Lifecycle.Image); p != nil {
		return p
	}
	if len(s.Buildpacks) == 0 {
		return manifest.Bad("buildpacks", "want at least one")
	}
	for i, b := range s.Buildpacks {
		if p := checkSource(fmt.Sprintf("buildpacks[%d]", i), b.Path, b.Image); p != nil {
			return p
		}
	}
	return nil
}

func checkSource(field, path, image string) *manifest.Problem {
	switch {
	case (path == "") == (image == ""):
		return manifest.Bad(field, "want either a path or an image")
	case path != "":
		return nil
	}
	return checkRef(field+".image", image)
}

func checkRef(field, text string) *manifest.Problem {
	if _, err := oci.Parse(text); err != nil {
		return manifest.Bad(field, fmt.Sprintf("want a reference such as %q, got %q", "run:1", text))
	}
	return nil
}

func checkOrder(s *v1alpha1.BuilderSpec) *manifest.Problem {
	if len(s.Order) == 0 {
		return manifest.Bad("order", "want at least one group")
	}
	for i, group := range s.Order {
		if len(group.Group) == 0 {
			return manifest.Bad(fmt.Sprintf("order[%d].group", i), "want at least one buildpack")
		}
		var ids []string
		for j, entry := range group.Group {
			field := fmt.Sprintf("order[%d].group[%d]", i, j)
			if !buildpackID.MatchString(entry.ID) || slices.Contains(ids, entry.ID) {
				return manifest.Bad(field+".id", fmt.Sprintf("bad or repeated id %q", entry.ID))
			}
			if entry.Version != "" && !version.MatchString(entry.Version) {
				return manifest.Bad(field+".version", fmt.Sprintf("bad version %q", entry.Version))
			}
			ids = append(ids, entry.ID)
		}
	}
	return nil
}

func checkRest(s *v1alpha1.BuilderSpec) *manifest.Problem {
	for i, a := range s.Architectures {
		if !slices.Contains(known, a) || slices.Contains(s.Architectures[:i], a) {
			return manifest.Bad(fmt.Sprintf("architectures[%d]", i), fmt.Sprintf("want each of %s at most once, got %q", strings.Join(known, ", "), a))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(s.Environment)) {
		if !envName.MatchString(name) || strings.Contains(s.Environment[name], "\x00") {
			return manifest.Bad("environment."+name, "bad name or value")
		}
	}
	return nil
}
