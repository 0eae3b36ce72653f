// Package toolchain takes what a Go module wants and gives the Go toolchain that compiles
// it: the build image's own, or one fetched as the go command itself would, without what
// compiling does not need.
package toolchain

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"plimsoll.dev/plimsoll/buildpacks/internal/tool"
)

// Own gives the release of the go command in PATH, such as "go1.24.4".
func Own() (string, error) {
	out, err := tool.Command{Path: "go", Args: []string{"env", "GOVERSION"}, Env: []string{"GOTOOLCHAIN=local", "GOWORK=off"}, Dir: "/"}.Output()
	if err != nil {
		return "", fmt.Errorf("find the build image's Go: %w", err)
	}
	// Distributions and experiments append to the release: "go1.24.4 X:…", "go1.24.4-debian".
	release, _, _ := strings.Cut(strings.TrimSpace(out), " ")
	return release, nil
}

// Fetch downloads the release with the go command in PATH, by the user's GOPROXY and
// verified as GOSUMDB says, into dir, which is empty. env is for the go command.
func Fetch(release, dir string, env []string) error {
	unpacked := filepath.Join(dir, "unpacking")
	defer func() { _ = errors.Join(writable(unpacked), os.RemoveAll(unpacked)) }()
	err := tool.Command{Path: "go", Args: []string{"version"}, Dir: dir, Env: append(env,
		"GOTOOLCHAIN="+release, "GOWORK=off", "GOMODCACHE="+unpacked)}.Run()
	if err != nil {
		return unavailable(release, err)
	}
	from := filepath.Join(unpacked, "golang.org", fmt.Sprintf("toolchain@v0.0.1-%s.linux-%s", release, runtime.GOARCH))
	if err := trim(from); err != nil {
		return fmt.Errorf("make the toolchain %s smaller: %w", release, err)
	}
	return os.Rename(from, Root(dir))
}

// Root gives the GOROOT of the toolchain that Fetch put into dir.
func Root(dir string) string { return filepath.Join(dir, "go") }

func unavailable(release string, err error) error {
	var failed *tool.Error
	if errors.As(err, &failed) && failed.Untrusted() {
		return fmt.Errorf("fetch toolchain %s: the Go proxy has a certificate that is not trusted: give its authority in a service binding of the type ca-certificates", release)
	}
	if errors.As(err, &failed) && failed.NoNetwork() {
		return fmt.Errorf("fetch toolchain %s: the Go proxy did not answer: allow the build the network, set GOPROXY, or let go.mod name a release that the build image has", release)
	}
	return fmt.Errorf("fetch toolchain %s: the Go proxy does not give it, or its checksum could not be verified: see GOPROXY and GOSUMDB, and whether go.mod names a release with all its numbers", release)
}

// unneeded is what compiling does not read, relative to GOROOT. The layer is read and
// written in every build, so half the size is half the wait.
var unneeded = []string{
	"api", "doc", "misc", "test", "src/cmd", "bin/gofmt",
	"pkg/tool/*/cover", "pkg/tool/*/covdata", "pkg/tool/*/fix", "pkg/tool/*/vet", "pkg/tool/*/trace", "pkg/tool/*/pprof",
	"pkg/tool/*/doc", "pkg/tool/*/test2json", "pkg/tool/*/objdump", "pkg/tool/*/addr2line", "pkg/tool/*/nm", "pkg/tool/*/dist", "pkg/tool/*/distpack",
}

// trim makes a toolchain's folder smaller.
func trim(root string) error {
	if err := writable(root); err != nil {
		return err
	}
	for _, pattern := range unneeded {
		found, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			return err
		}
		for _, path := range found {
			if err := os.RemoveAll(path); err != nil {
				return err
			}
		}
	}
	return filepath.WalkDir(filepath.Join(root, "src"), func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && entry.Name() == "testdata":
			if err := os.RemoveAll(path); err != nil {
				return err
			}
			return fs.SkipDir
		case strings.HasSuffix(path, "_test.go"):
			return os.Remove(path)
		}
		return nil
	})
}

// writable undoes what the module cache does to the folders of a toolchain, whatever the
// flags say: its files could not be removed otherwise, neither here nor by the lifecycle.
func writable(root string) error {
	return filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.IsDir() {
			return err
		}
		return os.Chmod(path, 0o755)
	})
}
