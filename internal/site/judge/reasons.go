package judge

import (
	"cmp"
	"fmt"
	"strings"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/fault"
)

// Reasons says in one line why a verdict is no plain pass at the gate, and what to do about it.
func Reasons(v artifact.Verdict, gate artifact.Gate) (why, remedy string) {
	action, covered := v.Gates[gate]
	if !covered {
		return "no policy covers it", "write one that does, or widen the scope of one: plimsoll policy list"
	}
	var whys []string
	for _, r := range v.Results {
		if r.Passed || r.Excused != "" || r.Gates[gate] != action {
			continue
		}
		whys = append(whys, cmp.Or(r.Why, r.Title, r.Rule))
		remedy = cmp.Or(remedy, r.Remedy)
	}
	const shown = 3
	if more := len(whys) - shown; more > 0 {
		whys = append(whys[:shown], fmt.Sprintf("and %d more", more))
	}
	return strings.Join(whys, "; "), remedy
}

// Denial gives nil for what the verdict lets through the gate, else why not. Which names it to
// people.
func Denial(v artifact.Verdict, gate artifact.Gate, which string) error {
	if v.At(gate) != artifact.ActionDeny {
		return nil
	}
	why, remedy := Reasons(v, gate)
	return fault.Newf(fault.Denied, "check", which, "denied at the "+string(gate)+" gate: "+why).WithHint(remedy)
}
