package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"plimsoll.dev/plimsoll/buildpacks/go/target"
	"plimsoll.dev/plimsoll/buildpacks/internal/tool"
)

// packageLine is a line of vendor/modules.txt that names a package.
var packageLine = regexp.MustCompile(`(?m)^[^#\s]`)

// vendored tells whether the application brings its dependencies, and gives a note where it
// only seems so: the archives of module proxies have vendor/modules.txt alone.
func vendored(app string) (bool, string) {
	list, err := os.ReadFile(filepath.Join(app, "vendor", "modules.txt"))
	if err != nil {
		return false, ""
	}
	entries, err := os.ReadDir(filepath.Join(app, "vendor"))
	if err == nil && len(entries) == 1 && packageLine.Match(list) {
		return false, "vendor holds nothing but modules.txt, so modules are fetched"
	}
	return true, ""
}

// inC gives the packages below the main ones that would use cgo if that were on, without
// the standard library's, which do without. Nothing is fetched, and no error shown: compiling
// does both.
func (b *build) inC(mains []target.Main) []string {
	if b.settings.cgo {
		return nil
	}
	args := []string{"list", "-e", "-deps", "-tags=" + b.settings.tags, "-f", `{{if and .CgoFiles (not .Standard)}}{{.ImportPath}}{{end}}`}
	for _, m := range mains {
		args = append(args, m.ImportPath)
	}
	out, err := tool.Command{Path: b.gocmd, Args: args, Dir: b.dir, Env: append(slices.Clone(b.env), "CGO_ENABLED=1", "GOPROXY=off")}.Output()
	if err != nil {
		return nil
	}
	return strings.Fields(out)
}

// withoutC says that the packages were compiled without their parts in C, or "" for none.
func withoutC(packages []string) string {
	if len(packages) == 0 {
		return ""
	}
	more := ""
	if n := len(packages) - 2; n > 0 {
		more = fmt.Sprintf(" and %d more", n)
	}
	return fmt.Sprintf("parts in C are left out of %s%s; if they are needed: --env BP_GO_CGO=true", strings.Join(packages[:min(2, len(packages))], ", "), more)
}
