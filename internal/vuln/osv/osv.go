// Package osv takes the JSON text of an advisory in OSV format and gives it as a Record that
// is checked, bounded and small.
//
// The format is OSV schema 1.7 (ossf.github.io/osv-schema). Unknown fields are ignored;
// what the schema forbids is refused; long prose and links are dropped, for a matcher
// reads neither.
package osv

import "time"

// Record is one advisory. Its JSON is again OSV.
type Record struct {
	SchemaVersion string    `json:"schema_version,omitempty"`
	ID            string    `json:"id"` // also a file name: see ValidID
	Modified      time.Time `json:"modified"`
	Published     time.Time `json:"published,omitzero"`
	Withdrawn     time.Time `json:"withdrawn,omitzero"` // not zero: it says nothing any more

	Aliases  []string `json:"aliases,omitempty"`  // other names of the same vulnerability
	Upstream []string `json:"upstream,omitempty"` // the vulnerabilities it tells of for a distribution
	Related  []string `json:"related,omitempty"`

	// Summary is the record's own, else the first line of its details; at most 256 bytes.
	Summary string `json:"summary,omitempty"`

	Severity   []Severity  `json:"severity,omitempty"`
	Affected   []Affected  `json:"affected,omitempty"`
	References []Reference `json:"references,omitempty"` // ADVISORY and FIX only, at most 8

	Database DatabaseSpecific `json:"database_specific,omitzero"`
}

// Severity is one rating (OSV schema, "severity[] field").
type Severity struct {
	Type  string `json:"type"`  // "CVSS_V2", "CVSS_V3", "CVSS_V4", "Ubuntu"
	Score string `json:"score"` // a CVSS vector, or the type's own word
}

// Affected says which versions of one package are affected: those that any of Ranges
// covers, and those that Versions lists.
type Affected struct {
	Package  Package    `json:"package,omitzero"` // zero where only a GIT range says what is affected
	Severity []Severity `json:"severity,omitempty"`
	Ranges   []Range    `json:"ranges,omitempty"`
	Versions []string   `json:"versions,omitempty"`

	Ecosystem EcosystemSpecific `json:"ecosystem_specific,omitzero"`
	Database  AffectedSpecific  `json:"database_specific,omitzero"`
}

// Package names a package as its ecosystem does.
type Package struct {
	Ecosystem string `json:"ecosystem"` // "Go", "npm", "Debian:13"
	Name      string `json:"name"`      // "golang.org/x/net", "@scope/name", "group:artifact", a source package
	PURL      string `json:"purl,omitempty"`
}

// RangeType says how the versions of a Range compare.
type RangeType string

// The range types (OSV schema, "affected[].ranges[].type field").
const (
	SEMVER    RangeType = "SEMVER"
	ECOSYSTEM RangeType = "ECOSYSTEM"
	GIT       RangeType = "GIT"
)

// Range is a history of versions, with the points where it became affected or sound.
type Range struct {
	Type   RangeType `json:"type"`
	Repo   string    `json:"repo,omitempty"` // of a GIT range
	Events []Event   `json:"events"`         // in the record's order, which is not always that of versions
}

// Event is one point of a Range: exactly one field is set. Introduced "0" is before all
// versions; Limit "*" is after all.
type Event struct {
	Introduced   string `json:"introduced,omitempty"`
	Fixed        string `json:"fixed,omitempty"`
	LastAffected string `json:"last_affected,omitempty"`
	Limit        string `json:"limit,omitempty"`
}

// Reference is a link that tells more.
type Reference struct {
	Type string `json:"type"` // "ADVISORY" or "FIX"
	URL  string `json:"url"`
}

// EcosystemSpecific is what Plimsoll reads of affected[].ecosystem_specific.
type EcosystemSpecific struct {
	// Urgency and State are those of Debian's tracker. Urgency is how bad its security team
	// finds it: "not yet assigned", "unimportant", "low", "end-of-life". State is "open",
	// "resolved", "undetermined", or the reason why there is no advisory: "no-dsa",
	// "postponed", "ignored". "" when the feed says nothing.
	Urgency string `json:"urgency,omitempty"`
	State   string `json:"state,omitempty"`

	// UploadUrgency is how soon a changelog wanted its upload to migrate, "low" to
	// "critical" (Debian Policy 5.6.17). It says nothing of how bad the vulnerability is.
	UploadUrgency string `json:"upload_urgency,omitempty"`

	// Imports are Go's: the packages, and the symbols in them, that are affected
	// (go.dev/doc/security/vuln/database, "ecosystem_specific").
	Imports []Import `json:"imports,omitempty"`
}

// Import is an affected Go package.
type Import struct {
	Path    string   `json:"path"`
	Symbols []string `json:"symbols,omitempty"` // none: all of them
	GOOS    []string `json:"goos,omitempty"`    // none: all of them
	GOARCH  []string `json:"goarch,omitempty"`  // none: all of them
}

// AffectedSpecific is what Plimsoll reads of affected[].database_specific.
type AffectedSpecific struct {
	// LastKnown is GitHub's upper bound of what is affected where no fix is known, such as
	// "<= 1.2.3".
	LastKnown string `json:"last_known_affected_version_range,omitempty"`
}

// DatabaseSpecific is what Plimsoll reads of database_specific.
type DatabaseSpecific struct {
	Severity string `json:"severity,omitempty"`      // GitHub's word: "LOW" to "CRITICAL"
	Review   string `json:"review_status,omitempty"` // Go's "REVIEWED" or "UNREVIEWED"
	URL      string `json:"url,omitempty"`           // where people read it
}
