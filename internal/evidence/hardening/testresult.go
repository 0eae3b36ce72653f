package hardening

// TestResult is the report as an in-toto test result (artifact.PredicateTestResult;
// in-toto attestation spec/predicates/test-result.md), for verifiers that know only that.
type TestResult struct {
	Result        string     `json:"result"` // PASSED, WARNED, FAILED
	Configuration []Resource `json:"configuration"`
	PassedTests   []string   `json:"passedTests"`
	WarnedTests   []string   `json:"warnedTests"`
	FailedTests   []string   `json:"failedTests"`
}

// Resource is an in-toto ResourceDescriptor.
type Resource struct {
	Name string `json:"name"`
	URI  string `json:"uri"`
}

// TestResult gives the checks of the report by their results; those that are only to know
// count as passed.
func (r Report) TestResult() TestResult {
	out := TestResult{
		Result:        "PASSED",
		Configuration: []Resource{{Name: "plimsoll hardening rules, version " + r.Rules, URI: "https://plimsoll.dev/attestation/hardening/v1"}},
		PassedTests:   []string{}, WarnedTests: []string{}, FailedTests: []string{},
	}
	for _, c := range r.Checks {
		switch c.Result {
		case Fail:
			out.FailedTests = append(out.FailedTests, c.ID)
		case Warn:
			out.WarnedTests = append(out.WarnedTests, c.ID)
		default:
			out.PassedTests = append(out.PassedTests, c.ID)
		}
	}
	switch {
	case len(out.FailedTests) > 0:
		out.Result = "FAILED"
	case len(out.WarnedTests) > 0:
		out.Result = "WARNED"
	}
	return out
}
