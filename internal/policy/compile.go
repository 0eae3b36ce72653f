package policy

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	"github.com/google/cel-go/common/types/traits"

	"plimsoll.dev/plimsoll/api/v1alpha1"
	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/manifest"
)

// compiler gathers what is wrong on the way.
type compiler struct {
	base     *scope // without parameters and variables
	at       place  // of the document in hand
	problems []problem
}

// place is a document of several.
type place struct {
	exception bool
	index     int
}

// problem is what is wrong with a field of a document.
type problem struct {
	place
	field string
	wrong
}

func (c *compiler) bad(field, text string) {
	c.problems = append(c.problems, problem{c.at, field, wrong{text: text}})
}

// header checks what every document has.
func (c *compiler) header(p *manifest.Problem) {
	if p != nil {
		c.bad(p.Field, p.Text)
	}
}

var (
	label      = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`) // RFC 1123
	identifier = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,63}$`)
)

func (c *compiler) policy(p *v1alpha1.ImagePolicy) *policy {
	c.header(manifest.CheckHeader(p.TypeMeta, v1alpha1.ImagePolicyKind, p.Name))
	out := &policy{name: p.Name, scope: c.selector("spec.scope", p.Spec.Scope), names: map[string]int{}}
	names := c.base.clone()
	c.parameters(out, names, p.Spec.Parameters)
	for i, condition := range p.Spec.MatchConditions {
		field := fmt.Sprintf("spec.matchConditions[%d]", i)
		if !label.MatchString(condition.Name) {
			c.bad(field+".name", fmt.Sprintf("want lower-case letters, digits and dashes, got %q", condition.Name))
		}
		out.conditions = append(out.conditions, c.expression(names, field+".expression", condition.Expression, cel.BoolType))
	}
	c.variables(out, names, p.Spec.Variables)
	if len(p.Spec.Rules) == 0 {
		c.bad("spec.rules", "want at least one")
	}
	gates := c.gates("spec.gates", p.Spec.Gates)
	seen := map[string]bool{}
	for i := range p.Spec.Rules {
		field := fmt.Sprintf("spec.rules[%d]", i)
		r := c.rule(names, field, &p.Spec.Rules[i], gates)
		if seen[r.Name] {
			c.bad(field+".name", fmt.Sprintf("there is another rule %q", r.Name))
		}
		seen[r.Name] = true
		r.policy = p.Name
		out.rules = append(out.rules, r)
	}
	for _, gate := range artifact.Gates() {
		speaks := func(r *rule) bool { return r.gates[gate] != "" }
		if gates[gate] != "" || slices.ContainsFunc(out.rules, speaks) {
			out.gates = append(out.gates, gate)
		}
	}
	return out
}

func (c *compiler) rule(names *scope, field string, spec *v1alpha1.PolicyRule, gates map[artifact.Gate]artifact.Action) *rule {
	r := &rule{PolicyRule: *spec, gates: maps.Clone(gates)}
	if !label.MatchString(spec.Name) {
		c.bad(field+".name", fmt.Sprintf("want lower-case letters, digits and dashes, got %q", spec.Name))
	}
	if strings.TrimSpace(spec.Title) == "" {
		c.bad(field+".title", "say what is wanted, in a few words")
	}
	if strings.TrimSpace(spec.Reason) == "" {
		c.bad(field+".reason", "say why anybody should want it")
	}
	maps.Copy(r.gates, c.gates(field+".gates", spec.Gates))
	if len(r.gates) == 0 {
		c.bad(field, "neither it nor the policy names a gate: it would do nothing")
	}
	r.condition = c.expression(names, field+".expression", spec.Expression, cel.BoolType)
	r.message = c.words(names, field+".message", spec.Message, spec.MessageExpression)
	r.remedy = c.words(names, field+".remedy", spec.Remedy, spec.RemedyExpression)
	if spec.Grace != nil {
		r.grace = c.grace(names, field+".grace", spec.Grace)
	}
	return r
}

// words compiles the expression of a text that can also be given plainly.
func (c *compiler) words(names *scope, field, plain, expression string) *expression {
	switch {
	case expression == "":
		return nil
	case plain != "":
		c.bad(field+"Expression", "there is a plain text, too: want one of them")
	}
	return c.expression(names, field+"Expression", expression, cel.StringType)
}

// grace is a compiled PolicyGrace.
type grace struct {
	period time.Duration
	since  *expression
}

func (c *compiler) grace(names *scope, field string, spec *v1alpha1.PolicyGrace) *grace {
	period, err := duration(spec.Period)
	if err != nil {
		c.bad(field+".period", err.Error())
	}
	since := c.expression(names, field+".since", spec.Since, cel.TimestampType)
	if since != nil && since.timed {
		c.bad(field+".since", "it depends on the time of the verdict, so the grace would never end")
	}
	return &grace{period, since}
}

const day = 24 * time.Hour

// duration reads Go's form with days in front: "7d", "1d12h", "36h".
func duration(text string) (time.Duration, error) {
	days, rest, found := strings.Cut(text, "d")
	if !found {
		days, rest = "0", text
	}
	n, err := strconv.ParseUint(days, 10, 12)
	var d time.Duration
	if err == nil && (rest != "" || !found) {
		d, err = time.ParseDuration(rest)
	}
	if d += time.Duration(n) * day; err != nil || d <= 0 || d > 4096*day {
		return 0, fmt.Errorf("want a time such as 7d or 36h, got %q", text)
	}
	return d, nil
}

func (c *compiler) gates(field string, spec v1alpha1.PolicyGates) map[artifact.Gate]artifact.Action {
	gates := map[artifact.Gate]artifact.Action{}
	for _, g := range []struct {
		gate   artifact.Gate
		action v1alpha1.PolicyAction
	}{
		{artifact.GateRegistry, spec.Registry}, {artifact.GateAdmission, spec.Admission},
		{artifact.GateIdentity, spec.Identity}, {artifact.GateGateway, spec.Gateway},
	} {
		switch action := artifact.Action(g.action); action {
		case "":
		case artifact.ActionDeny, artifact.ActionWarn, artifact.ActionAudit:
			gates[g.gate] = action
		default:
			c.bad(field+"."+string(g.gate), fmt.Sprintf("want deny, warn or audit, got %q", action))
		}
	}
	return gates
}

func (c *compiler) parameters(p *policy, names *scope, parameters map[string]any) {
	if len(parameters) > maxVariables {
		c.bad("spec.parameters", fmt.Sprintf("want at most %d", maxVariables))
		return
	}
	for _, name := range slices.Sorted(maps.Keys(parameters)) {
		field := "spec.parameters." + name
		if !identifier.MatchString(name) {
			c.bad(field, "want a name of letters, digits and underscores")
			continue
		}
		value, typ, why := parameter(parameters[name])
		if why != "" {
			c.bad(field, why)
			continue
		}
		length := lengthOf(value)
		declaration := cel.Constant("params."+name, typ, value)
		if length == 0 && typ.Kind() == types.ListKind {
			// CEL takes "x in EMPTY" for false without a look at x, so also where x is missing.
			declaration = cel.Variable("params."+name, typ)
			p.add("params."+name, value, nil)
		}
		c.declare(names, field, "params."+name, declaration, false, length)
	}
}

// add makes the name one that is resolved when it is read: to the value, or to what the
// expression gives.
func (p *policy) add(name string, value any, e *expression) {
	p.names[name] = len(p.values)
	p.values, p.variables = append(p.values, value), append(p.variables, e)
}

// parameter gives a parameter's value and type in CEL.
func parameter(v any) (ref.Val, *cel.Type, string) {
	switch v := v.(type) {
	case string:
		if len(v) > maxText {
			return nil, nil, fmt.Sprintf("want at most %d bytes", maxText)
		}
		return types.String(v), cel.StringType, ""
	case bool:
		return types.Bool(v), cel.BoolType, ""
	case int64:
		return types.Int(v), cel.IntType, ""
	case float64:
		return types.Double(v), cel.DoubleType, ""
	case []any:
		return parameterList(v)
	}
	return nil, nil, "want text, a number, true or false, or a list of these"
}

func parameterList(list []any) (ref.Val, *cel.Type, string) {
	if len(list) > maxList {
		return nil, nil, fmt.Sprintf("want at most %d entries", maxList)
	}
	values, of := make([]ref.Val, len(list)), cel.StringType // of an empty list
	for i, entry := range list {
		value, typ, why := parameter(entry)
		switch {
		case why != "":
			return nil, nil, why
		case typ.Kind() == types.ListKind:
			return nil, nil, "want a list without lists in it"
		case i > 0 && !typ.IsExactType(of):
			return nil, nil, "want a list whose entries are of one kind"
		}
		values[i], of = value, typ
	}
	return types.NewRefValList(types.DefaultTypeAdapter, values), cel.ListType(of), ""
}

func (c *compiler) variables(p *policy, names *scope, variables []v1alpha1.NamedExpression) {
	if len(variables) > maxVariables {
		c.bad("spec.variables", fmt.Sprintf("want at most %d", maxVariables))
		return
	}
	for i, v := range variables {
		field := fmt.Sprintf("spec.variables[%d]", i)
		if !identifier.MatchString(v.Name) {
			c.bad(field+".name", fmt.Sprintf("want letters, digits and underscores, got %q", v.Name))
		}
		e := c.expression(names, field+".expression", v.Expression, nil)
		if e == nil {
			e = &expression{typ: cel.DynType} // so that what reads it is not wrong as well
		}
		if _, twice := p.names["variables."+v.Name]; twice {
			c.bad(field+".name", fmt.Sprintf("there is another variable %q", v.Name))
			continue
		}
		name := "variables." + v.Name
		c.declare(names, field, name, cel.Variable(name, e.typ), e.timed, names.length(v.Expression, e.typ))
		names.variables[name] = e
		p.add(name, nil, e)
	}
}

func lengthOf(v ref.Val) uint64 {
	if sized, ok := v.(traits.Sizer); ok {
		if n, ok := sized.Size().(types.Int); ok {
			return uint64(n)
		}
	}
	return 1
}

func (c *compiler) declare(names *scope, field, name string, declaration cel.EnvOption, timed bool, length uint64) {
	env, err := names.env.Extend(declaration)
	if err != nil {
		c.bad(field, err.Error())
		return
	}
	names.env, names.timed[name], names.lengths[name] = env, timed, length
}

// expression compiles the text; nil when it is wrong.
func (c *compiler) expression(names *scope, field, text string, want *cel.Type) *expression {
	e, wrong := names.compile(text, want)
	if wrong != nil {
		c.problems = append(c.problems, problem{c.at, field, *wrong})
	}
	return e
}
