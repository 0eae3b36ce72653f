// Package self takes a path in a layer and gives the running buildpack's own program there,
// for what only the start of an image can know.
package self

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"

	"plimsoll.dev/plimsoll/buildpacks/go/binary"
	"plimsoll.dev/plimsoll/buildpacks/internal/sbom"
)

// Foreign gives the architecture of the image when this program cannot run there, or "".
func Foreign() string {
	if arch := os.Getenv("CNB_TARGET_ARCH"); arch != runtime.GOARCH {
		return arch // "" is a platform that only builds for the machine it runs on
	}
	return ""
}

// Copy puts this program at the path and gives the packages that it is made of.
func Copy(path string) ([]sbom.Package, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	program, err := os.ReadFile(self)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, program, 0o755)); err != nil {
		return nil, err
	}
	packages, err := binary.Packages(path)
	for i := range packages {
		packages[i].Main = false // the application is another one
	}
	return packages, err
}
