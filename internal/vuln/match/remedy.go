package match

import (
	"slices"
	"strings"

	"plimsoll.dev/plimsoll/artifact"
)

// Remedy gives the cheapest sound way to get the fixed version into an image; fixed is ""
// when there is none.
func Remedy(c artifact.Contents, p artifact.Package, fixed string) artifact.Remedy {
	switch {
	case fixed == "":
		return artifact.RemedyNone
	case c.InBase(p):
		return artifact.RemedyRebase
	case isPinned(p) && !isRuntime(p):
		return artifact.RemedyOverride
	}
	return artifact.RemedyRebuild
}

// isPinned says whether the package is of a kind that an application's own files choose, so
// that building again gives the same version. All others are a builder's choice.
func isPinned(p artifact.Package) bool {
	switch p.Type {
	case "golang", "npm", "pypi", "maven", "cargo", "gem", "composer", "nuget", "hex", "pub", "swift", "cocoapods", "conan", "hackage", "cran":
		return p.Distro == ""
	}
	return false
}

// isRuntime says whether the package comes with a language's tools or with the lifecycle: no
// file of the application names it.
func isRuntime(p artifact.Package) bool {
	name, _ := p.AdvisoryName()
	if p.Type == "golang" && (name == "stdlib" || name == "toolchain" || name == "go") {
		return true
	}
	return len(p.Paths) > 0 && !slices.ContainsFunc(p.Paths, func(path string) bool { return !isBundled(path) })
}

// isBundled says whether a file is of what Node.js, Python and the lifecycle bring along.
func isBundled(path string) bool {
	return strings.HasPrefix(path, "cnb/") ||
		strings.Contains(path, "lib/node_modules/npm/") || strings.Contains(path, "lib/node_modules/corepack/") ||
		strings.Contains(path, "/ensurepip/_bundled/")
}
