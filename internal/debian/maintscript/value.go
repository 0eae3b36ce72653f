package maintscript

import (
	"regexp"
	"strings"

	"mvdan.cc/sh/v3/pattern"
	"mvdan.cc/sh/v3/syntax"
)

// value is a string of the script. When it is not known, text is the literal it begins
// with, as far as there is one.
type value struct {
	text  string
	known bool
}

func known(s string) value { return value{text: s, known: true} }

// join shows values for a reader.
func join(vs []value) string {
	parts := make([]string, len(vs))
	for i, v := range vs {
		parts[i] = v.text
		if !v.known {
			parts[i] += "…"
		}
	}
	return firstLine(strings.Join(parts, " "))
}

// builder puts a word together; fields are split as the shell splits them.
type builder struct {
	fields []value
	now    value
	open   bool // there is a field in the making, even an empty one
}

func newBuilder() *builder { return &builder{now: known("")} }

func (b *builder) add(v value) {
	b.open = true
	if b.now.known {
		b.now.text += v.text
	}
	b.now.known = b.now.known && v.known
}

func (b *builder) end() {
	if b.open {
		b.fields = append(b.fields, b.now)
	}
	b.now, b.open = known(""), false
}

// split adds a value that was not quoted.
func (b *builder) split(v value) {
	if !v.known {
		b.add(v)
		return
	}
	for i, part := range strings.FieldsFunc(v.text, isBlank) {
		if i > 0 || isBlank(rune(v.text[0])) {
			b.end()
		}
		b.add(known(part))
	}
	if v.text != "" && isBlank(rune(v.text[len(v.text)-1])) {
		b.end()
	}
}

func isBlank(r rune) bool { return r == ' ' || r == '\t' || r == '\n' }

// fields expands words as the arguments of a command.
func (w *walker) fields(words []*syntax.Word) []value {
	var all []value
	for _, word := range words {
		b := newBuilder()
		for _, part := range word.Parts {
			w.part(b, part, false)
		}
		b.end()
		all = append(all, b.fields...)
	}
	return all
}

// text expands a word where the shell does not split: assignments, case, here-documents.
func (w *walker) text(word *syntax.Word) value {
	if word == nil {
		return known("")
	}
	b := newBuilder()
	for _, part := range word.Parts {
		w.part(b, part, true)
	}
	return b.now
}

// pattern expands a word of a case item or a prefix to cut: quoted parts lose their
// special meaning.
func (w *walker) pattern(word *syntax.Word) value {
	if word == nil {
		return known("")
	}
	b := newBuilder()
	for _, part := range word.Parts {
		if lit, ok := part.(*syntax.Lit); ok {
			b.add(known(lit.Value))
			continue
		}
		inner := newBuilder()
		w.part(inner, part, true)
		v := inner.now
		if v.known {
			v.text = pattern.QuoteMeta(v.text, 0)
		}
		b.add(v)
	}
	return b.now
}

func (w *walker) part(b *builder, part syntax.WordPart, quoted bool) {
	emit := b.split
	if quoted {
		emit = b.add
	}
	switch p := part.(type) {
	case *syntax.Lit:
		v := literal(p.Value, quoted)
		b.add(v)
	case *syntax.SglQuoted:
		b.add(value{text: p.Value, known: !p.Dollar})
	case *syntax.DblQuoted:
		w.doubleQuoted(b, p)
	case *syntax.ParamExp:
		if !quoted && isAll(p) {
			w.spread(b)
			return
		}
		emit(w.param(p))
	case *syntax.CmdSubst:
		emit(w.output(p.Stmts))
	default:
		b.add(value{})
	}
}

func isAll(p *syntax.ParamExp) bool {
	return (p.Param.Value == "@" || p.Param.Value == "*") && p.Exp == nil && !p.Length && p.Slice == nil && p.Repl == nil
}

func (w *walker) spread(b *builder) {
	for i, v := range w.params {
		if i > 0 {
			b.end()
		}
		b.add(v)
	}
}

func (w *walker) doubleQuoted(b *builder, q *syntax.DblQuoted) {
	if len(q.Parts) == 1 {
		if p, ok := q.Parts[0].(*syntax.ParamExp); ok && p.Param.Value == "@" && isAll(p) {
			w.spread(b)
			return
		}
	}
	b.add(known(""))
	for _, part := range q.Parts {
		if lit, ok := part.(*syntax.Lit); ok {
			b.add(known(unescape(lit.Value, "$`\"\\")))
			continue
		}
		w.part(b, part, true)
	}
}

// literal reads an unquoted literal: backslashes go, and a pattern is not known, for the
// files it would find are not.
func literal(s string, quoted bool) value {
	if strings.HasPrefix(s, "~") {
		return value{}
	}
	if !quoted && globbing.MatchString(s) {
		return value{text: s[:strings.IndexAny(s, "*?[")]}
	}
	return known(unescape(s, ""))
}

var globbing = regexp.MustCompile(`(^|[^\\])([*?]|\[.+\])`)

// unescape takes backslashes away before the characters of only, or before any when only
// is empty; a backslash and a newline always go.
func unescape(s, only string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var out strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' || i+1 == len(s) {
			out.WriteByte(s[i])
			continue
		}
		switch c := s[i+1]; {
		case c == '\n':
		case only == "" || strings.IndexByte(only, c) >= 0:
			out.WriteByte(c)
		default:
			out.WriteByte('\\')
			out.WriteByte(c)
		}
		i++
	}
	return out.String()
}

// variable gives a parameter and whether it is set.
func (w *walker) variable(name string) (value, bool) {
	switch {
	case name == "#":
		return known(itoa(len(w.params))), true
	case name == "0":
		return known("/var/lib/dpkg/info/" + w.in.Package + "." + w.script), true
	case name == "@" || name == "*":
		return known(""), len(w.params) > 0
	case len(name) == 1 && name[0] >= '1' && name[0] <= '9':
		if i := int(name[0] - '1'); i < len(w.params) {
			return w.params[i], true
		}
		return known(""), false
	case len(name) == 1 && strings.Contains("?$!-", name):
		return value{}, true
	}
	v, ok := w.vars[name]
	if !ok {
		return known(""), false
	}
	return v, true
}

func (w *walker) param(p *syntax.ParamExp) value {
	v, set := w.variable(p.Param.Value)
	if p.Excl || p.Length || p.Width || p.Index != nil || p.Slice != nil || p.Repl != nil || p.Names != 0 {
		return value{}
	}
	if p.Exp == nil {
		return v
	}
	empty := v.known && v.text == ""
	switch p.Exp.Op {
	case syntax.DefaultUnset, syntax.AssignUnset:
		return w.either(!set, true, p, v)
	case syntax.DefaultUnsetOrNull, syntax.AssignUnsetOrNull:
		return w.either(!set || empty, v.known || !set, p, v)
	case syntax.AlternateUnset:
		return w.either(set, true, p, known(""))
	case syntax.AlternateUnsetOrNull:
		return w.either(set && !empty, v.known || !set, p, known(""))
	case syntax.RemSmallPrefix, syntax.RemLargePrefix, syntax.RemSmallSuffix, syntax.RemLargeSuffix:
		return cut(v, w.pattern(p.Exp.Word), p.Exp.Op)
	}
	return value{}
}

func (w *walker) either(useWord, decided bool, p *syntax.ParamExp, otherwise value) value {
	switch {
	case !decided:
		return value{}
	case useWord:
		return w.text(p.Exp.Word)
	}
	return otherwise
}

// cut takes the shortest or longest matching beginning or end away.
func cut(v, pat value, op syntax.ParExpOperator) value {
	if !v.known || !pat.known {
		return value{}
	}
	re, err := compile(pat.text, pattern.EntireString)
	if err != nil {
		return value{}
	}
	n := len(v.text)
	for i := 0; i <= n; i++ {
		head, tail := i, n-i // shortest first
		if op == syntax.RemLargePrefix || op == syntax.RemLargeSuffix {
			head, tail = n-i, i
		}
		prefix := op == syntax.RemSmallPrefix || op == syntax.RemLargePrefix
		if prefix && re.MatchString(v.text[:head]) {
			return known(v.text[head:])
		}
		if !prefix && re.MatchString(v.text[tail:]) {
			return known(v.text[:tail])
		}
	}
	return v
}

func compile(pat string, mode pattern.Mode) (*regexp.Regexp, error) {
	expression, err := pattern.Regexp(pat, mode)
	if err != nil {
		return nil, err
	}
	return regexp.Compile(expression)
}
