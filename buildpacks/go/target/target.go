// Package target takes the main packages of a Go module and gives those to build, with the
// names of their binaries and processes.
package target

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
)

// Main is a main package.
type Main struct {
	ImportPath string // "example.com/shop/cmd/web"
	Dir        string // relative to the module's folder, slash-separated: "cmd/web", "." for the root
}

// List reads what `go list -f Format` prints, in which each package is named relative to root.
func List(root, out string) []Main {
	var mains []Main
	for line := range strings.Lines(out) {
		importPath, dir, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
		if !ok {
			continue
		}
		relative := strings.TrimPrefix(strings.TrimPrefix(dir, root), "/")
		mains = append(mains, Main{ImportPath: importPath, Dir: path.Clean(relative)})
	}
	return mains
}

// Format makes `go list` print a line for each main package.
const Format = `{{if eq .Name "main"}}{{.ImportPath}}{{"\t"}}{{.Dir}}{{end}}`

// Choose gives the packages to build when the user names none: the only main package, else
// the one in the root, else those right below cmd.
func Choose(mains []Main) ([]Main, error) {
	if len(mains) == 1 {
		return mains, nil
	}
	if at := slices.IndexFunc(mains, func(m Main) bool { return m.Dir == "." }); at >= 0 {
		return mains[at : at+1], nil
	}
	var commands []Main
	for _, m := range mains {
		if path.Dir(m.Dir) == "cmd" {
			commands = append(commands, m)
		}
	}
	switch {
	case commands != nil:
		return commands, nil
	case mains == nil:
		return nil, fmt.Errorf("the module has no main package: name one in BP_GO_TARGETS, such as ./tools/server")
	}
	var dirs []string
	for _, m := range mains {
		dirs = append(dirs, "./"+m.Dir)
	}
	return nil, fmt.Errorf("the module has %d main packages, none in its root or in ./cmd: name those to build in BP_GO_TARGETS, such as %q", len(dirs), strings.Join(dirs[:min(3, len(dirs))], " "))
}

var majorVersion = regexp.MustCompile(`^v[0-9]+$`)

// Binary gives the name that `go build` gives the package's binary: the last element of
// its import path that is no major version.
func (m Main) Binary() string {
	dir, name := path.Split(m.ImportPath)
	if majorVersion.MatchString(name) && dir != "" {
		name = path.Base(dir)
	}
	return name
}

// Binaries gives the binaries' names in the order of the packages, or an error when two
// have the same.
func Binaries(mains []Main) ([]string, error) {
	var names []string
	for _, m := range mains {
		if name := m.Binary(); slices.Contains(names, name) {
			return nil, fmt.Errorf("two main packages would give a binary named %q: name one of them in BP_GO_TARGETS", name)
		}
		names = append(names, m.Binary())
	}
	return names, nil
}

// Default gives the binary that starts when the image is run without a process named: the
// one called web, else the first.
func Default(binaries []string) string {
	if slices.Contains(binaries, "web") {
		return "web"
	}
	return binaries[0]
}
