package policy

import (
	"maps"
	"slices"
	"strings"

	"plimsoll.dev/plimsoll/artifact"
)

// Child is one of the manifests that an index names.
type Child struct {
	Digest   string
	Platform string            // "linux/arm64", or "" where it is not known
	Verdict  *artifact.Verdict // nil where there is none: that is a denial at every gate
}

// Join gives the verdict on an index from its own and those of its children: at each gate the
// worst of all. A gate where one of them is covered by nothing is covered by nothing, unless
// another is denied there. Of the children it lists what did not pass.
func Join(own artifact.Verdict, children []Child) artifact.Verdict {
	v := own
	v.Gates, v.Results, v.Exceptions = maps.Clone(own.Gates), slices.Clone(own.Results), slices.Clone(own.Exceptions)
	facts := []string{own.Facts}
	for _, child := range children {
		if child.Verdict == nil {
			refuse(&v, child)
			continue
		}
		v.Gates = worst(v.Gates, child.Verdict.Gates)
		for _, r := range child.Verdict.Results {
			if !r.Passed {
				r.Why = oneLine(child.name() + ": " + r.Why)
				v.Results = append(v.Results, r)
			}
		}
		for _, e := range child.Verdict.Exceptions {
			useToo(&v, e)
		}
		if until := child.Verdict.Until; until != nil && (v.Until == nil || until.Before(*v.Until)) {
			v.Until = until
		}
		facts = append(facts, child.Digest, child.Verdict.Facts)
	}
	v.Facts = digestOf(facts)
	return v
}

// refuse denies an index at every gate for a child of which nothing is known.
func refuse(v *artifact.Verdict, child Child) {
	gates := map[artifact.Gate]artifact.Action{}
	for _, gate := range artifact.Gates() {
		gates[gate] = artifact.ActionDeny
	}
	v.Gates = gates
	v.Results = append(v.Results, artifact.Result{
		Policy: "index", Rule: "children", Title: "Everything that the index names has a verdict", Missing: true,
		Why: oneLine(child.name() + ": there is no verdict on it"), Gates: gates,
	})
}

func (c Child) name() string {
	if c.Platform != "" {
		return c.Platform
	}
	_, hex, _ := strings.Cut(c.Digest, ":")
	return hex[:min(12, len(hex))]
}

func worst(a, b map[artifact.Gate]artifact.Action) map[artifact.Gate]artifact.Action {
	gates := map[artifact.Gate]artifact.Action{}
	for _, gate := range artifact.Gates() {
		x, inA := a[gate]
		y, inB := b[gate]
		if y.Rank() > x.Rank() && inB || !inA {
			x = y
		}
		if inA && inB || x == artifact.ActionDeny {
			gates[gate] = x
		}
	}
	return gates
}

// useToo lists an exception that a child's verdict used.
func useToo(v *artifact.Verdict, e artifact.ExceptionInUse) {
	i := slices.IndexFunc(v.Exceptions, func(x artifact.ExceptionInUse) bool { return x.Name == e.Name })
	if i < 0 {
		v.Exceptions = append(v.Exceptions, e)
		return
	}
	rules := slices.Concat(v.Exceptions[i].Rules, e.Rules)
	slices.Sort(rules)
	v.Exceptions[i].Rules = slices.Compact(rules)
}
