package artifact

import (
	"slices"
	"strings"
	"time"
)

// Remedy is the cheapest sound way to get a fix into an image.
type Remedy string

// The remedies, the cheapest first.
const (
	RemedyRebase   Remedy = "rebase"   // a newer base has the fix
	RemedyRebuild  Remedy = "rebuild"  // building the same source again takes the fix: a toolchain, a buildpack's part
	RemedyOverride Remedy = "override" // the source pins the dependency: rebuild with a newer one
	RemedyNone     Remedy = "none"     // nobody has fixed it yet
)

// RemedyOf gives the cheapest sound way to get the fixed version of a package into an image;
// fixed is "" when there is none. inBase says that the base brought the package. Of the
// package its kind counts, and its Paths where they are known, but not who declares it: a
// buildpack's bill names the application's locked dependencies, too.
func RemedyOf(p Package, inBase bool, fixed string) Remedy {
	switch {
	case fixed == "":
		return RemedyNone
	case inBase:
		return RemedyRebase
	case p.isPinned() && !p.isRuntime():
		return RemedyOverride
	}
	return RemedyRebuild
}

// isPinned says whether the package is of a kind that an application's own files choose, so
// that building again gives the same version. All others are a builder's choice.
func (p Package) isPinned() bool {
	switch p.Type {
	case "golang", "npm", "pypi", "maven", "cargo", "gem", "composer", "nuget", "hex", "pub", "swift", "cocoapods", "conan", "hackage", "cran":
		return p.Distro == ""
	}
	return false
}

// isRuntime says whether the package comes with a language's tools or with the lifecycle: no
// file of the application names it.
func (p Package) isRuntime() bool {
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

// Finding is an advisory that concerns a package of an image.
type Finding struct {
	ID       string   `json:"id"`                // the name people know it by: the CVE if it has one
	Aliases  []string `json:"aliases,omitempty"` // other names for the same, sorted
	Summary  string   `json:"summary,omitempty"`
	Severity Severity `json:"severity"`
	Score    float64  `json:"score,omitempty"`  // CVSS base score; 0 is unknown
	Vector   string   `json:"vector,omitempty"` // the CVSS vector the score is from
	Source   string   `json:"source"`           // the feeds that say so, sorted and joined by ","
	Package  Package  `json:"package"`
	Fixed    string   `json:"fixed,omitempty"` // lowest version above the package's that is not affected
	State    string   `json:"state"`           // "fixed", "affected", or the distribution's own word ("no-dsa", "postponed", "unimportant")
	Remedy   Remedy   `json:"remedy"`

	// Published is when the advisory was, so since when a fix it names could be had; zero when
	// it does not say.
	Published time.Time `json:"published,omitzero"`

	KnownExploited bool    `json:"knownExploited,omitempty"` // listed in a KEV catalogue
	EPSS           float64 `json:"epss,omitempty"`           // probability of exploitation in 30 days, 0 to 1

	// Suppressed says why it does not count; nil when it does.
	Suppressed *Suppression `json:"suppressed,omitempty"`
}

// Severity is a qualitative rating (CVSS v3.1, section 5).
type Severity string

// The severities, the worst first.
const (
	SeverityCritical Severity = "critical"
	SeverityHigh     Severity = "high"
	SeverityMedium   Severity = "medium"
	SeverityLow      Severity = "low"
	SeverityNone     Severity = "none"
	SeverityUnknown  Severity = "unknown"
)

// Rank gives 0 for the worst rating, 5 for an unknown one.
func (s Severity) Rank() int {
	switch s {
	case SeverityCritical:
		return 0
	case SeverityHigh:
		return 1
	case SeverityMedium:
		return 2
	case SeverityLow:
		return 3
	case SeverityNone:
		return 4
	}
	return 5
}

// Suppression is what a VEX statement says of a finding (OpenVEX v0.2.0).
type Suppression struct {
	Status        string `json:"status"`                  // "not_affected" or "fixed"
	Justification string `json:"justification,omitempty"` // OpenVEX's own word
	Statement     string `json:"statement,omitempty"`     // impact statement or status notes
	Author        string `json:"author,omitempty"`
	From          string `json:"from"` // the file or attestation that says so
}
