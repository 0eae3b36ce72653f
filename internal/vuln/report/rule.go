package report

import (
	"slices"
	"strconv"
	"strings"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/fault"
)

// Rule says which findings fail a scan. The zero value fails none.
type Rule struct {
	any        []clause // one of them is enough
	incomplete bool
}

// clause is conditions that a finding must all meet.
type clause []func(*artifact.Finding) bool

// ParseRule reads the value of --fail-on: words joined by "," of which any is enough, and by
// "+" of which all are needed. "critical", "high", "medium" and "low" are findings of that
// severity or worse, "unknown" those that nobody has rated, "any" all of them; "fixable" has
// a fix, "exploited" (or "kev") is known to be exploited, "epss=0.5" is a probability of at
// least that. "incomplete" is no finding, and so stands alone: it is a scan that did not look
// at all there is. "high+fixable,exploited" fails on what is high and fixable, and on all that is
// exploited.
func ParseRule(text string) (Rule, error) {
	var r Rule
	for alternative := range strings.SplitSeq(text, ",") {
		if strings.TrimSpace(alternative) == "incomplete" {
			r.incomplete = true
			continue
		}
		var c clause
		for word := range strings.SplitSeq(alternative, "+") {
			condition := parseCondition(strings.TrimSpace(word))
			if condition == nil {
				return Rule{}, fault.Newf(fault.Usage, "read flag --fail-on", text, strconv.Quote(word)+" is no condition").
					WithHint("want critical, high, medium, low, unknown, any, fixable, exploited or epss=0.5; joined by + for all of them, by , for one of them; or incomplete, joined by , alone")
			}
			c = append(c, condition)
		}
		r.any = append(r.any, c)
	}
	return r, nil
}

func parseCondition(word string) func(*artifact.Finding) bool {
	if text, ok := strings.CutPrefix(word, "epss="); ok {
		least, err := strconv.ParseFloat(text, 64)
		if err != nil || !(least >= 0 && least <= 1) {
			return nil
		}
		return func(f *artifact.Finding) bool { return f.EPSS >= least }
	}
	switch severity := artifact.Severity(word); severity {
	case artifact.SeverityCritical, artifact.SeverityHigh, artifact.SeverityMedium, artifact.SeverityLow:
		return func(f *artifact.Finding) bool { return f.Severity.Rank() <= severity.Rank() }
	case artifact.SeverityUnknown:
		return func(f *artifact.Finding) bool { return f.Severity.Rank() == severity.Rank() }
	case "any":
		return func(*artifact.Finding) bool { return true }
	case "fixable":
		return func(f *artifact.Finding) bool { return f.Fixed != "" }
	case "exploited", "kev":
		return func(f *artifact.Finding) bool { return f.KnownExploited }
	}
	return nil
}

// FailsIncomplete says whether what Scan.Incomplete gives fails the scan.
func (r Rule) FailsIncomplete() bool { return r.incomplete }

// Failing gives the findings that fail the scan. One that is suppressed never does.
func (r Rule) Failing(findings []artifact.Finding) []artifact.Finding {
	var failing []artifact.Finding
	for i := range findings {
		if f := &findings[i]; f.Suppressed == nil && slices.ContainsFunc(r.any, func(c clause) bool { return c.holds(f) }) {
			failing = append(failing, *f)
		}
	}
	return failing
}

func (c clause) holds(f *artifact.Finding) bool {
	return !slices.ContainsFunc(c, func(condition func(*artifact.Finding) bool) bool { return !condition(f) })
}
