// Package report takes the findings of a scan and gives them in the forms that people and
// other programs read: rows of a table, JSON, SARIF, CycloneDX VEX, and the predicate of an
// attestation. It also says whether a scan fails by a rule of the user's.
package report

import (
	"cmp"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/vuln/match"
)

// Scan is what one scan of one image of one platform came to.
type Scan struct {
	Reference string // as the user wrote it; "" where nobody did
	Contents  artifact.Contents
	Findings  []artifact.Finding // in the order of match.Contents
	Unmatched []match.Unmatched  // packages that no advisory was held against

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
		Unmatched []match.Unmatched  `json:"unmatched,omitempty"` // what was held against nothing
		Gaps      []artifact.Gap     `json:"gaps,omitempty"`      // what could not be read: more may be wrong there
	}{s.Reference, s.Contents.Image, s.Contents.Platform, s.Contents.Distro, len(s.Contents.Packages), s.Database, Count(s.Findings), findings, s.Unmatched, s.Contents.Gaps})
}

// Incomplete gives a line for each thing that the scan did not look at, so that nothing was
// found there: packages without advisories, and files that could not be read.
func (s Scan) Incomplete() []string {
	var lines []string
	if len(s.Unmatched) > 0 {
		var parts []string
		for _, u := range s.Unmatched {
			parts = append(parts, fmt.Sprintf("%s (%s)", cmp.Or(u.Ecosystem, "packages of no ecosystem"), plural(u.Packages, "package")))
		}
		lines = append(lines, "no advisories for "+strings.Join(parts, ", "))
	}
	for _, gap := range s.Contents.Gaps {
		lines = append(lines, fmt.Sprintf("not read: /%s: %s", gap.Path, gap.Why))
	}
	return lines
}

// plural gives "1 package" or "2 packages".
func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
