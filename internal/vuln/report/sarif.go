package report

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"plimsoll.dev/plimsoll/artifact"
)

// The parts of a SARIF log (SARIF 2.1.0, section 3) that are written here.
type sarifLog struct {
	Schema  string     `json:"$schema"`
	Version string     `json:"version"`
	Runs    []sarifRun `json:"runs"`
}

type sarifRun struct {
	Tool struct {
		Driver sarifDriver `json:"driver"`
	} `json:"tool"`
	Invocations []sarifInvocation `json:"invocations,omitempty"`
	ColumnKind  string            `json:"columnKind"`
	Results     []sarifResult     `json:"results"`
}

// sarifInvocation tells what the scan did not look at (section 3.20).
type sarifInvocation struct {
	Successful    bool                `json:"executionSuccessful"`
	Notifications []sarifNotification `json:"toolExecutionNotifications"`
}

type sarifNotification struct {
	Level   string    `json:"level"`
	Message sarifText `json:"message"`
}

type sarifDriver struct {
	Name           string      `json:"name"`
	Version        string      `json:"version,omitempty"`
	InformationURI string      `json:"informationUri"`
	Rules          []sarifRule `json:"rules"`
}

type sarifRule struct {
	ID               string       `json:"id"`
	ShortDescription sarifText    `json:"shortDescription"`
	FullDescription  sarifText    `json:"fullDescription"`
	Help             sarifText    `json:"help"`
	Properties       sarifRanking `json:"properties"`
}

type sarifText struct {
	Text string `json:"text"`
}

// sarifRanking is what code scanning reads to sort by: a number from 0 to 10 as a string.
type sarifRanking struct {
	Tags             []string `json:"tags"`
	SecuritySeverity string   `json:"security-severity,omitempty"`
}

type sarifResult struct {
	RuleID       string             `json:"ruleId"`
	RuleIndex    int                `json:"ruleIndex"`
	Level        string             `json:"level"`
	Message      sarifText          `json:"message"`
	Locations    []sarifLocation    `json:"locations"`
	Fingerprints map[string]string  `json:"partialFingerprints"`
	Suppressions []sarifSuppression `json:"suppressions,omitempty"`
}

type sarifLocation struct {
	Physical struct {
		Artifact sarifURI    `json:"artifactLocation"`
		Region   sarifRegion `json:"region"`
	} `json:"physicalLocation"`
	Logical []sarifLogical `json:"logicalLocations"`
}

type sarifURI struct {
	URI string `json:"uri"`
}

// sarifRegion is the first line: code scanning shows no result without one.
type sarifRegion struct {
	StartLine int `json:"startLine"`
}

type sarifLogical struct {
	FullyQualifiedName string `json:"fullyQualifiedName"`
	Kind               string `json:"kind"`
}

type sarifSuppression struct {
	Kind          string `json:"kind"`
	Status        string `json:"status"`
	Justification string `json:"justification,omitempty"`
}

// WriteSARIF writes the scan as a SARIF 2.1.0 log that code scanning can show. A finding is
// located in the file that tells of its package; those that VEX suppresses are there as
// suppressed.
func WriteSARIF(w io.Writer, s Scan) error {
	run := sarifRun{ColumnKind: "utf16CodeUnits", Results: []sarifResult{}}
	run.Tool.Driver = sarifDriver{Name: "plimsoll", Version: s.Version, InformationURI: "https://plimsoll.dev", Rules: []sarifRule{}}
	if lines := s.Incomplete(); len(lines) > 0 {
		invocation := sarifInvocation{Successful: true}
		for _, line := range lines {
			invocation.Notifications = append(invocation.Notifications, sarifNotification{"warning", sarifText{line}})
		}
		run.Invocations = []sarifInvocation{invocation}
	}
	worst := map[string]*artifact.Finding{} // by ID: a rule has one severity
	for i := range s.Findings {
		f := &s.Findings[i]
		if known := worst[f.ID]; known == nil || f.Severity.Rank() < known.Severity.Rank() {
			worst[f.ID] = f
		}
	}
	index := map[string]int{}
	for _, f := range s.Findings {
		at, known := index[f.ID]
		if !known {
			at = len(run.Tool.Driver.Rules)
			index[f.ID] = at
			run.Tool.Driver.Rules = append(run.Tool.Driver.Rules, sarifRuleOf(worst[f.ID]))
		}
		run.Results = append(run.Results, sarifResultOf(&f, at, s))
	}
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(sarifLog{"https://json.schemastore.org/sarif-2.1.0.json", "2.1.0", []sarifRun{run}})
}

func sarifRuleOf(f *artifact.Finding) sarifRule {
	summary := cmp.Or(f.Summary, f.ID)
	names := append([]string{f.ID}, f.Aliases...)
	return sarifRule{
		ID: f.ID, ShortDescription: sarifText{summary}, FullDescription: sarifText{summary},
		Help:       sarifText{summary + "\n\nAlso known as: " + strings.Join(names, ", ")},
		Properties: sarifRanking{[]string{"security", "vulnerability"}, securitySeverity(f)},
	}
}

// securitySeverity gives the score, or the middle of what the word stands for.
func securitySeverity(f *artifact.Finding) string {
	score := f.Score
	if score == 0 || f.Severity == artifact.SeverityLow { // low may be what a distribution made of a high score
		score = map[artifact.Severity]float64{
			artifact.SeverityCritical: 9.5, artifact.SeverityHigh: 8, artifact.SeverityMedium: 5.5, artifact.SeverityLow: 2,
		}[f.Severity]
	}
	if score == 0 {
		return ""
	}
	return strconv.FormatFloat(score, 'f', 1, 64)
}

func sarifResultOf(f *artifact.Finding, rule int, s Scan) sarifResult {
	r := sarifResult{RuleID: f.ID, RuleIndex: rule, Level: sarifLevel(f.Severity), Message: sarifText{sentence(f)}}
	location := sarifLocation{Logical: []sarifLogical{{f.Package.PURL(), "package"}}}
	location.Physical.Artifact = sarifURI{fileURI(f.Package, s)}
	location.Physical.Region = sarifRegion{1}
	r.Locations = []sarifLocation{location}
	// Not the version: an alert that an update leaves open is the same alert.
	r.Fingerprints = map[string]string{"plimsoll/v1": strings.Join([]string{f.ID, f.Package.Type, f.Package.Namespace, f.Package.Name}, ":")}
	if f.Suppressed != nil {
		why := slices.DeleteFunc([]string{f.Suppressed.Status, f.Suppressed.Justification, f.Suppressed.Statement}, func(s string) bool { return s == "" })
		r.Suppressions = []sarifSuppression{{"external", "accepted", strings.Join(why, ": ")}}
	}
	return r
}

// sarifLevel gives the level (SARIF 2.1.0, section 3.27.10) of a severity.
func sarifLevel(s artifact.Severity) string {
	switch s {
	case artifact.SeverityCritical, artifact.SeverityHigh:
		return "error"
	case artifact.SeverityLow, artifact.SeverityNone:
		return "note"
	}
	return "warning"
}

func sentence(f *artifact.Finding) string {
	name, version := f.Package.AdvisoryName()
	text := fmt.Sprintf("%s %s is affected by %s (%s)", name, version, f.ID, f.Severity)
	if f.Fixed == "" {
		return text + "; there is no fix yet: " + f.State + "."
	}
	return fmt.Sprintf("%s; fixed in %s: %s.", text, f.Fixed, f.Remedy)
}

// fileURI gives a relative reference (RFC 3986, section 4.2) to the file in the image that
// tells of the package.
func fileURI(p artifact.Package, s Scan) string {
	path := cmp.Or(s.Reference, s.Contents.Image)
	if len(p.Paths) > 0 {
		path = p.Paths[0]
	}
	parts := strings.Split(strings.TrimPrefix(path, "/"), "/")
	for i := range parts {
		parts[i] = strings.ReplaceAll(url.PathEscape(parts[i]), ":", "%3A") // the first is no scheme
	}
	return strings.Join(parts, "/")
}
