package policy

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/types"

	"plimsoll.dev/plimsoll/api/v1alpha1"
	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/manifest"
	"plimsoll.dev/plimsoll/internal/pattern"
)

// exception is a compiled PolicyException.
type exception struct {
	name     string
	spec     v1alpha1.PolicyExceptionSpec
	scope    selector
	rules    pattern.List
	findings map[string]bool
	match    *expression // nil where there is none
}

// maxNarrow is for how many exceptions of a rule it is found out which of them are needed.
const maxNarrow = 64

var digestPattern = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)

func (c *compiler) exception(e *v1alpha1.PolicyException) *exception {
	c.header(manifest.CheckHeader(e.TypeMeta, v1alpha1.PolicyExceptionKind, e.Name))
	spec := e.Spec
	out := &exception{name: e.Name, spec: spec, scope: c.selector("spec.scope", spec.Scope), findings: map[string]bool{}}
	for _, required := range []struct{ field, value, want string }{
		{"spec.owner", spec.Owner, "say who answers for it"},
		{"spec.reason", spec.Reason, "say why"},
	} {
		if strings.TrimSpace(required.value) == "" {
			c.bad(required.field, required.want)
		}
	}
	if spec.Expires.IsZero() {
		c.bad("spec.expires", "want the time it ends, such as 2027-01-31T00:00:00Z: no exception is for ever")
	}
	if len(spec.Rules) == 0 {
		c.bad("spec.rules", "name the rules as POLICY/RULE")
	}
	for i, text := range spec.Rules {
		field := fmt.Sprintf("spec.rules[%d]", i)
		if strings.Count(text, "/") != 1 || strings.Contains(text, "**") {
			c.bad(field, fmt.Sprintf("want POLICY/RULE, got %q", text))
			continue
		}
		out.rules = append(out.rules, c.patterns(field, []string{text})...)
	}
	for i, digest := range spec.Digests {
		if !digestPattern.MatchString(digest) {
			c.bad(fmt.Sprintf("spec.digests[%d]", i), fmt.Sprintf("want sha256: and 64 hexadecimal digits, got %q", digest))
		}
	}
	if scope := spec.Scope; len(spec.Digests)+len(scope.Repositories)+len(scope.Namespaces)+len(scope.Environments) == 0 && scope.Labels == nil {
		c.bad("spec.scope", "say for which images: repositories, labels, namespaces, environments, or digests")
	}
	for i, name := range spec.Findings {
		if strings.TrimSpace(name) == "" {
			c.bad(fmt.Sprintf("spec.findings[%d]", i), "want an advisory's name, such as CVE-2026-0001")
		}
		out.findings[name] = true
	}
	if spec.Match != "" {
		out.match = c.expression(c.base, "spec.match", spec.Match, cel.BoolType)
	}
	return out
}

// excepted gives the exceptions that are for the image and have not expired.
func (q *question) excepted() []*exception {
	var all []*exception
	for _, e := range q.set.exceptions {
		if q.now.Before(e.spec.Expires.Time) && q.isFor(e) {
			all = append(all, e)
		}
	}
	return all
}

func (q *question) isFor(e *exception) bool {
	f := &q.subject.facts
	if len(e.spec.Digests) > 0 && !slices.Contains(e.spec.Digests, f.Image.Digest) {
		return false
	}
	if !e.scope.covers(f, q.where, false) {
		return false
	}
	if e.match == nil {
		return true
	}
	holds, err := q.eval(e.match)
	return err == nil && holds == types.True
}

func (e *exception) excuses(r *rule) bool { return e.rules.Like(r.policy + "/" + r.Name) }

// excuse gives what becomes of a rule that did not hold, and the exceptions without which it
// would be another.
func (q *question) excuse(r *rule, was artifact.Result) (artifact.Result, []*exception) {
	var narrow []*exception
	for _, e := range q.exceptions() {
		switch {
		case !e.excuses(r):
		case len(e.findings) == 0:
			return excused(was, []*exception{e}), []*exception{e}
		case q.subject.without(e.findings) != nil:
			narrow = append(narrow, e)
		}
	}
	with, changed := q.setAside(r, was, narrow)
	if !changed {
		return was, nil
	}
	// One that nothing depends on is not in use. Of very many nobody asks which.
	for i := len(narrow) - 1; i >= 0 && len(narrow) <= maxNarrow; i-- {
		fewer := slices.Delete(slices.Clone(narrow), i, i+1)
		if without, _ := q.setAside(r, was, fewer); same(without, with) {
			narrow = fewer
		}
	}
	if with.Passed {
		return excused(was, narrow), narrow
	}
	return with, narrow
}

// setAside asks the rule again as if the findings that exceptions name did not concern the
// image.
func (q *question) setAside(r *rule, was artifact.Result, narrow []*exception) (with artifact.Result, changed bool) {
	names := map[string]bool{}
	for _, e := range narrow {
		for name := range e.findings {
			names[name] = true
		}
	}
	less := q.subject.without(names)
	if less == nil {
		return was, false
	}
	again := newQuestion(q.set, less, q.where, q.now)
	again.enter(q.policy)
	again.spent = q.spent
	with = again.ask(r)
	q.spent = again.spent
	if again.until != nil {
		q.earlier(*again.until)
	}
	return with, !same(was, with)
}

func same(a, b artifact.Result) bool {
	return a.Passed == b.Passed && a.Why == b.Why && a.Remedy == b.Remedy && until(a).Equal(until(b))
}

func until(r artifact.Result) time.Time {
	if r.Deadline == nil {
		return time.Time{}
	}
	return *r.Deadline
}

func excused(was artifact.Result, by []*exception) artifact.Result {
	names := make([]string, len(by))
	for i, e := range by {
		names[i] = e.name
	}
	was.Excused, was.Gates, was.Deadline = strings.Join(names, ", "), nil, nil
	return was
}
