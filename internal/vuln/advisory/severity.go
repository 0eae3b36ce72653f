package advisory

import (
	"strings"

	gocvss20 "github.com/pandatix/go-cvss/20"
	gocvss30 "github.com/pandatix/go-cvss/30"
	gocvss31 "github.com/pandatix/go-cvss/31"
	gocvss40 "github.com/pandatix/go-cvss/40"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/vuln/osv"
)

// rating is how bad something is, by one vector or one word.
type rating struct {
	generation int // of CVSS; 0 is a word alone
	score      float64
	vector     string
	word       artifact.Severity
}

// above says whether r is to be shown rather than other: the newest CVSS, in it the worst.
func (r rating) above(other rating) bool {
	if r.generation != other.generation {
		return r.generation > other.generation
	}
	if r.score != other.score {
		return r.score > other.score
	}
	if r.vector != other.vector {
		return other.vector == "" || r.vector < other.vector
	}
	return r.word.Rank() < other.word.Rank()
}

func (r rating) severity() artifact.Severity {
	if r.generation > 0 {
		return Rate(r.score)
	}
	if r.word == "" {
		return artifact.SeverityUnknown
	}
	return r.word
}

// rate gives the rating of a record's severity; false when it cannot be read.
func rate(s osv.Severity) (rating, bool) {
	score, generation, err := 0.0, 0, error(nil)
	switch {
	case strings.HasPrefix(s.Score, "CVSS:4.0/"):
		var v *gocvss40.CVSS40
		if v, err = gocvss40.ParseVector(s.Score); err == nil {
			score, generation = v.Score(), 40
		}
	case strings.HasPrefix(s.Score, "CVSS:3.1/"):
		var v *gocvss31.CVSS31
		if v, err = gocvss31.ParseVector(s.Score); err == nil {
			score, generation = v.BaseScore(), 31
		}
	case strings.HasPrefix(s.Score, "CVSS:3.0/"):
		var v *gocvss30.CVSS30
		if v, err = gocvss30.ParseVector(s.Score); err == nil {
			score, generation = v.BaseScore(), 30
		}
	case s.Type == "CVSS_V2":
		var v *gocvss20.CVSS20
		if v, err = gocvss20.ParseVector(s.Score); err == nil {
			score, generation = v.BaseScore(), 20
		}
	default:
		word, known := Word(s.Score)
		return rating{word: word}, known
	}
	if err != nil {
		return rating{}, false
	}
	return rating{generation: generation, score: score, vector: s.Score}, true
}

// Rate gives the qualitative rating of a CVSS score (CVSS v3.1, section 5; v4.0, section 6).
func Rate(score float64) artifact.Severity {
	switch {
	case score >= 9:
		return artifact.SeverityCritical
	case score >= 7:
		return artifact.SeverityHigh
	case score >= 4:
		return artifact.SeverityMedium
	case score > 0:
		return artifact.SeverityLow
	}
	return artifact.SeverityNone
}

// Word gives the rating that a feed's word stands for: GitHub's, Ubuntu's, or an urgency of
// Debian's tracker; false when it says nothing.
func Word(word string) (artifact.Severity, bool) {
	switch strings.TrimRight(strings.ToLower(word), "*") { // "low**" is how the tracker writes a guess
	case "critical":
		return artifact.SeverityCritical, true
	case "high", "important":
		return artifact.SeverityHigh, true
	case "medium", "moderate":
		return artifact.SeverityMedium, true
	case "low", "unimportant", "negligible":
		return artifact.SeverityLow, true
	case "none":
		return artifact.SeverityNone, true
	}
	return artifact.SeverityUnknown, false
}
