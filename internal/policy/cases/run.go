package cases

import (
	"fmt"
	"maps"
	"slices"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/policy"
)

// Result says whether a case holds.
type Result struct {
	Case

	Passed   bool             `json:"passed"`
	Problems []string         `json:"problems,omitempty"` // one line each
	Verdict  artifact.Verdict `json:"verdict"`
}

// Run decides each case by the policies. An error is about the policies, or about an exception
// of a case.
func Run(policies *policy.Documents, cases []Case) ([]Result, error) {
	set, err := policies.Compile(policy.Options{})
	if err != nil {
		return nil, err
	}
	results := make([]Result, len(cases))
	for i, c := range cases {
		rules := set
		if len(c.Exceptions) > 0 {
			more := &policy.Documents{}
			more.Add(policies)
			more.Add(&policy.Documents{Exceptions: c.Exceptions})
			if rules, err = more.Compile(policy.Options{}); err != nil {
				return nil, fmt.Errorf("case %q: %w", c.Name, err)
			}
		}
		verdict := rules.Decide(c.Facts, c.Where, c.Now)
		problems := c.Want.problems(verdict)
		results[i] = Result{Case: c, Passed: len(problems) == 0, Problems: problems, Verdict: verdict}
	}
	return results, nil
}

// problems says where a verdict is not what is wanted.
func (w *Want) problems(v artifact.Verdict) []string {
	var problems []string
	wanted := w.gates()
	for _, gate := range artifact.Gates() {
		if want, ok := wanted[gate]; ok && v.At(gate) != want {
			problems = append(problems, fmt.Sprintf("%s: want %s, got %s", gate, want, v.At(gate)))
		}
	}
	got := map[string]artifact.Result{}
	for _, r := range v.Results {
		got[r.Policy+"/"+r.Rule] = r
	}
	for _, name := range slices.Sorted(maps.Keys(w.Rules)) {
		r, ok := got[name]
		outcome := Absent
		if ok {
			outcome = OutcomeOf(r)
		}
		if outcome != w.Rules[name] {
			problem := fmt.Sprintf("%s: want %s, got %s", name, w.Rules[name], outcome)
			if r.Why != "" {
				problem += ": " + r.Why
			}
			problems = append(problems, problem)
		}
	}
	return problems
}
