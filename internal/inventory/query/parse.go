package query

import (
	"fmt"
	"strings"
	"time"

	"plimsoll.dev/plimsoll/internal/fault"
)

// Bounds of one question, so that a hostile one costs little.
const (
	maxDepth = 32  // parentheses in parentheses
	maxTerms = 200 // conditions
)

// Error says where a question cannot be understood.
type Error struct {
	Column int // of the character, from 1
	Why    string
	Hint   string
}

// Error gives "column N: why".
func (e *Error) Error() string { return fmt.Sprintf("column %d: %s", e.Column, e.Why) }

// Parse reads a question. Its error is a *fault.Error of kind Usage whose cause is an
// *Error.
func Parse(input string) (Query, error) {
	tokens, err := lex(input)
	if err != nil {
		return Query{}, refusal(input, err)
	}
	p := &parser{tokens: tokens}
	q, err := p.query()
	if err != nil {
		return Query{}, refusal(input, err)
	}
	return q, nil
}

func refusal(input string, err *Error) error {
	which := []rune(input)
	if len(which) > 120 {
		which = append(which[:120], '…')
	}
	hint := err.Hint
	if hint == "" {
		hint = `ask, for example: what contains openssl < 3.5.7, or: images where base = "base/run" and age > 30d`
	}
	return fault.New(fault.Usage, "read question", string(which), err).WithHint(hint)
}

type parser struct {
	tokens []token
	at     int
	terms  int
}

func (p *parser) peek() token { return p.tokens[p.at] }

// after gives the nth token from here; the end beyond it.
func (p *parser) after(n int) token { return p.tokens[min(p.at+n, len(p.tokens)-1)] }

func (p *parser) next() token {
	t := p.tokens[p.at]
	p.at = min(p.at+1, len(p.tokens)-1)
	return t
}

func (p *parser) accept(keywords ...string) bool {
	for i, keyword := range keywords {
		if !p.after(i).is(keyword) {
			return false
		}
	}
	p.at += len(keywords)
	return true
}

// query = "what" [ "is" ] condition | subject [ "where" condition ]; then its endings.
func (p *parser) query() (Query, *Error) {
	q := Query{Subject: Images}
	first := p.next()
	var err *Error
	switch {
	case first.is("what"):
		q.Where, err = p.or(Images, 0)
	case first.is(string(Images)), first.is(string(Packages)), first.is(string(Advisories)):
		q.Subject = Subject(strings.ToLower(first.text))
		if p.accept("where") {
			q.Where, err = p.or(q.Subject, 0)
		}
	default:
		return q, p.unexpected(first, `begin with "what", "images", "packages" or "advisories"`)
	}
	if err != nil {
		return q, err
	}
	if err := p.endings(&q); err != nil {
		return q, err
	}
	if t := p.peek(); t.kind != end {
		return q, p.unexpected(t, `conditions are joined by "and" and "or"; values with spaces are quoted`)
	}
	return q, nil
}

// endings = [ "and how is it fixed" ] [ "as of" DATE | "ever" ]
func (p *parser) endings(q *Query) *Error {
	if column := p.peek().column; p.accept("and", "how", "is", "it", "fixed") {
		if q.Subject != Images || !asksAffected(q.Where) {
			return &Error{column, "nothing here is broken", `"and how is it fixed" follows a question about images that are affected`}
		}
		q.Fix = true
	}
	switch {
	case p.accept("as", "of"):
		t := p.next()
		if t.kind != word && t.kind != quoted {
			return p.unexpected(t, `"as of" wants a date: as of 2026-01-31`)
		}
		when, day, ok := readTime(t.text)
		if !ok {
			return &Error{t.column, fmt.Sprintf("%q is no date", t.text), "write 2026-01-31 or 2026-01-31T12:00:00Z"}
		}
		if day {
			when = when.Add(24*time.Hour - time.Second)
		}
		q.AsOf = when
	case p.accept("ever"):
		q.Ever = true
	}
	return nil
}

// asksAffected tells whether a finding is asked for anywhere in the condition.
func asksAffected(e Expr) bool {
	switch e := e.(type) {
	case Affected:
		return true
	case Contains:
		return asksAffected(e.Where)
	case Not:
		return asksAffected(e.Expr)
	case And:
		return anyOf(e.All, asksAffected)
	case Or:
		return anyOf(e.Any, asksAffected)
	}
	return false
}

func anyOf(list []Expr, holds func(Expr) bool) bool {
	for _, e := range list {
		if holds(e) {
			return true
		}
	}
	return false
}

// or = and { "or" and }
func (p *parser) or(subject Subject, depth int) (Expr, *Error) {
	first, err := p.and(subject, depth)
	if err != nil || !p.peek().is("or") {
		return first, err
	}
	any := []Expr{first}
	for p.accept("or") {
		e, err := p.and(subject, depth)
		if err != nil {
			return nil, err
		}
		any = append(any, e)
	}
	return Or{any}, nil
}

// and = not { "and" not }, up to an "and how is it fixed"
func (p *parser) and(subject Subject, depth int) (Expr, *Error) {
	first, err := p.not(subject, depth)
	if err != nil {
		return nil, err
	}
	all := []Expr{first}
	for p.peek().is("and") && !p.after(1).is("how") {
		p.next()
		e, err := p.not(subject, depth)
		if err != nil {
			return nil, err
		}
		all = append(all, e)
	}
	if len(all) == 1 {
		return first, nil
	}
	return And{all}, nil
}

// not = [ "not" ] ( "(" or ")" | term )
func (p *parser) not(subject Subject, depth int) (Expr, *Error) {
	if depth > maxDepth {
		return nil, &Error{p.peek().column, "the conditions are nested too deeply", "at most 32 levels are read"}
	}
	switch t := p.peek(); {
	case p.accept("not"):
		e, err := p.not(subject, depth+1)
		return Not{e}, err
	case t.kind == open:
		return p.group(subject, depth)
	}
	return p.term(subject, depth)
}

// group = "(" or ")"
func (p *parser) group(subject Subject, depth int) (Expr, *Error) {
	opening := p.next()
	e, err := p.or(subject, depth+1)
	if err != nil {
		return nil, err
	}
	if t := p.next(); t.kind != closing {
		return nil, p.unexpected(t, fmt.Sprintf("close the parenthesis of column %d, or join conditions by \"and\" or \"or\"", opening.column))
	}
	return e, nil
}

// unexpected is the error for a token that stands where it cannot.
func (p *parser) unexpected(t token, hint string) *Error {
	if t.kind == end {
		return &Error{t.column, "the question ends too early", hint}
	}
	return &Error{t.column, fmt.Sprintf("%q is not understood here", t.text), hint}
}
