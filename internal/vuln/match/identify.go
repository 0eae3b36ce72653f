package match

import (
	"cmp"
	"regexp"
	"strings"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/vuln/advisory"
)

// nmu is the end of a version that a rebuild without a change of source adds (Debian
// Developer's Reference 5.10.2.1). The source has none.
var nmu = regexp.MustCompile(`\+b[0-9]+$`)

// Identify gives the Key that advisories know a package by, and the version they speak of;
// both are empty when no advisory can be about it. A version that nobody knows, as a Go
// program has that was built from a work tree, is "": nothing can be said of it.
func Identify(p artifact.Package) (advisory.Key, string) {
	ecosystem, name, ok := p.AdvisoryKey()
	if !ok || spokenFor(p) {
		return advisory.Key{}, ""
	}
	_, installed := p.AdvisoryName()
	switch p.Type {
	case "golang":
		installed = goVersion(name, installed)
	case "deb":
		if p.SourceVersion == "" || p.SourceVersion == p.Version {
			installed = nmu.ReplaceAllString(installed, "")
		}
	}
	return advisory.KeyOf(ecosystem, name), installed
}

// spokenFor says whether the advisories of a distribution speak for the package: it ships it
// in a package of its own, with fixes that do not change the version. What is compiled into
// a program nobody fixes without building that anew, so Go's own advisories count.
func spokenFor(p artifact.Package) bool { return p.Owner != "" && p.Type != "golang" }

// goVersion gives a module's version as Go's vulnerability database has it: the standard
// library's are semantic there ("go1.21rc2" is "1.21.0-rc.2").
func goVersion(name, installed string) string {
	installed = strings.TrimPrefix(installed, "v")
	if name == "stdlib" || name == "toolchain" {
		installed, _, _ = strings.Cut(strings.TrimPrefix(installed, "go"), " ")
		installed = goRelease(installed)
	}
	if installed == "(devel)" || strings.HasPrefix(installed, "devel") {
		return ""
	}
	return installed
}

var goCandidate = regexp.MustCompile(`^(1\.[0-9]+)((?:\.[0-9]+)?)(rc|beta)([0-9]+)$`)

// goRelease spells a release of Go as a semantic version.
func goRelease(release string) string {
	if m := goCandidate.FindStringSubmatch(release); m != nil {
		return m[1] + cmp.Or(m[2], ".0") + "-" + m[3] + "." + m[4]
	}
	release, _, _ = strings.Cut(release, "-X:") // built with experiments
	return release
}
