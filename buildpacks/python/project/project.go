// Package project takes a pyproject.toml and gives what it says of the application.
package project

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/BurntSushi/toml"
)

// Project is what a pyproject.toml says
// (https://packaging.python.org/en/latest/specifications/pyproject-toml/).
type Project struct {
	Name         string
	Dependencies []string // specifiers, without those that the build system would add
	Scripts      []string // names of the console scripts, sorted
	Installable  bool     // it names a build system, so that pip can install it
}

// Read gives the project of a folder. A folder without a pyproject.toml, or with one that
// only configures tools, has none: then ok is false.
func Read(folder string) (p Project, ok bool, err error) {
	text, err := os.ReadFile(filepath.Join(folder, "pyproject.toml"))
	if errors.Is(err, fs.ErrNotExist) {
		return Project{}, false, nil
	}
	if err != nil {
		return Project{}, false, err
	}
	return Parse(string(text))
}

// Parse is Read for the text of the file.
func Parse(text string) (p Project, ok bool, err error) {
	var file struct {
		BuildSystem map[string]any `toml:"build-system"`
		Project     *struct {
			Name         string            `toml:"name"`
			Dependencies []string          `toml:"dependencies"`
			Scripts      map[string]string `toml:"scripts"`
		} `toml:"project"`
	}
	if _, err := toml.Decode(text, &file); err != nil {
		return Project{}, false, fmt.Errorf("pyproject.toml: %w", err)
	}
	if file.Project != nil {
		p.Name, p.Dependencies = file.Project.Name, file.Project.Dependencies
		p.Scripts = slices.Sorted(maps.Keys(file.Project.Scripts))
	}
	p.Installable = file.BuildSystem != nil
	return p, p.Installable || file.Project != nil, nil
}
