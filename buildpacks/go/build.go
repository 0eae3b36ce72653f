package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/buildpacks/libcnb"

	"plimsoll.dev/plimsoll/buildpacks/go/binary"
	"plimsoll.dev/plimsoll/buildpacks/go/gocache"
	"plimsoll.dev/plimsoll/buildpacks/go/target"
	"plimsoll.dev/plimsoll/buildpacks/go/toolchain"
	"plimsoll.dev/plimsoll/buildpacks/internal/binding"
	"plimsoll.dev/plimsoll/buildpacks/internal/layer"
	"plimsoll.dev/plimsoll/buildpacks/internal/sbom"
	"plimsoll.dev/plimsoll/buildpacks/internal/tool"
	"plimsoll.dev/plimsoll/buildpacks/internal/tree"
)

type builder struct{}

// Build compiles the application and leaves of its folder what BP_KEEP_FILES names.
func (builder) Build(ctx libcnb.BuildContext) (libcnb.BuildResult, error) {
	// Not in /tmp, which is often small: the go command links there.
	scratch, err := os.MkdirTemp(ctx.Layers.Path, ".go-")
	if err != nil {
		return libcnb.BuildResult{}, err
	}
	defer os.RemoveAll(scratch)
	result := libcnb.NewBuildResult()
	b := build{dir: ctx.Application.Path, layers: ctx.Layers, result: &result}
	if err := b.run(scratch, ctx.Platform); err != nil {
		return result, fmt.Errorf("go: %w", err)
	}
	return result, nil
}

// build is one build on its way.
type build struct {
	dir      string // the application
	layers   libcnb.Layers
	result   *libcnb.BuildResult
	settings settings
	modules  []string // the folders of the application's modules, relative to dir
	vendored bool
	gocmd    string   // the go command that compiles
	env      []string // for it
	kept     string   // the cache of modules, where the last build has left one

	toolchain libcnb.LayerContributor // the layer that it is in; nil when it is the build image's own
}

func (b *build) run(scratch string, platform libcnb.Platform) error {
	var err error
	if b.settings, err = readSettings(); err != nil {
		return err
	}
	if err := binding.Netrc(platform.Bindings, scratch); err != nil {
		return err
	}
	var note string
	if b.vendored, note = vendored(b.dir); note != "" {
		fmt.Printf("go: note: %s\n", note)
	}
	b.env = []string{"HOME=" + scratch, "GOTMPDIR=" + scratch, "GOENV=off", "GOTELEMETRY=off"}
	if err := b.chooseToolchain(); err != nil {
		return err
	}
	saveCaches, err := b.openCaches()
	if err != nil {
		return err
	}
	if err := b.raise(platform.Path); err != nil {
		return err
	}
	if b.toolchain != nil {
		b.result.Layers = append(b.result.Layers, b.toolchain)
	}
	mains, err := b.mains()
	if err != nil {
		return err
	}
	if err := b.compile(mains); err != nil {
		return err
	}
	if err := saveCaches(mains); err != nil {
		return err
	}
	return b.keep()
}

// chooseToolchain sets the go command. A toolchain that had to be fetched is kept in a
// layer that only builds see.
func (b *build) chooseToolchain() error {
	own, err := toolchain.Own()
	if err != nil {
		return err
	}
	name := definition(b.dir)
	text, err := os.ReadFile(filepath.Join(b.dir, name))
	if err != nil {
		return err
	}
	wanted, err := toolchain.Read(name, text)
	if err != nil {
		return err
	}
	b.modules = wanted.Modules
	return b.useToolchain(own, wanted.Release, name)
}

// useToolchain sets the go command to one of that release or a newer one, as somebody wants it.
func (b *build) useToolchain(own, wanted, who string) error {
	release, err := toolchain.Choose(own, wanted, b.settings.version)
	if err != nil {
		return err
	}
	if release == own {
		fmt.Printf("go: toolchain %s of the build image\n", own)
		b.gocmd = "go"
		return nil
	}
	kept, err := layer.Open(b.layers, "toolchain", libcnb.LayerTypes{Cache: true})
	if err != nil {
		return err
	}
	if layer.Text(kept, "release") != release {
		fmt.Printf("go: toolchain %s: %s wants a newer one than the build image's %s\n", release, who, own)
		if err := layer.Empty(kept); err != nil {
			return err
		}
		if err := toolchain.Fetch(release, kept.Path, b.env); err != nil {
			return err
		}
	} else {
		fmt.Printf("go: toolchain %s from the cache\n", release)
	}
	kept.Metadata = map[string]any{"release": release}
	b.toolchain = layer.Filled(kept)
	b.gocmd = filepath.Join(toolchain.Root(kept.Path), "bin", "go")
	return nil
}

// openCaches sets the go command's environment and gives the function that makes its caches
// ready for the next build.
func (b *build) openCaches() (save func([]target.Main) error, err error) {
	compiled, err := layer.Open(b.layers, "compiled", libcnb.LayerTypes{Cache: true})
	if err != nil {
		return nil, err
	}
	if err := errors.Join(gocache.Age(compiled.Path), gocache.Stamp(b.dir)); err != nil {
		return nil, err
	}
	b.result.Layers = append(b.result.Layers, layer.Filled(compiled))
	cgo := "0"
	if b.settings.cgo {
		cgo = "1"
	}
	b.env = append(b.env, "GOTOOLCHAIN=local", "GOROOT=", "GOOS=linux", "GOARCH="+b.settings.arch, "CGO_ENABLED="+cgo, "GOCACHE="+compiled.Path)
	if b.vendored {
		b.env = append(b.env, "GOFLAGS=-mod=vendor", "GOPROXY=off", "GOMODCACHE=/nonexistent")
		return func([]target.Main) error { return gocache.Prune(compiled.Path) }, nil
	}
	modules, err := layer.Open(b.layers, "modules", libcnb.LayerTypes{Cache: true})
	if err != nil {
		return nil, err
	}
	b.result.Layers = append(b.result.Layers, layer.Filled(modules))
	if _, err := os.Stat(modules.Path); err == nil {
		b.kept = modules.Path
	}
	// The go command takes a module of its cache for whole, once it has made an index of it.
	b.env = append(b.env, "GOFLAGS=-mod=readonly -modcacherw", "GOMODCACHE="+modules.Path, "GODEBUG=goindex=0")
	return func(mains []target.Main) error {
		listed, err1 := b.read(mains)
		sums, err2 := b.sums()
		if err := errors.Join(err1, err2); err != nil {
			return err
		}
		return errors.Join(gocache.Prune(compiled.Path), gocache.PruneModules(modules.Path, sums...), gocache.PrunePackages(modules.Path, listed))
	}, nil
}

// read lists what the main packages are compiled from.
func (b *build) read(mains []target.Main) (string, error) {
	args := []string{"list", "-deps", "-tags=" + b.settings.tags, "-f", gocache.Listed}
	for _, m := range mains {
		args = append(args, m.ImportPath)
	}
	return tool.Command{Path: b.gocmd, Args: args, Dir: b.dir, Env: b.env}.Output()
}

// whole runs the go command, and once more with all modules fetched anew where it may have failed
// for want of what the last build did not need.
func (b *build) whole(run func() error) error {
	err := run()
	var failed *tool.Error
	if b.kept == "" || !errors.As(err, &failed) || !gocache.Missing(failed.Tail) {
		return err
	}
	fmt.Println("go: note: once more, with modules fetched anew: of those in the cache there is only what the last build needed")
	if err := os.RemoveAll(b.kept); err != nil {
		return err
	}
	b.kept = ""
	return run()
}

// sums gives the go.sum files of the application.
func (b *build) sums() ([][]byte, error) {
	files := []string{"go.work.sum"}
	for _, module := range b.modules {
		files = append(files, filepath.Join(module, "go.sum"))
	}
	var sums [][]byte
	for _, file := range files {
		text, err := os.ReadFile(filepath.Join(b.dir, file))
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		sums = append(sums, text)
	}
	return sums, nil
}

// mains gives the main packages to build. Listing them needs no dependency.
func (b *build) mains() ([]target.Main, error) {
	patterns := b.settings.targets
	if len(patterns) == 0 {
		for _, module := range b.modules {
			patterns = append(patterns, "./"+filepath.Join(module, "..."))
		}
	}
	args := append([]string{"list", "-find", "-tags=" + b.settings.tags, "-f", target.Format}, patterns...)
	out, err := tool.Command{Path: b.gocmd, Args: args, Dir: b.dir, Env: b.env}.Output()
	if err != nil {
		return nil, b.explain("list packages", err, "")
	}
	mains := target.List(b.dir, out)
	if len(b.settings.targets) == 0 {
		return target.Choose(mains)
	}
	if mains == nil {
		return nil, fmt.Errorf("BP_GO_TARGETS %q names no main package", strings.Join(patterns, " "))
	}
	return mains, nil
}

// compile makes the launch layer and its processes. The layer is cached so that the go
// command links only what has changed.
func (b *build) compile(mains []target.Main) error {
	binaries, err := target.Binaries(mains)
	if err != nil {
		return err
	}
	app, err := layer.Open(b.layers, "app", libcnb.LayerTypes{Launch: true, Cache: true})
	if err != nil {
		return err
	}
	bin := filepath.Join(app.Path, "bin")
	if err := os.MkdirAll(bin, 0o755); err != nil {
		return err
	}
	if err := tree.Keep(bin, binaries); err != nil {
		return err
	}
	// Without DWARF, which also makes the cache a third smaller, but with the symbols by
	// which scanners tell what is reachable.
	args := []string{"build", "-trimpath", "-buildvcs=false", "-gcflags=all=-dwarf=false",
		"-ldflags=" + strings.TrimSpace("-w "+b.settings.ldflags), "-tags=" + b.settings.tags}
	args = append(args, b.settings.flags...)
	args = append(args, "-o", bin+string(filepath.Separator))
	for _, m := range mains {
		args = append(args, m.ImportPath)
	}
	err = b.whole(tool.Command{Path: b.gocmd, Args: args, Dir: b.dir, Env: b.env}.Run)
	note := withoutC(b.inC(mains))
	if err != nil {
		return b.explain("build "+strings.Join(binaries, ", "), err, note)
	}
	if note != "" {
		fmt.Printf("go: note: %s\n", note)
	}

	var packages []sbom.Package
	first := target.Default(binaries)
	for _, name := range binaries {
		file := filepath.Join(bin, name)
		process := libcnb.Process{Type: name, Command: file, Direct: true}
		if name == first {
			process.Type, process.Default = "web", true
		}
		b.result.Processes = append(b.result.Processes, process)
		made, err := binary.Packages(file)
		if err != nil {
			return err
		}
		packages = append(packages, made...)
	}
	b.result.Layers = append(b.result.Layers, layer.Filled(app))
	fmt.Printf("go: built %s for %s\n", strings.Join(binaries, ", "), b.settings.arch)
	return sbom.Write(app.SBOMPath(libcnb.CycloneDXJSON), packages)
}

// explain gives the line that follows what the go command has printed. The hint may be "".
func (b *build) explain(doing string, err error, hint string) error {
	var failed *tool.Error
	switch {
	case err == nil:
		return nil
	case !errors.As(err, &failed) || b.vendored:
	case failed.Untrusted():
		return fmt.Errorf("%s: the server of the modules has a certificate that is not trusted: give its authority in a service binding of the type ca-certificates", doing)
	case failed.NoNetwork():
		return fmt.Errorf("%s: the modules could not be fetched: allow the build the network, set GOPROXY, or vendor them (go mod vendor)", doing)
	}
	if hint != "" {
		return fmt.Errorf("%s: %w; %s", doing, err, hint)
	}
	return fmt.Errorf("%s: %w", doing, err)
}

// served are folders that programs often read while they run.
var served = []string{"assets", "locales", "migrations", "public", "static", "templates", "views", "www"}

// keep removes the sources: a program that is compiled needs them no more.
func (b *build) keep() error {
	var present []string
	for _, name := range served {
		if _, err := os.Stat(filepath.Join(b.dir, name)); err == nil {
			present = append(present, name)
		}
	}
	if err := tree.Keep(b.dir, b.settings.keep); err != nil {
		return fmt.Errorf("BP_KEEP_FILES: %w", err)
	}
	gone := slices.DeleteFunc(present, func(name string) bool {
		_, err := os.Stat(filepath.Join(b.dir, name))
		return err == nil
	})
	if len(gone) > 0 {
		fmt.Printf("go: note: %s will not be in the image; if the program reads files from there: BP_KEEP_FILES=%q\n", strings.Join(gone, ", "), strings.Join(gone, " "))
	}
	return nil
}
