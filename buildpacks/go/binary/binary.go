// Package binary takes a Go binary and gives the packages it is made of.
package binary

import (
	"debug/buildinfo"
	"fmt"
	"path"
	"runtime/debug"
	"strings"

	"plimsoll.dev/plimsoll/buildpacks/internal/sbom"
)

// Packages gives the modules that the go command recorded in the binary: the main one, all
// that it needed, and the standard library, which package URLs call pkg:golang/stdlib.
func Packages(file string) ([]sbom.Package, error) {
	info, err := buildinfo.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read what %s is made of: %w", file, err)
	}
	release, _, _ := strings.Cut(strings.TrimPrefix(info.GoVersion, "go"), " ")
	packages := []sbom.Package{{Type: "golang", Name: "stdlib", Version: release}}
	main := of(&info.Main)
	main.Main = true
	packages = append(packages, main)
	for _, dep := range info.Deps {
		packages = append(packages, of(dep))
	}
	return packages, nil
}

// of gives the module that was compiled in: the replacement, unless that is only a folder.
func of(m *debug.Module) sbom.Package {
	if m.Replace != nil && m.Replace.Version != "" {
		m = m.Replace
	}
	namespace, name := path.Split(m.Path)
	version := m.Version
	if version == "(devel)" {
		version = ""
	}
	return sbom.Package{Type: "golang", Namespace: strings.TrimSuffix(namespace, "/"), Name: name, Version: version}
}
