package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"golang.org/x/mod/modfile"
	"golang.org/x/mod/module"
	"golang.org/x/mod/semver"

	"plimsoll.dev/plimsoll/buildpacks/go/toolchain"
	"plimsoll.dev/plimsoll/buildpacks/internal/floor"
	"plimsoll.dev/plimsoll/buildpacks/internal/tool"
)

// raise changes the go.mod files in the build's folder so that no module below its floor is
// compiled. Where none is below, nothing changes.
func (b *build) raise(platform string) error {
	floors, err := floor.Read(platform, floor.Go)
	if err != nil {
		return err
	}
	for _, folder := range b.modules {
		if len(floors) == 0 {
			break
		}
		if err := b.raiseModule(folder, floors); err != nil {
			return err
		}
	}
	return nil
}

// raiseModule does so for the module in a folder of the application.
func (b *build) raiseModule(folder string, floors []floor.Floor) error {
	dir := filepath.Join(b.dir, folder)
	text, err := os.ReadFile(filepath.Join(dir, "go.mod"))
	if err != nil {
		return err
	}
	file, err := modfile.ParseLax("go.mod", text, nil)
	if err != nil {
		return err
	}
	required, err := b.required(dir, file)
	if err != nil {
		return err
	}
	var get []string
	for _, low := range below(required, floors) {
		if err := b.refuseLow(low); err != nil {
			return err
		}
		replaced, err := b.replace(dir, file, low)
		if err != nil {
			return err
		}
		if !replaced {
			get = append(get, low.floor.Package+"@"+low.floor.Version)
		}
		fmt.Printf("go: override %s: %s %s instead of %s\n", low.floor.Name, low.floor.Package, low.floor.Version, low.version)
	}
	if len(get) == 0 {
		return nil
	}
	return b.get(dir, get)
}

// low is a module below its floor.
type low struct {
	version string
	floor   floor.Floor
}

func below(required []module.Version, floors []floor.Floor) []low {
	var all []low
	for _, m := range required {
		for _, f := range floors {
			if m.Path == f.Package && f.Below(m.Version) {
				all = append(all, low{m.Version, f})
			}
		}
	}
	return all
}

// required gives the modules that are built from. Since Go 1.17 all are in go.mod
// (https://go.dev/ref/mod#graph-pruning).
func (b *build) required(dir string, file *modfile.File) ([]module.Version, error) {
	var all []module.Version
	if b.vendored || file.Go != nil && semver.Compare("v"+file.Go.Version, "v1.17") >= 0 {
		for _, r := range file.Require {
			all = append(all, r.Mod)
		}
		return all, nil
	}
	out, err := tool.Command{Path: b.gocmd, Args: []string{"list", "-mod=mod", "-m", "-f", "{{.Path}} {{.Version}}", "all"}, Dir: dir, Env: b.env}.Output()
	if err != nil {
		return nil, b.explain("list modules", err, "")
	}
	for line := range strings.Lines(out) {
		if path, version, ok := strings.Cut(strings.TrimSpace(line), " "); ok {
			all = append(all, module.Version{Path: path, Version: version})
		}
	}
	return all, nil
}

func (b *build) refuseLow(l low) error {
	if err := l.floor.Crossing(l.version); err != nil {
		return err
	}
	if b.vendored {
		return fmt.Errorf("override %s: vendor holds %s %s, and the override wants %s: run `go get %[2]s@%[4]s && go mod vendor` and commit both, or leave vendor out of the source",
			l.floor.Name, l.floor.Package, l.version, l.floor.Version)
	}
	return nil
}

// replace raises what a directive of go.mod puts in the place of the module, whatever is
// required, and tells whether there is one. Another module, or a folder, is not what the
// override is about.
func (b *build) replace(dir string, file *modfile.File, l low) (bool, error) {
	for _, r := range file.Replace {
		switch {
		case r.Old.Path != l.floor.Package || r.Old.Version != "" && r.Old.Version != l.version:
			continue
		case r.New.Path != l.floor.Package:
			fmt.Printf("go: note: override %s is not about %s, which replaces %s\n", l.floor.Name, r.New.Path, r.Old.Path)
			return true, nil
		case !l.floor.Below(r.New.Version):
			return true, nil
		}
		old := r.Old.Path
		if r.Old.Version != "" {
			old += "@" + r.Old.Version
		}
		return false, tool.Command{Path: b.gocmd, Args: []string{"mod", "edit", "-dropreplace=" + old}, Dir: dir, Env: b.env}.Run()
	}
	return false, nil
}

var newerGo = regexp.MustCompile(`requires go >= (\d+\.\d+(?:\.\d+)?)`)

// get raises requirements and all that follows from it, as `go get` does: the checksum
// database vouches for what go.sum does not hold yet.
func (b *build) get(dir string, wanted []string) error {
	b.mayChange()
	what := strings.Join(wanted, ", ")
	get := func() error {
		return tool.Command{Path: b.gocmd, Args: append([]string{"get"}, wanted...), Dir: dir, Env: b.env}.Run()
	}
	err := get()
	var failed *tool.Error
	if errors.As(err, &failed) {
		if m := newerGo.FindStringSubmatch(failed.Tail); m != nil {
			own, err := toolchain.Own()
			if err != nil {
				return err
			}
			if err := b.useToolchain(own, "go"+m[1], what); err != nil {
				return err
			}
			return b.explain("raise "+what, get(), "")
		}
	}
	return b.explain("raise "+what, err, "")
}

// mayChange lets the go command complete go.mod and go.sum, which a workspace does not allow:
// there it has go.work.sum for that.
func (b *build) mayChange() {
	flags := "GOFLAGS=-mod=mod -modcacherw"
	if definition(b.dir) == "go.work" {
		flags = "GOFLAGS=-modcacherw"
	}
	b.env = append(b.env, flags)
}
