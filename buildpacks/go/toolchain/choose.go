package toolchain

import (
	"fmt"
	"go/version"
	"path"

	"golang.org/x/mod/modfile"
)

// Wants is what a go.mod or go.work file wants of the build.
type Wants struct {
	Release string   // the newer of its go and toolchain lines (https://go.dev/doc/toolchain), such as "go1.25.3"; "" for none
	Modules []string // the folders of the modules to build, relative to the file, slash-separated
}

// Read reads a file named go.mod or go.work.
func Read(name string, text []byte) (Wants, error) {
	if name == "go.work" {
		file, err := modfile.ParseWork(name, text, nil)
		if err != nil {
			return Wants{}, err
		}
		wants := Wants{Release: newer(file.Go, file.Toolchain)}
		for _, use := range file.Use {
			wants.Modules = append(wants.Modules, path.Clean(use.Path))
		}
		return wants, nil
	}
	file, err := modfile.Parse(name, text, nil)
	if err != nil { // perhaps it holds what only a newer Go knows
		if file, err = modfile.ParseLax(name, text, nil); err != nil {
			return Wants{}, err
		}
	}
	return Wants{Release: newer(file.Go, file.Toolchain), Modules: []string{"."}}, nil
}

func newer(goLine *modfile.Go, toolchain *modfile.Toolchain) string {
	release := ""
	if goLine != nil {
		release = "go" + goLine.Version
	}
	if toolchain != nil && version.Compare(toolchain.Name, release) > 0 { // "default" compares as older than all
		return toolchain.Name
	}
	return release
}

// Choose gives the release to compile with: the build image's own when it is new enough for
// what the module wants, else that one. A user who asks for a release (like "1.26.1") gets
// it, unless the module wants a newer one.
func Choose(own, wanted, asked string) (string, error) {
	if asked == "" {
		switch {
		case version.Compare(own, wanted) >= 0:
			return own, nil
		case wanted == version.Lang(wanted):
			return wanted + ".0", nil // "go 1.26" names a language; this is its first release
		}
		return wanted, nil
	}
	release := "go" + asked
	switch {
	case !version.IsValid(release) || release == version.Lang(release):
		return "", fmt.Errorf("BP_GO_VERSION %q is no Go release: name one with all its numbers, such as 1.26.1", asked)
	case version.Compare(release, wanted) < 0:
		return "", fmt.Errorf("BP_GO_VERSION is %s, but the module wants %s or newer", asked, wanted)
	}
	return release, nil
}
