package resolve

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"plimsoll.dev/plimsoll/internal/fault"
)

// maxReasons bounds how many dead ends an explanation lists.
const maxReasons = 4

// proof is the clauses from which no set follows, put in order for a reader.
type proof struct {
	s       *solver
	clauses []*clause          // as read from packages, none learned
	parent  map[*version]*need // the need of the proof that brings a version in
	order   map[*version]int   // by the distance from a request, then by the order of choice
}

// explain gives the fault for a solver that has proved there is no set.
func explain(s *solver) error {
	p := &proof{s: s, parent: make(map[*version]*need), order: make(map[*version]int)}
	p.collect()
	p.chain()
	var reasons []string
	var hint string
	told := make(map[string]bool)
	for _, c := range p.clauses {
		text := p.tell(c)
		if text == "" || told[p.subject(c)] {
			continue
		}
		told[p.subject(c)] = true
		reasons = append(reasons, text)
		hint = cmp.Or(hint, p.hint(c))
	}
	if more := len(reasons) - maxReasons; more > 0 {
		reasons = append(reasons[:maxReasons], fmt.Sprintf("and %d more dead ends like these", more))
	}
	return fault.Newf(fault.Failed, "resolve packages", p.requested(), strings.Join(reasons, "; ")).WithHint(hint)
}

// collect gathers the clauses that the contradiction at level 0 rests on.
func (p *proof) collect() {
	seen := make(map[*clause]bool)
	facts := make(map[*clause]bool)
	var visit func(c *clause, asFact bool)
	visit = func(c *clause, asFact bool) {
		if c == nil {
			return
		}
		if !seen[c] {
			seen[c] = true
			if !c.learned() {
				p.clauses = append(p.clauses, c)
			}
			for _, from := range c.from {
				visit(from, false)
			}
			for _, zero := range c.zero {
				visit(zero, true)
			}
		}
		if asFact && !facts[c] {
			facts[c] = true
			for _, l := range c.lits {
				if r := p.s.reason[l.id()]; r != c {
					visit(r, true)
				}
			}
		}
	}
	visit(p.s.proof, true)
}

// chain finds for every version of the proof the shortest way from a request.
func (p *proof) chain() {
	part := make(map[*need]bool)
	for _, c := range p.clauses {
		part[c.need] = true
	}
	for queue := []*version{nil}; len(queue) > 0; queue = queue[1:] {
		needs := p.s.roots
		if queue[0] != nil {
			needs = queue[0].needs
		}
		for _, n := range needs {
			if !part[n] {
				continue
			}
			for _, o := range n.options {
				if _, known := p.parent[o]; !known {
					p.parent[o] = n
					p.order[o] = len(p.order) + 1
					queue = append(queue, o)
				}
			}
		}
	}
	slices.SortStableFunc(p.clauses, func(a, b *clause) int {
		return cmp.Or(p.order[owner(a)]-p.order[owner(b)], p.last(a)-p.last(b))
	})
}

// last gives the place of the last version that the clause is about.
func (p *proof) last(c *clause) int {
	last := 0
	for _, l := range c.lits {
		last = max(last, p.order[p.s.pool.all[l.id()]])
	}
	return last
}

func owner(c *clause) *version {
	switch {
	case c.need != nil:
		return c.need.owner
	case c.rival != nil:
		return c.rival.owner
	case c.broken != nil:
		return c.broken
	}
	return nil
}

// subject gives what a clause is about but for versions, so that what two versions of a
// package have in common is told once.
func (p *proof) subject(c *clause) string {
	var names []string
	for _, l := range c.lits {
		names = append(names, p.s.pool.all[l.id()].pkg.Name)
	}
	slices.Sort(names)
	names = slices.Compact(names)
	switch {
	case c.need != nil:
		names = append(names, c.need.text)
	case c.rival != nil:
		names = append(names, c.rival.field)
	case c.broken == nil:
		names = append(names, "one version") // of the name, whichever they are
	}
	return strings.Join(names, " ")
}

// tell gives a sentence for a clause that is a dead end of its own, or "".
func (p *proof) tell(c *clause) string {
	switch {
	case c.need != nil && len(c.need.options) == 0:
		return fmt.Sprintf("%s needs %s%s, and %s", c.need.owner.pkg, c.need.text, p.wantedBy(c.need.owner), p.has(c.need))
	case c.rival != nil:
		other := p.s.pool.all[c.lits[0].id()]
		if other == c.rival.owner {
			other = p.s.pool.all[c.lits[1].id()]
		}
		through := ""
		if name, _, _ := strings.Cut(c.rival.text, " "); name != other.pkg.Name {
			through = ", provided by " + other.pkg.String()
		}
		return fmt.Sprintf("%s %s %s%s, and both %s%s and %s%s are needed", c.rival.owner.pkg, c.rival.field, c.rival.text,
			through, c.rival.owner.pkg.Name, p.wantedBy(c.rival.owner), other.pkg, p.wantedBy(other))
	case c.broken != nil:
		return fmt.Sprintf("%s cannot be read%s: %v", c.broken.pkg, p.wantedBy(c.broken), c.broken.broken)
	case c.need == nil:
		a, b := p.s.pool.all[c.lits[0].id()], p.s.pool.all[c.lits[1].id()]
		if p.parent[a] == p.parent[b] {
			return "" // two options of one need: no contradiction of their own
		}
		return fmt.Sprintf("only one version of %s can be installed, and both %s%s and %s%s are needed",
			a.pkg.Name, a.pkg.Version, p.wantedBy(a), b.pkg.Version, p.wantedBy(b))
	}
	return ""
}

// wantedBy gives " (wanted by bar 1.2 ← requested baz)".
func (p *proof) wantedBy(v *version) string {
	var steps []string
	for n := p.parent[v]; n != nil; n = p.parent[n.owner] {
		if n.owner == nil {
			if steps = append(steps, "requested "+n.text); len(steps) == 1 {
				return " (" + steps[0] + ")"
			}
			break
		}
		steps = append(steps, n.owner.pkg.String())
	}
	if len(steps) == 0 {
		return ""
	}
	return " (wanted by " + strings.Join(steps, " ← ") + ")"
}

// has says what the archive holds of what a need names.
func (p *proof) has(n *need) string {
	var parts []string
	for _, r := range n.group {
		switch r.Qualifier {
		case "", "any", "native", p.s.pool.arch:
		default:
			parts = append(parts, fmt.Sprintf("packages of architecture %s are never installed here", r.Qualifier))
			continue
		}
		versions, err := p.s.pool.named(r.Name)
		if err != nil {
			return err.Error()
		}
		providers, err := p.s.pool.providing(r.Name)
		if err != nil {
			return err.Error()
		}
		switch {
		case len(versions) > 0 && r.Qualifier == "any" && versions[0].pkg.MultiArch != "allowed":
			parts = append(parts, fmt.Sprintf("%s does not allow the qualifier :any", versions[0].pkg))
		case len(versions) > 0:
			parts = append(parts, "the archive has "+listVersions(versions))
		case len(providers) > 0:
			parts = append(parts, "the archive has it only as provided by "+listProviders(providers, r.Name))
		default:
			parts = append(parts, "the archive has no "+r.Name)
		}
	}
	return strings.Join(parts, ", and ")
}

// listProviders gives "mawk 1.3 (as awk)" for each.
func listProviders(versions []*version, name string) string {
	var parts []string
	for _, v := range versions {
		for _, g := range v.provides() {
			if g[0].Name == name {
				parts = append(parts, fmt.Sprintf("%s (as %s)", v.pkg, g[0]))
			}
		}
	}
	if more := len(parts) - maxReasons; more > 0 {
		parts = append(parts[:maxReasons], fmt.Sprintf("%d more", more))
	}
	return strings.Join(parts, ", ")
}

// hint gives what a user can do about a dead end, or "".
func (p *proof) hint(c *clause) string {
	switch {
	case c.rival != nil:
		return "request only one of the two, or omit the one that is not needed"
	case c.need != nil && c.need.owner != nil:
		return "add the suite that has it to the archive's suites, or loosen the version asked for"
	}
	return ""
}

// requested gives the requests that the proof involves, in their own order.
func (p *proof) requested() string {
	part := make(map[*need]bool)
	for _, c := range p.clauses {
		part[c.need] = true
	}
	var texts []string
	for _, n := range p.s.roots {
		if part[n] {
			texts = append(texts, n.text)
		}
	}
	return strings.Join(texts, " ")
}
