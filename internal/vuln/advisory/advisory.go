// Package advisory takes the records of all feeds and gives one file that answers, in
// place, what is known about a package.
//
// Build merges what several records say of one vulnerability, joins what is known of its
// exploitation, and writes the file; Open maps it in milliseconds. Which version is
// affected is match's to say: here versions are only put in order.
package advisory

import (
	"strings"
	"time"

	"plimsoll.dev/plimsoll/artifact"
)

// Key names a package as advisories do. Make one with KeyOf: two spellings of one name
// have the same Key.
type Key struct {
	Ecosystem string `json:"ecosystem"` // "Debian:13", "Go"
	Name      string `json:"name"`      // a source package, a module path, "@scope/name", "group:artifact"
}

// KeyOf gives the Key of a package: point releases are their release ("Debian:13.2" is
// "Debian:13"), and a name has one spelling (artifact.AdvisorySpelling).
func KeyOf(ecosystem, name string) Key {
	family, release, _ := strings.Cut(ecosystem, ":")
	switch family {
	case "Debian":
		release, _, _ = strings.Cut(release, ".")
	case "Ubuntu":
		release = strings.TrimSuffix(release, ":LTS")
	}
	if release != "" {
		family += ":" + release
	}
	return Key{family, artifact.AdvisorySpelling(family, name)}
}

// family is the Key of the same name in all releases of a distribution.
func (k Key) family() Key {
	family, _, _ := strings.Cut(k.Ecosystem, ":")
	return Key{family, k.Name}
}

// Vulnerability is what all feeds together know of one vulnerability, whatever it is in.
type Vulnerability struct {
	ID       string            `json:"id"`      // its CVE, else the lowest GHSA, else the lowest name
	Aliases  []string          `json:"aliases"` // all other names, sorted
	Summary  string            `json:"summary"`
	Severity artifact.Severity `json:"severity"` // by Score, else the word of a feed
	Score    float64           `json:"score"`    // CVSS base score; 0 is unknown
	Vector   string            `json:"vector"`   // the vector that Score is from

	KnownExploited bool    `json:"knownExploited"`
	EPSS           float64 `json:"epss"` // probability of exploitation in 30 days, 0 to 1

	// Keys are the packages that it is known for, in order.
	Keys []Key `json:"keys"`
}

// Entry is what the feeds say of one vulnerability in one package.
type Entry struct {
	Claims        []Claim
	vulnerability uint64 // where its record is
}

// Claim is what one record says of one package.
type Claim struct {
	Record  string // the record's own id
	Feed    string // who gave it
	Rank    int    // 0 is heard first; see rankOf
	Urgency string // the distribution's word, or ""
	State   string // the same

	// Published is when the record was, in whole seconds; zero when it does not say.
	Published time.Time

	Ranges []Range
	// Versions are affected besides what Ranges cover, sorted. Commits that a GIT range
	// names as affected are among them.
	Versions []string
}

// Range is a history of versions, in their order.
type Range struct {
	Scheme string   // of internal/vuln/version
	Events []Event  // without limits
	Limits []string // versions that the range ends before; none is no limit
}

// EventKind says what happens at an Event's version.
type EventKind byte

// The kinds of events (OSV schema, "affected[].ranges[].events fields").
const (
	Introduced   EventKind = 'i'
	Fixed        EventKind = 'f'
	LastAffected EventKind = 'l'
)

// Event is one point of a Range. Version "0" of Introduced is before all versions.
type Event struct {
	Kind    EventKind
	Version string
}
