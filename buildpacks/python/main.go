// Command python is the buildpack plimsoll/python: it takes a Python application and gives
// a layer with what it requires, for the interpreter of the run base.
package main

import (
	"errors"
	"fmt"
	"path/filepath"

	"github.com/buildpacks/libcnb"

	"plimsoll.dev/plimsoll/buildpacks/python/project"
)

func main() { libcnb.Main(detector{}, builder{}) }

type detector struct{}

// Detect passes for a folder with a requirements.txt, a project in pyproject.toml, or
// Python files.
func (detector) Detect(ctx libcnb.DetectContext) (libcnb.DetectResult, error) {
	err := wanted(ctx.Application.Path)
	if err != nil {
		fmt.Println("python:", err)
	}
	return libcnb.DetectResult{Pass: err == nil}, nil
}

// wanted says in one line what the folder lacks.
func wanted(folder string) error {
	if exists(filepath.Join(folder, requirements())) {
		return nil
	}
	if _, ok, err := project.Read(folder); ok || err != nil {
		return err
	}
	files, err := filepath.Glob(filepath.Join(folder, "*.py"))
	if err != nil {
		return err
	}
	if files == nil {
		return errors.New("no requirements.txt, pyproject.toml or *.py")
	}
	return nil
}
