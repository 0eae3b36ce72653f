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
	file, err := modfile.Parse("go.mod", text, nil)
	if err != nil { // perhaps it holds what only a newer Go knows
		if file, err = modfile.ParseLax("go.mod", text, nil); err != nil {
			return err
		}
	}
	required, err := b.required(dir, file)
	if err != nil {
		return err
	}
	var get []string
	for _, l := range below(file, required, floors) {
		if err := b.refuseLow(l); err != nil {
			return err
		}
		if l.replace != nil {
			drop := "-dropreplace=" + l.replace.Old.String()
			if err := (tool.Command{Path: b.gocmd, Args: []string{"mod", "edit", drop}, Dir: dir, Env: b.env}).Run(); err != nil {
				return err
			}
		}
		get = append(get, l.floor.Package+"@"+l.floor.Version)
		fmt.Printf("go: override %s: %s %s instead of %s\n", l.floor.Name, l.floor.Package, l.floor.Version, l.version)
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
	replace *modfile.Replace // the directive that chose this version; nil when it is required
}

// below gives the modules that are built from and below their floors. Another module or a folder
// in the place of one is not what an override is about.
func below(file *modfile.File, required []module.Version, floors []floor.Floor) []low {
	var all []low
	for _, m := range required {
		for _, f := range floors {
			if m.Path != f.Package {
				continue
			}
			l := low{m.Version, f, replacement(file, m)}
			if l.replace != nil {
				if l.replace.New.Path != m.Path {
					fmt.Printf("go: note: override %s is not about %s, which replaces %s\n", f.Name, l.replace.New.Path, m.Path)
					continue
				}
				l.version = l.replace.New.Version
			}
			if f.Below(l.version) {
				all = append(all, l)
			}
		}
	}
	return all
}

// replacement gives the directive that puts something in the place of the module, or nil: one for
// its version prevails (https://go.dev/ref/mod#go-mod-file-replace).
func replacement(file *modfile.File, m module.Version) *modfile.Replace {
	var found *modfile.Replace
	for _, r := range file.Replace {
		if r.Old == m {
			return r
		}
		if r.Old.Path == m.Path && r.Old.Version == "" {
			found = r
		}
	}
	return found
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

var newerGo = regexp.MustCompile(`requires go >= (\d+\.\d+(?:\.\d+)?)`)

// get raises requirements and all that follows from it, as `go get` does: the checksum
// database vouches for what go.sum does not hold yet.
func (b *build) get(dir string, wanted []string) error {
	b.mayChange()
	what := strings.Join(wanted, ", ")
	get := func() error {
		return tool.Command{Path: b.gocmd, Args: append([]string{"get"}, wanted...), Dir: dir, Env: b.env}.Run()
	}
	err := b.whole(get)
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
