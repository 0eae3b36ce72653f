package query

import (
	"strings"
	"time"
)

// String gives the question in its full form; Parse reads it back to the same Query.
func (q Query) String() string {
	var b strings.Builder
	b.WriteString(string(q.Subject))
	if q.Where != nil {
		b.WriteString(" where ")
		write(&b, q.Where)
	}
	if q.Fix {
		b.WriteString(" and how is it fixed")
	}
	switch {
	case !q.AsOf.IsZero():
		b.WriteString(" as of " + q.AsOf.Format(time.RFC3339))
	case q.Ever:
		b.WriteString(" ever")
	}
	return b.String()
}

func write(b *strings.Builder, e Expr) {
	switch e := e.(type) {
	case And:
		for i, part := range e.All {
			if i > 0 {
				b.WriteString(" and ")
			}
			writePart(b, part)
		}
	case Or:
		for i, part := range e.Any {
			if i > 0 {
				b.WriteString(" or ")
			}
			if _, and := part.(And); and { // it binds tighter
				write(b, part)
				continue
			}
			writePart(b, part)
		}
	case Not:
		b.WriteString("not ")
		writePart(b, e.Expr)
	case Contains:
		b.WriteString("contains (")
		write(b, e.Where)
		b.WriteString(")")
	case Affected:
		b.WriteString("affected by ")
		if e.Where == nil {
			b.WriteString("anything")
			return
		}
		b.WriteString("(")
		write(b, e.Where)
		b.WriteString(")")
	case Package:
		name := e.Name
		if e.Type != "" {
			name = e.Type + "/" + name
		}
		b.WriteString("package " + quote(name))
		if e.Op != "" {
			b.WriteString(" " + string(e.Op) + " " + quote(e.Version))
		}
	case Compare:
		writeCompare(b, e)
	}
}

func writeCompare(b *strings.Builder, c Compare) {
	b.WriteString(string(c.Field))
	if c.Label != "" {
		b.WriteString("." + c.Label)
	}
	switch c.Field {
	case Signed, Exploited, Fixable:
		return
	case SignedBy, RunningIn:
		b.WriteString(" " + quote(c.Value.Text))
		return
	}
	b.WriteString(" " + string(c.Op) + " " + quote(c.Value.Text))
}

// writePart writes a part of a larger condition; one that has parts itself is put in
// parentheses.
func writePart(b *strings.Builder, e Expr) {
	switch e.(type) {
	case And, Or:
		b.WriteString("(")
		write(b, e)
		b.WriteString(")")
	default:
		write(b, e)
	}
}

// quote writes a value in the quotes that it does not hold itself: lex gives none that
// holds both.
func quote(s string) string {
	if strings.Contains(s, `"`) {
		return "'" + s + "'"
	}
	return `"` + s + `"`
}
