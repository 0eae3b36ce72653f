// Package report takes the findings of a scan and gives them in the forms that people and
// other programs read: rows of a table, JSON, SARIF, CycloneDX VEX, and the predicate of an
// attestation. It also says whether a scan fails by a rule of the user's.
package report

import (
	"encoding/json"
	"time"

	"plimsoll.dev/plimsoll/artifact"
)

// Scan is what one scan of one image of one platform came to.
type Scan struct {
	Reference string // as the user wrote it; "" where nobody did
	Contents  artifact.Contents
	Findings  []artifact.Finding // in the order of match.Contents

	Version  string   // plimsoll's own
	Database Database // what the findings are from
	Started  time.Time
	Finished time.Time
}

// Database says which advisories were asked.
type Database struct {
	Version string    `json:"version,omitempty"`
	Updated time.Time `json:"updated,omitzero"` // when its feeds were last synced
}

// Counts is how many findings there are that count, by severity, by remedy and by what is
// known of them.
type Counts struct {
	Total      int                       `json:"total"`
	Suppressed int                       `json:"suppressed"` // not in any other number
	Fixable    int                       `json:"fixable"`
	Exploited  int                       `json:"knownExploited"`
	Severity   map[artifact.Severity]int `json:"severity"`
	Remedy     map[artifact.Remedy]int   `json:"remedy"`
}

// Count counts the findings.
func Count(findings []artifact.Finding) Counts {
	c := Counts{Severity: map[artifact.Severity]int{}, Remedy: map[artifact.Remedy]int{}}
	for i := range findings {
		f := &findings[i]
		if f.Suppressed != nil {
			c.Suppressed++
			continue
		}
		c.Total++
		c.Severity[f.Severity]++
		c.Remedy[f.Remedy]++
		if f.Fixed != "" {
			c.Fixable++
		}
		if f.KnownExploited {
			c.Exploited++
		}
	}
	return c
}

// MarshalJSON gives plimsoll's own form: what was scanned, the counts, all findings, and what
// could not be looked into.
func (s Scan) MarshalJSON() ([]byte, error) {
	findings := s.Findings
	if findings == nil {
		findings = []artifact.Finding{} // a list, though empty
	}
	return json.Marshal(struct {
		Reference string             `json:"reference,omitempty"`
		Image     string             `json:"image"`
		Platform  string             `json:"platform,omitempty"`
		Distro    artifact.Distro    `json:"distro,omitzero"`
		Packages  int                `json:"packages"`
		Database  Database           `json:"database,omitzero"`
		Counts    Counts             `json:"counts"`
		Findings  []artifact.Finding `json:"findings"`
		Gaps      []artifact.Gap     `json:"gaps,omitempty"` // what could not be read: more may be wrong there
	}{s.Reference, s.Contents.Image, s.Contents.Platform, s.Contents.Distro, len(s.Contents.Packages), s.Database, Count(s.Findings), findings, s.Contents.Gaps})
}
