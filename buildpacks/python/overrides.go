package main

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"plimsoll.dev/plimsoll/buildpacks/internal/floor"
	"plimsoll.dev/plimsoll/buildpacks/internal/sbom"
	"plimsoll.dev/plimsoll/buildpacks/internal/tool"
	"plimsoll.dev/plimsoll/buildpacks/python/requirement"
)

// raise has what the application itself requires ask for no version below its floor. What its
// dependencies require is held to the floors by constraints.
func (b *build) raise(want wishes) (wishes, error) {
	if len(b.floors) == 0 || want.args == nil {
		return want, nil
	}
	if want.args[0] != "-r" {
		return b.raiseArguments(want)
	}
	list, err := requirement.Read(b.app, want.args[1])
	if err != nil {
		return want, err
	}
	for _, name := range list.Files {
		path := filepath.Join(b.app, name)
		text, err := os.ReadFile(path)
		if err != nil {
			return want, err
		}
		raised, all, err := requirement.Raise(string(text), b.floors, func(f floor.Floor) (string, error) { return b.hash(f, want) })
		if err != nil {
			return want, err
		}
		if len(all) == 0 {
			continue
		}
		tell(all)
		if err := os.WriteFile(path, []byte(raised), 0o644); err != nil {
			return want, err
		}
	}
	return want, nil
}

// raiseArguments does so for the dependencies of pyproject.toml that pip is given one by one.
func (b *build) raiseArguments(want wishes) (wishes, error) {
	want.args = slices.Clone(want.args)
	for i, specifier := range want.args {
		raised, one, err := requirement.RaiseOne(specifier, b.floors)
		if err != nil {
			return want, err
		}
		if one != nil {
			tell([]requirement.Raised{*one})
			want.args[i] = raised
		}
	}
	return want, nil
}

func tell(all []requirement.Raised) {
	for _, r := range all {
		fmt.Printf("python: override %s: %s %s instead of %s\n", r.Floor.Name, r.Floor.Package, r.Floor.Version, r.Asked)
	}
}

// hash fetches the release at the floor and gives its hash: whoever locks by hashes knows of
// the release that he locked, not of this one. All others are checked as before.
func (b *build) hash(f floor.Floor, want wishes) (string, error) {
	dir, err := os.MkdirTemp("", "python-override-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(dir)
	env, err := credentials(dir, b.ctx.Platform.Bindings)
	if err != nil {
		return "", err
	}
	args := []string{"download", "--no-deps", "--disable-pip-version-check", "--no-input", "--progress-bar=off", "--no-cache-dir", "--dest=" + dir}
	args = append(args, want.links()...)
	args = append(args, f.Package+"=="+f.Version)
	if err := (tool.Command{Path: "pip3", Args: args, Dir: b.app, Env: append(env, "HOME="+dir)}).Run(); err != nil {
		return "", fmt.Errorf("override %s: %w", f.Name, explain(err, want))
	}
	for _, pattern := range []string{"*.whl", "*.tar.gz", "*.zip"} {
		if found, err := filepath.Glob(filepath.Join(dir, pattern)); err != nil || len(found) == 1 {
			return sumOf(found[0])
		}
	}
	return "", fmt.Errorf("override %s: pip fetched no archive of %s %s", f.Name, f.Package, f.Version)
}

func sumOf(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	sum := sha256.New()
	_, err = io.Copy(sum, f)
	return "sha256:" + hex.EncodeToString(sum.Sum(nil)), err
}

// constraints gives pip's arguments that hold all that it chooses to the floors. Where there
// are hashes it chooses nothing, and takes no constraint without one.
func (b *build) constraints(home string, want wishes) ([]string, error) {
	if len(b.floors) == 0 || want.hashed() {
		return nil, nil
	}
	var text strings.Builder
	for _, f := range b.floors {
		fmt.Fprintf(&text, "%s>=%s\n", f.Package, f.Version)
	}
	file := filepath.Join(home, "floors.txt")
	return []string{"--constraint=" + file}, os.WriteFile(file, []byte(text.String()), 0o644)
}

// hold refuses what pip installed below a floor all the same.
func (b *build) hold(packages []sbom.Package) error {
	for _, p := range packages {
		for _, f := range b.floors {
			if requirement.Normalize(f.Package) == p.Name && f.Below(p.Version) {
				return fmt.Errorf("override %s: pip installs %s %s, and the override wants %s", f.Name, p.Name, p.Version, f.Version)
			}
		}
	}
	return nil
}

// errConflict follows what pip has printed of requirements that exclude each other.
var errConflict = errors.New("install requirements: no versions fit each other and the overrides; pip cannot overrule what a package requires: update the one that is named above")
