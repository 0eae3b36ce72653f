package main

import (
	"cmp"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/buildpacks/libcnb"

	"plimsoll.dev/plimsoll/buildpacks/internal/binding"
	"plimsoll.dev/plimsoll/buildpacks/internal/layer"
	"plimsoll.dev/plimsoll/buildpacks/internal/sbom"
	"plimsoll.dev/plimsoll/buildpacks/internal/tool"
	"plimsoll.dev/plimsoll/buildpacks/internal/tree"
	"plimsoll.dev/plimsoll/buildpacks/python/dist"
)

// interpreter is the run base's, too.
const interpreter = "/usr/bin/python3"

// dependencies makes the launch layer with what is wished. It is the user site of the
// interpreter (PYTHONUSERBASE): found without a virtual environment, with .pth files
// honoured, and with scripts that name the interpreter of the run base. A layer whose key
// is the one of the last image has no folder here and is taken over from there.
func (b *build) dependencies(want wishes) error {
	deps, err := layer.Open(b.ctx.Layers, "dependencies", libcnb.LayerTypes{Launch: true})
	if err != nil {
		return err
	}
	key, err := b.key(want)
	if err != nil {
		return err
	}
	fetched, err := b.fetched(want)
	if err != nil {
		return err
	}
	if layer.Text(deps, "key") == key {
		fmt.Println("python: dependencies are unchanged")
		b.keep(deps)
		return nil
	}
	if err := layer.Empty(deps); err != nil {
		return err
	}
	if err := b.install(deps.Path, fetched, want); err != nil {
		return err
	}
	sites, err := filepath.Glob(filepath.Join(deps.Path, "lib", "python3*", "site-packages"))
	if err != nil {
		return err
	}
	if arch() != runtime.GOARCH {
		if err := pure(sites); err != nil {
			return err
		}
	}
	if err := compile(sites); err != nil {
		return err
	}
	packages, err := dist.Packages(sites...)
	if err != nil {
		return err
	}
	if err := b.hold(packages); err != nil {
		return err
	}
	deps.Metadata = map[string]any{"key": key}
	deps.LaunchEnvironment.Override("PYTHONUSERBASE", deps.Path)
	deps.LaunchEnvironment.Default("PORT", "8080") // gunicorn binds to it
	b.keep(deps)
	return sbom.Write(deps.SBOMPath(libcnb.CycloneDXJSON), packages)
}

// key changes with what the installed files depend on. Where they are fetched from is left
// out: the key is in the image, which must not differ from mirror to mirror.
func (b *build) key(want wishes) (string, error) {
	python, err := tool.Command{Path: interpreter, Args: []string{"-c", "import sys, sysconfig; print(sys.version, sysconfig.get_config_var('SOABI'))"}}.Output()
	if err != nil {
		return "", err
	}
	sum := sha256.New()
	fmt.Fprintf(sum, "%s\n%q\n%q\n%q\n", b.ctx.Buildpack.Info.Version, python, arch(), want.args)
	for _, f := range b.floors {
		fmt.Fprintf(sum, "%s>=%s\n", f.Package, f.Version)
	}
	digest, err := tree.Digest(b.app, want.ignores)
	fmt.Fprintln(sum, digest)
	return fmt.Sprintf("%x", sum.Sum(nil)), err
}

// arch gives the kind of machine that the image is for, as Go names it.
func arch() string { return cmp.Or(os.Getenv("CNB_TARGET_ARCH"), runtime.GOARCH) }

// pure refuses what pip chose or compiled for the machine that it runs on.
func pure(sites []string) error {
	for _, site := range sites {
		err := filepath.WalkDir(site, func(path string, entry fs.DirEntry, err error) error {
			if err == nil && strings.HasSuffix(path, ".so") {
				return fmt.Errorf("%s is compiled for %s and does not run on %s: build on such a machine", entry.Name(), runtime.GOARCH, arch())
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// ignores tells whether what pip installs does not depend on the path.
func (w wishes) ignores(path string) bool {
	if w.files == nil {
		return false
	}
	return !slices.ContainsFunc(w.files, func(file string) bool { return within(path, file) }) &&
		!slices.ContainsFunc(w.wheels, func(folder string) bool { return within(folder, path) })
}

// within tells whether the path is the folder, or is in it.
func within(folder, path string) bool { return path == folder || strings.HasPrefix(path, folder+"/") }

// maxFetched is how large pip's cache may grow, in bytes: pip itself never removes from it.
const maxFetched = 512 << 20

// fetched opens the layer with pip's cache and gives its folder, or "" when nothing is
// fetched.
func (b *build) fetched(want wishes) (string, error) {
	if want.wheels != nil {
		return "", nil
	}
	cache, err := layer.Open(b.ctx.Layers, "pip", libcnb.LayerTypes{Cache: true})
	if err != nil {
		return "", err
	}
	size, err := sizeOf(cache.Path)
	if err != nil {
		return "", err
	}
	if size == 0 || size > maxFetched {
		err = layer.Empty(cache)
	}
	b.keep(cache)
	return cache.Path, err
}

// sizeOf gives the bytes of all files in a folder, 0 for one that is not there.
func sizeOf(folder string) (size int64, err error) {
	err = filepath.WalkDir(folder, func(_ string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		info, err := entry.Info()
		if err == nil {
			size += info.Size()
		}
		return err
	})
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	return size, err
}

// install runs pip. What it compiles has no debugging information: that names the folder,
// another one each time, in which it was compiled.
func (b *build) install(base, fetched string, want wishes) error {
	home, err := os.MkdirTemp("", "python-home-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(home)
	env, err := credentials(home, b.ctx.Platform.Bindings)
	if err != nil {
		return err
	}
	env = append(env, "HOME="+home, "PYTHONUSERBASE="+base, "PYTHONDONTWRITEBYTECODE=1", "PYTHONHASHSEED=0",
		"SOURCE_DATE_EPOCH=315532801", "CFLAGS="+strings.TrimSpace(os.Getenv("CFLAGS")+" -g0"))
	args := []string{"install", "--user", "--ignore-installed", "--break-system-packages", "--no-compile",
		"--no-warn-script-location", "--disable-pip-version-check", "--no-input", "--progress-bar=off"}
	if want.wheels == nil {
		args = append(args, "--cache-dir="+fetched)
	} else {
		args = append(args, "--no-cache-dir")
	}
	held, err := b.constraints(home, want)
	if err != nil {
		return err
	}
	args = slices.Concat(args, want.links(), held)
	source, err := b.source(home, want)
	if err != nil {
		return err
	}
	err = tool.Command{Path: "pip3", Args: append(args, want.args...), Dir: source, Env: env}.Run()
	return explain(err, want)
}

// source gives the folder in which pip runs: the application's, or a copy of it where a
// build system would leave its files. The copy has always the same name, because what is
// installed remembers it.
func (b *build) source(home string, want wishes) (string, error) {
	if !slices.Equal(want.args, []string{"."}) {
		return b.app, nil
	}
	folder := filepath.Join(os.TempDir(), "project")
	return folder, errors.Join(os.RemoveAll(folder), os.CopyFS(folder, os.DirFS(b.app)))
}

// credentials gives pip's environment for the bindings of type pip, whose pip.conf it
// reads, and netrc.
func credentials(home string, bindings libcnb.Bindings) ([]string, error) {
	var env []string
	conf, err := binding.File(bindings, "pip", "pip.conf")
	if conf != "" {
		env = append(env, "PIP_CONFIG_FILE="+conf)
	}
	return env, cmp.Or(err, binding.Netrc(bindings, home))
}

// explain gives the line that follows what pip has printed.
func explain(err error, want wishes) error {
	var failed *tool.Error
	if !errors.As(err, &failed) {
		return err
	}
	switch {
	case want.wheels != nil && strings.Contains(failed.Tail, "No matching distribution found"):
		return fmt.Errorf("install requirements: %s/ lacks some of what is required, or of what compiles it: fill it with `pip wheel -w %[1]s %s`", want.wheels[0], want.what)
	case strings.Contains(failed.Tail, "ResolutionImpossible"):
		return errConflict
	case failed.Untrusted():
		return errors.New("install requirements: the package index has a certificate that is not trusted: give its authority in a service binding of the type ca-certificates")
	case failed.NoNetwork():
		return errors.New("install requirements: the package index did not answer: allow the build the network, set PIP_INDEX_URL, or vendor wheels (pip wheel -w wheels " + want.what + ")")
	}
	return fmt.Errorf("install requirements: %w", err)
}

// compile makes the byte code beside the sources, so that no start has to. It is never
// checked against them: a layer does not change. Some projects ship files for other
// versions of Python, which do not compile; that is theirs.
func compile(sites []string) error {
	args := append([]string{"-m", "compileall", "-qq", "--invalidation-mode=unchecked-hash"}, sites...)
	err := tool.Command{Path: interpreter, Args: args, Env: []string{"PYTHONHASHSEED=0", "PYTHONDONTWRITEBYTECODE="}}.Run()
	var failed *tool.Error
	if errors.As(err, &failed) {
		return nil
	}
	return err
}
