package main

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/buildpacks/libcnb"

	"plimsoll.dev/plimsoll/buildpacks/internal/layer"
	"plimsoll.dev/plimsoll/buildpacks/internal/sbom"
	"plimsoll.dev/plimsoll/buildpacks/internal/tool"
	"plimsoll.dev/plimsoll/buildpacks/nodejs/manifest"
	"plimsoll.dev/plimsoll/buildpacks/nodejs/modules"
)

// dependencies installs what package.json asks for, runs the script "build", and leaves the
// production dependencies in a layer with links to it in the application. The layer of the
// last image is taken over when nothing that it comes from has changed.
func (b *build) dependencies() error {
	runtime, err := layer.Open(b.layers, "modules", libcnb.LayerTypes{Launch: true})
	if err != nil {
		return err
	}
	key, err := b.key()
	if err != nil {
		return err
	}
	same := key != "" && layer.Text(runtime, "key") == key
	builds := b.pkg.Scripts["build"] != ""
	if same && !builds {
		return b.takeOver(runtime)
	}
	if err := b.install(key); err != nil {
		return err
	}
	if builds {
		untouched, err := b.runBuild()
		if err != nil {
			return err
		}
		if same && untouched {
			places, err := modules.Places(b.dir)
			if err != nil {
				return err
			}
			if err := modules.Remove(b.dir, places); err != nil {
				return err
			}
			return b.takeOver(runtime)
		}
	}
	return b.keep(runtime, key)
}

// key gives a digest over all that decides what the installed dependencies are, or "" when
// that is not known: without a lock file, and where the application's own scripts take part.
func (b *build) key() (string, error) {
	hooksOnly := !slices.ContainsFunc(b.pkg.InstallScripts(), func(name string) bool {
		return !strings.HasPrefix(b.pkg.Scripts[name], "husky") // it wants a git repository, and there is none
	})
	if b.vendored || !b.locked || !hooksOnly && !b.settings.ignoreScripts {
		return "", nil
	}
	sum := sha256.New()
	fmt.Fprintf(sum, "node %s npm %s %s scripts %t\n", b.node, b.npm, b.settings.arch, !b.settings.ignoreScripts)
	err := filepath.WalkDir(b.dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && entry.Name() == "node_modules" {
			return fs.SkipDir
		}
		if !slices.Contains([]string{"package.json", "package-lock.json", "npm-shrinkwrap.json", ".npmrc"}, entry.Name()) || entry.IsDir() {
			return nil
		}
		text, err := os.ReadFile(path)
		fmt.Fprintf(sum, "%q %q\n", path, text)
		return err
	})
	return hex.EncodeToString(sum.Sum(nil)), err
}

// needsDevelopment tells whether the build needs the development dependencies.
func (b *build) needsDevelopment() bool {
	return b.pkg.Scripts["build"] != "" || len(b.pkg.InstallScripts()) > 0 && !b.settings.ignoreScripts
}

// install puts the dependencies into the application's folder: from the source, from the
// cache, or by npm.
func (b *build) install(key string) error {
	if b.vendored {
		fmt.Println("nodejs: node_modules comes with the source")
		return nil
	}
	if !b.pkg.HasDependencies() {
		return nil
	}
	if !b.needsDevelopment() || key == "" {
		return b.npmInstall()
	}
	kept, err := layer.Open(b.layers, "build-modules", libcnb.LayerTypes{Cache: true})
	if err != nil {
		return err
	}
	if layer.Text(kept, "key") == key {
		fmt.Println("nodejs: dependencies from the cache")
		places, err := modules.Places(kept.Path)
		if err != nil {
			return err
		}
		b.result.Layers = append(b.result.Layers, layer.Filled(kept))
		return modules.Copy(kept.Path, b.dir, places)
	}
	if err := layer.Empty(kept); err != nil {
		return err
	}
	if err := b.npmInstall(); err != nil {
		return err
	}
	places, err := modules.Places(b.dir)
	if err != nil {
		return err
	}
	kept.Metadata = map[string]any{"key": key}
	b.result.Layers = append(b.result.Layers, layer.Filled(kept))
	return modules.Copy(b.dir, kept.Path, places)
}

func (b *build) npmInstall() error {
	args := []string{"ci"}
	if !b.locked {
		fmt.Println("nodejs: warning: without a lock file the next build may get other packages")
		args = []string{"install", "--no-package-lock"}
	}
	if b.needsDevelopment() {
		args = append(args, "--include=dev")
	} else {
		args = append(args, "--omit=dev")
	}
	if b.settings.ignoreScripts {
		args = append(args, "--ignore-scripts")
	}
	return explain("install dependencies", b.callNPM(args...))
}

// explain gives the line that follows what npm has printed.
func explain(doing string, err error) error {
	var failed *tool.Error
	switch {
	case !errors.As(err, &failed):
		return err
	case failed.Untrusted():
		return fmt.Errorf("%s: the registry has a certificate that is not trusted: give its authority in a service binding of the type ca-certificates", doing)
	case failed.NoNetwork():
		return fmt.Errorf("%s: the registry did not answer: allow the build the network, set NPM_CONFIG_REGISTRY, or commit node_modules", doing)
	case strings.Contains(failed.Tail, "package.json and package-lock.json"):
		return fmt.Errorf("%s: package.json and its lock file do not agree: run `npm install` and commit the lock file", doing)
	}
	return fmt.Errorf("%s: %w", doing, err)
}

// runBuild runs the script "build" and tells whether it left node_modules as they were.
func (b *build) runBuild() (untouched bool, err error) {
	places, err := modules.Places(b.dir)
	if err != nil {
		return false, err
	}
	before, err := modules.Shape(b.dir, places)
	if err != nil {
		return false, err
	}
	if err := b.callNPM("run", "build"); err != nil {
		return false, fmt.Errorf(`the script "build": %w`, err)
	}
	after, err := modules.Shape(b.dir, places)
	return before == after, err
}

// keep makes the layer of what is in the application's node_modules.
func (b *build) keep(runtime libcnb.Layer, key string) error {
	if len(b.pkg.Development) > 0 && (b.vendored || b.needsDevelopment()) {
		if err := b.callNPM("prune", "--omit=dev", "--ignore-scripts"); err != nil {
			return fmt.Errorf("remove development dependencies: %w", err)
		}
	}
	places, err := modules.Places(b.dir)
	if err != nil || len(places) == 0 {
		return err
	}
	if err := modules.Clean(b.dir, places); err != nil {
		return err
	}
	foreign, err := modules.Foreign(b.dir, places, b.settings.arch)
	if err != nil {
		return err
	}
	if foreign != "" {
		return fmt.Errorf("package %s has compiled code, but none for %s: build the image on a machine of that kind", foreign, b.settings.arch)
	}
	if err := layer.Empty(runtime); err != nil {
		return err
	}
	runtime.Metadata = map[string]any{"key": key, "places": places}
	if err := b.describe(runtime, places); err != nil {
		return err
	}
	b.result.Layers = append(b.result.Layers, layer.Filled(runtime))
	if err := modules.Move(b.dir, runtime.Path, places); err != nil {
		return err
	}
	return modules.Link(b.dir, runtime.Path, places)
}

// takeOver uses the layer of the last image, which is not at hand.
func (b *build) takeOver(runtime libcnb.Layer) error {
	fmt.Println("nodejs: dependencies as in the last image")
	var places []string
	list, _ := runtime.Metadata["places"].([]any)
	for _, item := range list {
		if place, ok := item.(string); ok && filepath.IsLocal(place) {
			places = append(places, place)
		}
	}
	if err := b.describe(runtime, places); err != nil {
		return err
	}
	b.result.Layers = append(b.result.Layers, layer.Filled(runtime))
	return modules.Link(b.dir, runtime.Path, places)
}

// describe writes the layer's bill of materials: what the lock file says is installed, or
// what is there.
func (b *build) describe(runtime libcnb.Layer, places []string) error {
	cpu := map[string]string{"amd64": "x64"}[b.settings.arch]
	if cpu == "" {
		cpu = b.settings.arch
	}
	var installed []manifest.Installed
	if b.locked {
		installed = b.lock.Installed(cpu)
	} else {
		var err error
		if installed, err = modules.Installed(b.dir, places); err != nil {
			return err
		}
	}
	var packages []sbom.Package
	for _, p := range installed {
		packages = append(packages, describe(p))
	}
	return sbom.Write(runtime.SBOMPath(libcnb.CycloneDXJSON), packages)
}

func describe(p manifest.Installed) sbom.Package {
	out := sbom.Package{Type: "npm", Name: p.Name, Version: p.Version}
	if scope, name, ok := strings.Cut(p.Name, "/"); ok {
		out.Namespace, out.Name = scope, name
	}
	if p.License != "" {
		out.Licenses = []string{p.License}
	}
	if sum, ok := strings.CutPrefix(p.Integrity, "sha512-"); ok {
		if raw, err := base64.StdEncoding.DecodeString(sum); err == nil {
			out.SHA512 = hex.EncodeToString(raw)
		}
	}
	return out
}
