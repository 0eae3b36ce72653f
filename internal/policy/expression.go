package policy

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/ast"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
)

// Limits of one expression.
const (
	maxExpression = 8 << 10 // code points
	maxNesting    = 64
	maxLoops      = 3 // one in another
	maxPattern    = 1 << 10
	maxClauses    = 32 // of a format
)

// expression is a CEL expression that can be evaluated by many at once.
type expression struct {
	program  cel.Program
	typ      *cel.Type
	weight   uint64    // what it costs without its loops, and in each round of one of these
	timed    bool      // time alone may change its value
	horizons []horizon // when it may
	vague    bool      // nobody can tell when
}

// wrong is a complaint about a place in an expression's text.
type wrong struct {
	line, column int // from 1, and in code points from 0; line 0 is the whole
	text         string
}

// scope is what expressions of one policy may read.
type scope struct {
	env       *cel.Env
	timed     map[string]bool        // names whose value time alone may change
	lengths   map[string]uint64      // of what names hold, at most
	variables map[string]*expression // by "variables.NAME"
}

func newScope() *scope {
	s := &scope{env: dialect(), timed: map[string]bool{}, lengths: map[string]uint64{}, variables: map[string]*expression{}}
	for _, v := range allVariables {
		s.timed[v.name] = v.timed
		if v.max > 0 {
			s.lengths[v.name] = uint64(v.max)
		}
	}
	return s
}

// clone gives a scope that can get names of its own.
func (s *scope) clone() *scope {
	c := *s
	c.timed, c.lengths, c.variables = maps.Clone(s.timed), maps.Clone(s.lengths), maps.Clone(s.variables)
	return &c
}

// compile gives the expression, which must be of the type; nil is any that a variable may
// have.
func (s *scope) compile(text string, want *cel.Type) (*expression, *wrong) {
	if strings.TrimSpace(text) == "" {
		return nil, &wrong{text: "it is empty"}
	}
	checked, issues := s.env.Compile(text)
	if err := issues.Err(); err != nil {
		first := issues.Errors()[0]
		return nil, &wrong{first.Location.Line(), first.Location.Column(), s.plain(first.Message)}
	}
	if got := checked.OutputType(); want != nil && !got.IsExactType(want) {
		return nil, &wrong{text: fmt.Sprintf("want %s, got %s", cel.FormatCELType(want), cel.FormatCELType(got))}
	}
	native := checked.NativeRep()
	if id, why := refused(native); why != "" {
		at := native.SourceInfo().GetStartLocation(id)
		return nil, &wrong{at.Line(), at.Column(), why}
	}
	e := &expression{typ: checked.OutputType()}
	if e.timed = s.isTimed(native); e.timed {
		var foreseen bool
		e.horizons, foreseen = s.horizons(native)
		e.vague = !foreseen
	}
	if err := s.plan(e, checked); err != nil {
		return nil, &wrong{text: err.Error()}
	}
	return e, nil
}

// length gives how long the value of an expression can be: what CEL's estimate takes for the
// argument of size().
func (s *scope) length(text string, typ *cel.Type) uint64 {
	switch typ.Kind() {
	case types.ListKind, types.MapKind, types.StringKind, types.BytesKind:
	default:
		return 1
	}
	asking, issues := s.env.Compile("size(" + text + "\n)")
	if issues.Err() != nil {
		return maxMadeText // it is as long as an expression may be
	}
	_, length, err := weigh(asking, s.lengths)
	if err != nil {
		return maxMadeText
	}
	return min(length, maxMadeText)
}

// plain says what CEL's checker says in the words of the documentation.
func (s *scope) plain(message string) string {
	message, _, _ = strings.Cut(message, "\n")
	message = strings.TrimSuffix(message, " (in container '')")
	for _, group := range []string{"params", "variables", "known", "age", "where"} {
		if strings.Contains(message, "undeclared reference to '"+group+"'") {
			return "there is no such name below " + group
		}
	}
	return message
}

// plan makes the program.
func (s *scope) plan(e *expression, checked *cel.Ast) (err error) {
	if e.weight, _, err = weigh(checked, s.lengths); err != nil {
		return err
	}
	if e.weight > costPerRule {
		return fmt.Errorf("it may cost %d, more than the %d that an expression may, without its loops", e.weight, costPerRule)
	}
	e.program, err = s.env.Program(checked,
		cel.EvalOptions(cel.OptOptimize), cel.InterruptCheckFrequency(1), cel.CustomDecorator(appending), cel.CustomDecorator(bounded))
	return err
}

var (
	widePrecision = regexp.MustCompile(`%\.[0-9]{3,}`)
	patterns      = []string{"matches", "find", "findAll"}
)

// refused gives the first part of the expression that is allowed in CEL and not here, and why.
func refused(a *ast.AST) (id int64, why string) {
	var loops int
	var visit func(e ast.NavigableExpr)
	visit = func(e ast.NavigableExpr) {
		if why != "" {
			return
		}
		why = refusedNode(a, e)
		if why == "" && e.Kind() == ast.ComprehensionKind {
			if loops++; loops > maxLoops {
				why = fmt.Sprintf("more than %d loops in one another", maxLoops)
			}
			defer func() { loops-- }()
		}
		if why != "" {
			id = e.ID()
			return
		}
		for _, child := range e.Children() {
			visit(child)
		}
	}
	visit(ast.NavigateAST(a))
	return id, why
}

func refusedNode(a *ast.AST, e ast.NavigableExpr) string {
	switch e.Kind() {
	case ast.StructKind:
		return "facts cannot be made, only read"
	case ast.ComprehensionKind:
		over := e.AsComprehension().IterRange()
		if a.GetType(over.ID()).Kind() == types.MapKind && (over.Kind() != ast.SelectKind || a.ReferenceMap()[over.ID()] != nil) {
			return "a map has no order, unless it is a fact's: want a list to loop over"
		}
		for _, name := range []string{e.AsComprehension().IterVar(), e.AsComprehension().IterVar2()} {
			if isTaken(name) {
				return fmt.Sprintf("the loop's variable %s hides the fact of that name", name)
			}
		}
	case ast.CallKind:
		return refusedCall(a, e.AsCall())
	}
	return ""
}

// isTaken says whether a variable has the name, or begins with it.
func isTaken(name string) bool {
	return name == "params" || name == "variables" || slices.ContainsFunc(allVariables, func(v variable) bool {
		group, _, _ := strings.Cut(v.name, ".")
		return group == name
	})
}

func refusedCall(a *ast.AST, call ast.CallExpr) string {
	args, name := call.Args(), call.FunctionName()
	switch {
	case name == "dyn":
		return "dyn() hides a type from the checker"
	case name == "@in" && args[1].Kind() == ast.ListKind && args[1].AsList().Size() == 0:
		return "nothing is in an empty list"
	case slices.Contains(patterns, name) && call.IsMemberFunction():
		s, ok := literal(args[0])
		if !ok && !isParameter(a, args[0]) {
			return "want a pattern that is written out, or a parameter"
		}
		if len(s) > maxPattern {
			return fmt.Sprintf("want a pattern of at most %d bytes", maxPattern)
		}
	case name == "format" && call.IsMemberFunction():
		s, ok := literal(call.Target())
		if !ok || strings.Count(s, "%") > maxClauses || widePrecision.MatchString(s) {
			return fmt.Sprintf("want a format that is written out, with at most %d parts", maxClauses)
		}
	}
	if slices.Contains(unread, name) {
		return ""
	}
	for _, arg := range args {
		t := a.GetType(arg.ID())
		switch {
		case depth(t) > 1:
			return "lists of lists can be looped over, not compared or printed"
		case isObject(t):
			return "want a field of it, such as name, instead of all of it"
		}
	}
	return ""
}

// unread are the functions that do not look into what they are given.
var unread = []string{"_+_", "_[_]", "_[?_]", "_?._", "size", "_?_:_", "_&&_", "_||_", "!_", "@not_strictly_false"}

// isObject says whether values of the type are facts, or lists of these.
func isObject(t *types.Type) bool {
	if t.Kind() == types.StructKind {
		return slices.ContainsFunc(objects(), func(o *object) bool { return o.name == t.TypeName() })
	}
	return slices.ContainsFunc(t.Parameters(), isObject)
}

func literal(e ast.Expr) (string, bool) {
	if e.Kind() != ast.LiteralKind {
		return "", false
	}
	s, ok := e.AsLiteral().(types.String)
	return string(s), ok
}

func isParameter(a *ast.AST, e ast.Expr) bool {
	r, ok := a.ReferenceMap()[e.ID()]
	return ok && strings.HasPrefix(r.Name, "params.")
}

// depth says how many lists and maps are in one another.
func depth(t *types.Type) int {
	deepest := 0
	for _, p := range t.Parameters() {
		deepest = max(deepest, depth(p))
	}
	if t.Kind() == types.ListKind || t.Kind() == types.MapKind {
		deepest++
	}
	return deepest
}

var (
	errCostly = errors.New("it costs more than a rule may")
	errSpent  = errors.New("the policies cost more than a verdict may")
)

// eval gives the expression's value. It is an error where a fact is missing, or where it costs
// too much.
func (q *question) eval(e *expression) (ref.Val, error) {
	if e.timed {
		q.foresee(e)
	}
	if q.spent >= costPerVerdict {
		return nil, errSpent
	}
	outer := q.running // where a variable's is asked for by another
	defer func() { q.running = outer }()
	q.running = running{weight: e.weight, limit: min(q.spent+costPerRule, costPerVerdict)}
	q.round()
	v, _, err := e.program.Eval(q)
	switch {
	case err == nil || q.spent <= q.running.limit:
		return v, err
	case q.spent > costPerVerdict:
		return nil, errSpent
	}
	return nil, errCostly
}

// running is what the expression that is evaluated may cost.
type running struct {
	weight uint64 // of each round
	limit  uint64 // of all that is spent
}

// round counts one, and says whether there may be another.
func (q *question) round() bool {
	q.spent += q.running.weight
	return q.spent <= q.running.limit
}
