package artifact

// Remedy is the cheapest sound way to get a fix into an image.
type Remedy string

// The remedies, the cheapest first.
const (
	RemedyRebase   Remedy = "rebase"   // a newer base has the fix
	RemedyRebuild  Remedy = "rebuild"  // building the same source again takes the fix: a toolchain, a buildpack's part
	RemedyOverride Remedy = "override" // the source pins the dependency: rebuild with a newer one
	RemedyNone     Remedy = "none"     // nobody has fixed it yet
)

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
