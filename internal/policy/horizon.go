package policy

import (
	"slices"
	"time"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/ast"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/parser"
)

// horizon is a comparison of the time, or of an age, with what does not depend on the time: so
// it is known when it will come out otherwise.
type horizon struct {
	of   *variable
	with *expression // a timestamp for now, a duration for an age
}

var comparisons = []string{"_<_", "_<=_", "_>_", "_>=_"}

// horizons gives all that an expression reads of the time; ok is false where it reads it
// otherwise than by comparing, so that nobody can tell when its value changes.
func (s *scope) horizons(a *ast.AST) (all []horizon, ok bool) {
	ok = true
	var visit func(e ast.NavigableExpr)
	visit = func(e ast.NavigableExpr) {
		if r := a.ReferenceMap()[e.ID()]; r != nil && s.timed[r.Name] {
			if v := s.variables[r.Name]; v != nil {
				all, ok = append(all, v.horizons...), ok && !v.vague
				return
			}
			h, found := s.horizon(a, e, r.Name)
			all, ok = append(all, h), ok && found
			return
		}
		for _, child := range e.Children() {
			visit(child)
		}
	}
	visit(ast.NavigateAST(a))
	return all, ok
}

func (s *scope) horizon(a *ast.AST, e ast.NavigableExpr, name string) (horizon, bool) {
	parent, found := e.Parent()
	if !found || parent.Kind() != ast.CallKind || !slices.Contains(comparisons, parent.AsCall().FunctionName()) {
		return horizon{}, false
	}
	args := parent.AsCall().Args()
	other := args[0]
	if other.ID() == e.ID() {
		other = args[1]
	}
	text, err := parser.Unparse(other, a.SourceInfo())
	if err != nil {
		return horizon{}, false
	}
	want := cel.DurationType
	if name == "now" {
		want = cel.TimestampType
	}
	with, wrong := s.compile(text, want) // wrong where it reads the variable of a loop
	return horizon{&allVariables[placeOf[name]], with}, wrong == nil && !with.timed
}

// foresee has the verdict stand no longer than the value of an expression is sure to.
func (q *question) foresee(e *expression) {
	if e.vague {
		q.earlier(q.now.Add(freshness))
		return
	}
	for _, h := range e.horizons {
		if at, ok := q.turn(h); ok {
			q.earlier(at)
		}
	}
}

// freshness is how long a verdict stands that depends on the time in ways nobody can foresee.
const freshness = time.Minute

// turn gives the next time at which a comparison may come out otherwise.
func (q *question) turn(h horizon) (time.Time, bool) {
	with, err := q.eval(h.with)
	if err != nil {
		return time.Time{}, false
	}
	var at time.Time
	switch with := with.(type) {
	case types.Timestamp:
		at = with.Time
	case types.Duration:
		since := h.of.since(&q.subject.facts)
		switch {
		case since.IsZero():
			return time.Time{}, false
		case since.After(q.now.Add(skew)):
			return since.Add(-skew), true
		}
		at = since.Add(with.Duration)
	}
	if at.Equal(q.now) { // "no older than" holds now, and not a moment later
		at = at.Add(1)
	}
	return at, at.After(q.now)
}

// isTimed says whether an expression reads one of the names whose value time alone may change.
func (s *scope) isTimed(a *ast.AST) bool {
	for _, r := range a.ReferenceMap() {
		if s.timed[r.Name] {
			return true
		}
	}
	return false
}
