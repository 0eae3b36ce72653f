package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/buildpacks/libcnb"

	"plimsoll.dev/plimsoll/buildpacks/internal/layer"
	"plimsoll.dev/plimsoll/buildpacks/internal/tool"
	"plimsoll.dev/plimsoll/buildpacks/nodejs/manifest"
	"plimsoll.dev/plimsoll/buildpacks/nodejs/start"
)

type builder struct{}

// Build installs and builds the application.
func (builder) Build(ctx libcnb.BuildContext) (libcnb.BuildResult, error) {
	result := libcnb.NewBuildResult()
	// Not in /tmp, which is often small: npm keeps all that it downloads there.
	scratch, err := os.MkdirTemp(ctx.Layers.Path, ".npm-")
	if err != nil {
		return result, err
	}
	defer os.RemoveAll(scratch)
	b := build{dir: ctx.Application.Path, layers: ctx.Layers, result: &result}
	if err := b.run(scratch, ctx.Platform); err != nil {
		return result, fmt.Errorf("nodejs: %w", err)
	}
	return result, nil
}

// build is one build on its way.
type build struct {
	dir      string // the application
	layers   libcnb.Layers
	result   *libcnb.BuildResult
	settings settings
	pkg      manifest.Package
	lock     manifest.Lock
	locked   bool     // there is a lock file
	ownLock  bool     // the build made it
	vendored bool     // the source brings its node_modules
	node     string   // release, without the v
	npm      string   // release
	env      []string // for npm
}

func (b *build) run(scratch string, platform libcnb.Platform) error {
	var err error
	if b.settings, err = readSettings(); err != nil {
		return err
	}
	if err := b.read(); err != nil {
		return err
	}
	entries, err := os.ReadDir(filepath.Join(b.dir, "node_modules"))
	b.vendored = err == nil && len(entries) > 0
	if err := b.tools(scratch, platform.Bindings); err != nil {
		return err
	}
	if err := b.refuse(); err != nil {
		return err
	}
	if err := b.raise(platform.Path); err != nil {
		return err
	}
	if err := b.dependencies(); err != nil {
		return err
	}
	return b.process()
}

// tools sets what npm is run with.
func (b *build) tools(scratch string, bindings libcnb.Bindings) (err error) {
	if b.env, err = npmEnvironment(b.dir, scratch, bindings); err != nil {
		return err
	}
	if b.node, err = b.release("node"); err != nil {
		return err
	}
	if b.npm, err = b.release("npm"); err != nil {
		return err
	}
	fmt.Printf("nodejs: node %s and npm %s of the build image\n", b.node, b.npm)
	return nil
}

// release gives the release of a program of the build image, such as "20.19.2".
func (b *build) release(program string) (string, error) {
	out, err := tool.Command{Path: program, Args: []string{"--version"}, Env: b.env}.Output()
	if err != nil {
		return "", fmt.Errorf("find the build image's %s: %w", program, err)
	}
	return strings.TrimPrefix(strings.TrimSpace(out), "v"), nil
}

// refuse says what the build cannot be done for.
func (b *build) refuse() error {
	if !b.pkg.Accepts(b.node) {
		return fmt.Errorf("package.json wants node %q (engines.node), but the build image and run image have %s: choose a builder whose images have it, or widen the range", b.pkg.Engines.Node, b.node)
	}
	if b.locked || b.vendored || b.settings.unlocked || !b.pkg.HasDependencies() {
		return nil
	}
	for _, other := range []string{"yarn.lock", "pnpm-lock.yaml", "bun.lock", "bun.lockb"} {
		if _, err := os.Stat(filepath.Join(b.dir, other)); err == nil {
			return fmt.Errorf("%s is not read, only npm's lock file: run `npm install --package-lock-only` and commit package-lock.json", other)
		}
	}
	return errors.New("there is no package-lock.json, so every build could get other packages: run `npm install --package-lock-only` and commit it, or set BP_NPM_UNLOCKED=true")
}

// process declares how the application starts.
func (b *build) process() error {
	env, err := layer.Open(b.layers, "environment", libcnb.LayerTypes{Launch: true})
	if err != nil {
		return err
	}
	if err := layer.Empty(env); err != nil {
		return err
	}
	env.LaunchEnvironment.Default("NODE_ENV", "production")
	b.result.Layers = append(b.result.Layers, layer.Filled(env))

	process, err := start.Find(start.App{Package: b.pkg, Exists: b.exists, Script: b.script})
	var web libcnb.Process
	if err == nil {
		web, err = process.Process("web", env)
	}
	if err != nil {
		if b.hasProcfile() {
			fmt.Printf("nodejs: the Procfile says how to start\n")
			return nil
		}
		return err
	}
	if b.pkg.Scripts["prestart"] != "" && b.pkg.Scripts["start"] != "" {
		fmt.Printf("nodejs: note: the script \"prestart\" is not run when the image starts\n")
	}
	fmt.Printf("nodejs: starts by %s: %s\n", process.From, process)
	web.Default = true
	b.result.Processes = append(b.result.Processes, web)
	return nil
}

func (b *build) exists(name string) bool {
	info, err := os.Stat(filepath.Join(b.dir, name))
	return err == nil && info.Mode().IsRegular()
}

// script gives the JavaScript file behind a dependency's program: by the lock file, because
// the dependencies themselves are not at hand when their layer is taken over.
func (b *build) script(program string) (string, bool) {
	if b.locked {
		return b.lock.Script(program)
	}
	target, err := filepath.EvalSymlinks(filepath.Join(b.dir, "node_modules", ".bin", filepath.Base(program)))
	if err != nil {
		return "", false
	}
	_, name, found := strings.Cut(target, "/node_modules/")
	return "node_modules/" + name, found
}

var webLine = regexp.MustCompile(`(?m)^web:`)

func (b *build) hasProcfile() bool {
	text, err := os.ReadFile(filepath.Join(b.dir, "Procfile"))
	return err == nil && webLine.Match(text)
}
