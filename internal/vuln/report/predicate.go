package report

import (
	"encoding/json"
	"strconv"
	"time"

	"plimsoll.dev/plimsoll/artifact"
)

// The predicate https://in-toto.io/attestation/vulns/v0.2.
type vulns struct {
	Scanner  scanner  `json:"scanner"`
	Metadata metadata `json:"metadata"`
}

type scanner struct {
	URI     string   `json:"uri"`
	Version string   `json:"version,omitempty"`
	DB      database `json:"db"`
	Result  []result `json:"result"`
}

type database struct {
	Version    string    `json:"version,omitempty"`
	LastUpdate time.Time `json:"lastUpdate"`
}

type result struct {
	ID          string        `json:"id"`
	Severity    []severity    `json:"severity"`
	Annotations []annotations `json:"annotations"`
}

type severity struct {
	Method string `json:"method"`
	Score  string `json:"score"`
}

// annotations are what the predicate has no field for, by plimsoll's own names.
type annotations struct {
	Package    string                `json:"package"` // package URL
	Aliases    []string              `json:"aliases,omitempty"`
	State      string                `json:"state"`
	Fixed      string                `json:"fixed,omitempty"`
	Remedy     artifact.Remedy       `json:"remedy"`
	Published  time.Time             `json:"published,omitzero"`
	Suppressed *artifact.Suppression `json:"suppressed,omitempty"`
}

type metadata struct {
	ScanStartedOn  time.Time `json:"scanStartedOn"`
	ScanFinishedOn time.Time `json:"scanFinishedOn"`
}

// Evidence gives the scan as the claim of an attestation (in-toto attestation framework,
// predicate "vulns" v0.2). Findings that VEX suppresses are in it, with the reason.
func Evidence(s Scan) (artifact.Evidence, error) {
	p := vulns{
		Scanner: scanner{
			URI: "https://plimsoll.dev/scan", Version: s.Version, Result: []result{},
			DB: database{s.Database.Version, s.Database.Updated.UTC().Truncate(time.Second)},
		},
		Metadata: metadata{s.Started.UTC().Truncate(time.Second), s.Finished.UTC().Truncate(time.Second)},
	}
	for _, f := range s.Findings {
		r := result{ID: f.ID, Severity: []severity{{"plimsoll", string(f.Severity)}}, Annotations: []annotations{{
			f.Package.PURL(), f.Aliases, f.State, f.Fixed, f.Remedy, f.Published, f.Suppressed,
		}}}
		if f.Vector != "" {
			r.Severity = append(r.Severity, severity{"cvss_score", strconv.FormatFloat(f.Score, 'f', 1, 64)}, severity{"cvss_vector", f.Vector})
		}
		p.Scanner.Result = append(p.Scanner.Result, r)
	}
	text, err := json.Marshal(p)
	if err != nil {
		return artifact.Evidence{}, err
	}
	return artifact.Evidence{Subject: s.Contents.Image, PredicateType: artifact.PredicateVulns, Predicate: text}, nil
}
