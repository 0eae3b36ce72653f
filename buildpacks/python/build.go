package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/buildpacks/libcnb"

	"plimsoll.dev/plimsoll/buildpacks/internal/floor"
	"plimsoll.dev/plimsoll/buildpacks/internal/layer"
	"plimsoll.dev/plimsoll/buildpacks/python/process"
	"plimsoll.dev/plimsoll/buildpacks/python/project"
	"plimsoll.dev/plimsoll/buildpacks/python/requirement"
)

// envRequirements names another file than requirements.txt.
const envRequirements = "BP_PYTHON_REQUIREMENTS"

// requireHashes has pip install nothing without a hash.
const requireHashes = "--require-hashes"

func requirements() string {
	if name := os.Getenv(envRequirements); name != "" {
		return name
	}
	return "requirements.txt"
}

func exists(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

type builder struct{}

// Build installs what the application requires and leaves its files as they are, but for
// the wheels that were installed.
func (builder) Build(ctx libcnb.BuildContext) (libcnb.BuildResult, error) {
	result := libcnb.NewBuildResult()
	b := build{ctx: ctx, app: ctx.Application.Path, result: &result}
	if err := b.run(); err != nil {
		return result, fmt.Errorf("python: %w", err)
	}
	return result, nil
}

// build is one build on its way.
type build struct {
	ctx    libcnb.BuildContext
	app    string // the application's folder
	result *libcnb.BuildResult
	floors []floor.Floor
}

func (b *build) run() error {
	pyproject, _, err := project.Read(b.app)
	if err != nil {
		return err
	}
	if b.floors, err = floor.Read(b.ctx.Platform.Path, floor.PyPI); err != nil {
		return err
	}
	want, err := b.wishes(pyproject)
	if err != nil {
		return err
	}
	if want, err = b.raise(want); err != nil {
		return err
	}
	if want.args != nil {
		if err := b.dependencies(want); err != nil {
			return err
		}
		if err := removeWheels(b.app, want.wheels); err != nil {
			return err
		}
	}
	if !want.project {
		pyproject = project.Project{}
	}
	return b.process(pyproject, want.names)
}

// wishes are what pip is to install, and how.
type wishes struct {
	args    []string // for pip; nil when there is nothing to install
	what    string   // how the user would tell pip
	names   []string // the projects that were asked for by name
	wheels  []string // folders of the application with wheels, relative; with one, nothing is fetched
	files   []string // what the answer depends on, relative; nil when it depends on the whole application
	project bool     // the application itself may be among what is installed
}

// hashed tells whether pip knows by hashes what to install.
func (w wishes) hashed() bool { return slices.Contains(w.args, requireHashes) }

// links gives pip's arguments by which it finds what is vendored, and nothing else.
func (w wishes) links() []string {
	var args []string
	for _, folder := range w.wheels {
		args = append(args, "--find-links="+folder)
	}
	if args != nil {
		args = append(args, "--no-index")
	}
	return args
}

// wishes reads requirements.txt, or else the project.
func (b *build) wishes(pyproject project.Project) (wishes, error) {
	want := wishes{what: "."}
	var err error
	if want.wheels, err = wheelFolders(b.app); err != nil {
		return wishes{}, err
	}
	switch name := requirements(); {
	case exists(filepath.Join(b.app, name)):
		list, err := requirement.Read(b.app, name)
		if err != nil {
			return wishes{}, err
		}
		want.args, want.what, want.names = []string{"-r", name}, "-r "+name, list.Names
		if list.Hashed {
			want.args = append(want.args, requireHashes)
		}
		if want.project = list.Local; !list.Local {
			want.files = list.Files
		}
		note(name, list, want.wheels)
	case os.Getenv(envRequirements) != "":
		return wishes{}, fmt.Errorf("there is no %s, which %s names", name, envRequirements)
	case pyproject.Installable:
		want.args, want.project = []string{"."}, true
	case pyproject.Dependencies != nil:
		want.args, want.files, want.project = append([]string{"--"}, pyproject.Dependencies...), []string{}, true
	}
	if want.project {
		for _, specifier := range pyproject.Dependencies {
			want.names = append(want.names, requirement.Name(specifier))
		}
	}
	return want, nil
}

// note says what makes two builds of one source differ.
func note(name string, list requirement.List, wheels []string) {
	switch {
	case list.Hashed || wheels != nil || len(list.Names) == 0:
	case list.Unpinned != nil:
		fmt.Printf("python: note: %s gives no exact version for %s: another build may install others (pip-compile --generate-hashes pins all)\n", name, strings.Join(list.Unpinned, ", "))
	default:
		fmt.Printf("python: note: %s has versions but no hashes: what is installed is only as trustworthy as the index (pip-compile --generate-hashes adds them)\n", name)
	}
}

// process declares how the application starts.
func (b *build) process(pyproject project.Project, names []string) error {
	command, err := process.App{Folder: b.app, Requirements: names, Project: pyproject, Getenv: os.Getenv}.Command()
	switch {
	case err != nil:
		return err
	case command == nil:
		fmt.Printf("python: note: nothing says how to start the application: add app.py or a Procfile, or set %s\n", process.EnvModule)
		return nil
	}
	fmt.Println("python: starts with", strings.Join(command, " "))
	b.result.Processes = append(b.result.Processes, libcnb.Process{
		Type: "web", Command: command[0], Arguments: command[1:], Direct: true, Default: true,
	})
	return nil
}

// wheelFolders gives the folders that hold projects to install, so that nothing has to be
// fetched.
func wheelFolders(app string) ([]string, error) {
	var folders []string
	for _, folder := range []string{"wheels", "wheelhouse", "vendor"} {
		found, err := archives(app, folder)
		if err != nil {
			return nil, err
		}
		if found != nil {
			folders = append(folders, folder)
		}
	}
	return folders, nil
}

// archives gives the wheels and source archives in a folder, sorted.
func archives(app, folder string) ([]string, error) {
	var all []string
	for _, pattern := range []string{"*.whl", "*.tar.gz"} {
		found, err := filepath.Glob(filepath.Join(app, folder, pattern))
		if err != nil {
			return nil, err
		}
		all = append(all, found...)
	}
	slices.Sort(all)
	return all, nil
}

func removeWheels(app string, folders []string) error {
	var errs []error
	for _, folder := range folders {
		found, err := archives(app, folder)
		errs = append(errs, err)
		for _, file := range found {
			errs = append(errs, os.Remove(file))
		}
	}
	return errors.Join(errs...)
}

// keep adds a filled layer to the result.
func (b *build) keep(l libcnb.Layer) { b.result.Layers = append(b.result.Layers, layer.Filled(l)) }
