package override

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/mod/module"
	"golang.org/x/mod/semver"

	"plimsoll.dev/plimsoll/api/v1alpha1"
	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/manifest"
	"plimsoll.dev/plimsoll/internal/pattern"
	"plimsoll.dev/plimsoll/internal/vuln/version"
)

const (
	readHint     = "docs/overrides.md describes every field"
	maxOverrides = 10_000
)

// Load reads the overrides in a folder: one in each *.yaml and *.yml file. A folder that is not
// there has none.
func Load(dir string) (Set, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return Set{}, nil
	}
	if err != nil {
		return Set{}, fault.New(fault.Failed, "read overrides", dir, err)
	}
	var all []v1alpha1.DependencyOverride
	for _, entry := range entries {
		if ext := filepath.Ext(entry.Name()); entry.IsDir() || ext != ".yaml" && ext != ".yml" {
			continue
		}
		file := filepath.Join(dir, entry.Name())
		text, err := manifest.ReadFile(file)
		if err != nil {
			return Set{}, err
		}
		o, err := Read(file, text)
		if err != nil {
			return Set{}, err
		}
		all = append(all, o)
	}
	return New(all...)
}

// Read decodes the only document in a file's text, and checks it.
func Read(file string, text []byte) (v1alpha1.DependencyOverride, error) {
	var o v1alpha1.DependencyOverride
	wrong := func(err error) error {
		return fault.New(fault.Usage, "read override", file, err).WithHint(readHint)
	}
	d, err := manifest.Decode(text, v1alpha1.DependencyOverrideKind, &o)
	if err != nil {
		return o, wrong(err)
	}
	if _, p := check(o); p != nil {
		return o, wrong(d.Wrong(p))
	}
	return o, nil
}

// New gives the set of these overrides.
func New(overrides ...v1alpha1.DependencyOverride) (Set, error) {
	if len(overrides) > maxOverrides {
		return Set{}, fault.Newf(fault.Usage, "read overrides", "", fmt.Sprintf("there are more than %d", maxOverrides))
	}
	var set Set
	for _, o := range overrides {
		s, p := check(o)
		if p != nil {
			return Set{}, fault.New(fault.Usage, "read override", o.Name, p).WithHint(readHint)
		}
		set.all = append(set.all, s)
	}
	slices.SortStableFunc(set.all, func(a, b scoped) int { return strings.Compare(a.Name, b.Name) })
	return set, nil
}

var (
	npmName    = regexp.MustCompile(`^(@[a-z0-9~-][a-z0-9._~-]*/)?[a-z0-9~-][a-z0-9._~-]*$`) // lower case, as new ones must be
	oldNPMName = regexp.MustCompile(`^[A-Za-z0-9~-][A-Za-z0-9._~-]*$`)
	pypiName   = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$`)

	// pep440 is a version as PEP 440 spells it, appendix B, in its normal form and without a
	// local part: no index serves those.
	pep440 = regexp.MustCompile(`^([0-9]+!)?[0-9]+(\.[0-9]+)*((a|b|rc)[0-9]+)?(\.post[0-9]+)?(\.dev[0-9]+)?$`)
)

// check gives the override with its patterns, or what is wrong with it.
func check(o v1alpha1.DependencyOverride) (scoped, *manifest.Problem) {
	s := scoped{DependencyOverride: o}
	if p := manifest.CheckHeader(o.TypeMeta, v1alpha1.DependencyOverrideKind, o.Name); p != nil {
		return s, p
	}
	if p := checkVersion(o.Spec); p != nil {
		return s, p
	}
	if strings.TrimSpace(string(o.Spec.Reason)) == "" {
		return s, manifest.Bad("spec.reason", "say why: whoever finds another version than the lock file's will ask")
	}
	var err error
	if s.scope.Only, err = pattern.NewList(o.Spec.Scope.Repositories); err != nil {
		return s, manifest.Bad("spec.scope.repositories", err.Error())
	}
	if s.scope.Except, err = pattern.NewList(o.Spec.Scope.Except); err != nil {
		return s, manifest.Bad("spec.scope.except", err.Error())
	}
	return s, nil
}

// checkVersion holds package and version to their ecosystem's rules: both are put into files and
// command lines of its tools.
func checkVersion(spec v1alpha1.DependencyOverrideSpec) *manifest.Problem {
	name, number := spec.Package, spec.Version
	if _, err := version.Of(spec.Ecosystem).Parse(number); err != nil || len(number) > 128 || len(name) > 256 {
		return manifest.Bad("spec.version", fmt.Sprintf("%.60q is no version", number))
	}
	switch spec.Ecosystem {
	case "npm":
		if !npmName.MatchString(name) && !oldNPMName.MatchString(name) {
			return manifest.Bad("spec.package", fmt.Sprintf("want a package of npm, such as lodash or @scope/name, got %q", name))
		}
		if v := "v" + number; !semver.IsValid(v) || semver.Canonical(v)+semver.Build(v) != v {
			return manifest.Bad("spec.version", fmt.Sprintf("want one version with three numbers, such as 4.17.21, got %q", number))
		}
	case "Go":
		if err := module.Check(name, number); err != nil || module.CanonicalVersion(number) != number {
			return manifest.Bad("spec.version", fmt.Sprintf("want a module and a version of it, such as golang.org/x/net v0.38.0, got %s %s", name, number))
		}
	case "PyPI":
		if !pypiName.MatchString(name) {
			return manifest.Bad("spec.package", fmt.Sprintf("want a package of PyPI, such as requests, got %q", name))
		}
		if !pep440.MatchString(number) {
			return manifest.Bad("spec.version", fmt.Sprintf("want one version, such as 2.32.4, got %q", number))
		}
	default:
		return manifest.Bad("spec.ecosystem", fmt.Sprintf("want npm, Go or PyPI, got %q", spec.Ecosystem))
	}
	return nil
}
