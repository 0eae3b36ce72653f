package inventory

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/inventory/query"
)

// few is how many stacks an index looks up faster than a pass over all images finds them.
const few = 500

// imageTerm translates a condition about the image i.
func (a *asking) imageTerm(e query.Expr, shown bool) (cond, error) {
	switch e := e.(type) {
	case query.Contains:
		return a.contains(e, shown)
	case query.Affected:
		return a.affected(e, shown)
	case query.Compare:
		c, err := a.imageField(e)
		c.cold = true
		return c, err
	}
	return never, fmt.Errorf("no condition of images: %T", e)
}

func (a *asking) contains(e query.Contains, shown bool) (cond, error) {
	where, err := a.compile(e.Where, true, a.packageTerm)
	if err != nil {
		return never, err
	}
	ids, err := a.tx.IDs(a.ctx, "SELECT p.id FROM packages p WHERE "+where.text, where.args...)
	if err != nil {
		return never, err
	}
	packages := membersOf(ids)
	if shown {
		a.matches = append(a.matches, &matching{packages: packages})
	}
	return cond{stacks: a.having(packages)}, nil
}

// written gives a condition that stacks decide its text.
func (a *asking) written(c cond) cond {
	if c.stacks == nil {
		return c
	}
	list := c.stacks.list()
	switch {
	case len(list) == 0:
		return never
	case len(list) > few:
		text, arg := a.tx.Member("i.stack", c.stacks)
		return cond{text: text, args: []any{arg}}
	}
	text, arg := a.tx.Ints("i.stack", list)
	return cond{text: text, args: []any{arg}, narrow: true}
}

// span is true for the images that a reference names at the moment that is asked about.
// scanned keeps a database from using the index over ended, which finds the images one by
// one, where a pass over all of them is faster; ">=" tells its planner that it is many.
func (a *asking) span(scanned bool) cond {
	switch {
	case a.q.Ever:
		return always
	case !a.q.AsOf.IsZero():
		return cond{
			text: "i.began <= ? AND i.ended > ? AND i.id NOT IN (SELECT g.image FROM gaps g WHERE g.began <= ? AND g.ended > ?)",
			args: []any{a.at, a.at, a.at, a.at},
		}
	case scanned:
		return cond{text: "+i.ended >= ?", args: []any{int64(forever)}}
	}
	return cond{text: "i.ended = ?", args: []any{int64(forever)}}
}

// refSpan is span for a reference r.
func (a *asking) refSpan() cond {
	switch {
	case a.q.Ever:
		return always
	case a.q.AsOf.IsZero():
		return cond{text: "r.ended = ?", args: []any{int64(forever)}}
	}
	return cond{text: "r.began <= ? AND r.ended > ?", args: []any{a.at, a.at}}
}

func (a *asking) imageField(c query.Compare) (cond, error) {
	switch c.Field {
	case query.Reference, query.Repository, query.Tag:
		return a.named(c)
	case query.Platform:
		return a.word("i.platform", c), nil
	case query.Distro:
		return a.word("i.distro", c), nil
	case query.Source:
		return a.word("i.source", c), nil
	case query.Revision:
		return a.text("i.revision", c.Op, c.Value.Text), nil
	case query.Digest:
		return a.digest("i.digest", c), nil
	case query.BaseDigest:
		inner := a.digest("b.digest", c)
		inner.text = "i.base IN (SELECT b.id FROM bases b WHERE " + inner.text + ")"
		return inner, nil
	case query.Base:
		return a.base(c)
	case query.Label:
		return a.label(c), nil
	case query.Created:
		return a.moment("i.created", c.Op, c.Value), nil
	case query.Pushed:
		return a.moment("i.pushed", c.Op, c.Value), nil
	case query.Seen:
		return a.moment("i.seen", c.Op, c.Value), nil
	case query.Age: // an older image was pushed earlier
		return a.moment("i.pushed", turned(c.Op), c.Value), nil
	case query.Size:
		return number("i.size", c.Op, int64(c.Value.Number)), nil
	case query.Verdict:
		return decided(c)
	case query.Evidence, query.Signed, query.SignedBy:
		return a.evidence(c)
	}
	return never, fmt.Errorf("no field of images: %s", c.Field)
}

func turned(op query.Op) query.Op {
	return map[query.Op]query.Op{
		query.Less: query.Greater, query.LessEqual: query.GreaterEqual, query.Greater: query.Less, query.GreaterEqual: query.LessEqual,
	}[op]
}

// word compares a column that holds the number of a shared text. What is not equal is what
// no equal text is: an image without a source has none.
func (a *asking) word(expr string, c query.Compare) cond {
	op, not := positive(c.Op)
	inner := a.text("w.text", op, c.Value.Text)
	return cond{text: expr + not + " IN (SELECT w.id FROM words w WHERE " + inner.text + ")", args: inner.args}
}

// positive gives the comparison that a NotEqual denies.
func positive(op query.Op) (query.Op, string) {
	if op == query.NotEqual {
		return query.Equal, " NOT"
	}
	return op, ""
}

// named compares references. An image may have several: not equal is what none equals.
func (a *asking) named(c query.Compare) (cond, error) {
	op, not := positive(c.Op)
	span := a.refSpan()
	var inner cond
	switch c.Field {
	case query.Repository:
		inner = a.ranged("w.text", op, c.Value.Text)
		inner.text = "r.repository IN (SELECT w.id FROM words w WHERE " + inner.text + ")"
	case query.Tag:
		inner = a.ranged("r.tail", op, ":"+c.Value.Text)
	default:
		inner = a.reference(op, c.Value.Text)
	}
	if c.Field == query.Reference && op == query.Glob && a.q.AsOf.IsZero() && !a.q.Ever {
		// Most images have one name, which their row holds.
		whole := a.text("i.name", op, c.Value.Text)
		return cond{
			text: "(" + whole.text + " OR (i.others > 0 AND i.id IN (SELECT r.image FROM images o JOIN refs r ON r.image = o.id WHERE o.others > 0 AND " +
				span.text + " AND " + inner.text + ")))",
			args: slices.Concat(whole.args, span.args, inner.args),
		}, nil
	}
	// Looked for here, for a database would do it in every statement of the question again.
	images, err := a.tx.IDs(a.ctx, "SELECT r.image FROM refs r WHERE "+span.text+" AND "+inner.text, slices.Concat(span.args, inner.args)...)
	if err != nil {
		return never, err
	}
	one, err := a.numbered(images)
	if not != "" {
		one.text = "NOT (" + one.text + ")"
	}
	return one, err
}

// numbered is true for the images of those numbers. Marks reach up to the last image there
// is, for a database may refuse to look beyond their end.
func (a *asking) numbered(ids []int64) (cond, error) {
	if len(ids) <= manyFound {
		text, arg := a.tx.Ints("i.id", ids)
		return cond{text: text, args: []any{arg}}, nil
	}
	highest, err := a.tx.Int(a.ctx, "SELECT max(id) FROM images")
	text, arg := a.tx.Member("i.id", grow(membersOf(ids), highest+1))
	return cond{text: text, args: []any{arg}}, err
}

// reference compares a whole reference, looking only into repositories that can match.
func (a *asking) reference(op query.Op, value string) cond {
	value = clean(value)
	if op == query.Equal {
		repository, tail := splitReference(value)
		return cond{text: "r.repository = (SELECT w.id FROM words w WHERE w.text = ?) AND r.tail = ?", args: []any{repository, tail}}
	}
	whole := a.text("(SELECT w.text FROM words w WHERE w.id = r.repository) || r.tail", op, value)
	literal := literalPrefix(value)
	if literal == "" {
		return whole
	}
	// A repository can match that begins with the literal part, or that the literal part
	// begins with.
	return cond{
		text: "r.repository IN (SELECT w.id FROM words w WHERE (w.text >= ? AND w.text < ?) OR w.text = substr(CAST(? AS TEXT), 1, length(w.text))) AND " + whole.text,
		args: append([]any{literal, literal + highest, literal}, whole.args...),
	}
}

// highest sorts after every character that a name begins its variable part with.
const highest = "\U0010FFFF"

// ranged compares a column that has an index, of which a pattern needs only the part that
// begins as it does.
func (a *asking) ranged(expr string, op query.Op, value string) cond {
	c := a.text(expr, op, value)
	if literal := literalPrefix(clean(value)); op == query.Glob && literal != "" {
		c.text = expr + " >= ? AND " + expr + " < ? AND " + c.text
		c.args = append([]any{literal, literal + highest}, c.args...)
	}
	return c
}

// literalPrefix is what every text begins with that a pattern matches.
func literalPrefix(pattern string) string {
	if wild := strings.IndexAny(pattern, "*?"); wild >= 0 {
		return pattern[:wild]
	}
	return pattern
}

func (a *asking) digest(expr string, c query.Compare) cond {
	sum, err := digestBytes(c.Value.Text)
	if err != nil || len(sum) == 0 {
		sum = []byte{0} // equal to none
	}
	return number(expr, c.Op, sum)
}

// base compares what an image stands on: "base/run" is any tag of it in any registry,
// unless the name is given in full.
func (a *asking) base(c query.Compare) (cond, error) {
	op, not := positive(c.Op)
	var ids []int64
	err := a.tx.Each(a.ctx, func(scan func(...any) error) error {
		var id int64
		var name string
		err := scan(&id, &name)
		repository, _ := splitReference(name)
		_, path, _ := strings.Cut(repository, "/")
		for _, known := range []string{name, repository, path} {
			if known == c.Value.Text || op == query.Glob && globMatch(c.Value.Text, known) {
				ids = append(ids, id)
				break
			}
		}
		return err
	}, "SELECT id, name FROM bases")
	text, arg := a.tx.Ints("i.base", ids)
	if not != "" {
		text = "NOT (" + text + ")"
	}
	return cond{text: text, args: []any{arg}}, err
}

func (a *asking) label(c query.Compare) cond {
	op, not := positive(c.Op)
	inner := a.text("l.value", op, c.Value.Text)
	return cond{
		text: "i.id" + not + " IN (SELECT il.image FROM labels l JOIN image_labels il ON il.label = l.id WHERE l.name = ? AND " + inner.text + ")",
		args: append([]any{clean(c.Label)}, inner.args...),
	}
}

// kinds are short names of predicate types.
var kinds = map[string]string{
	"spdx": artifact.PredicateSPDX, "cyclonedx": artifact.PredicateCycloneDX, "provenance": artifact.PredicateProvenance,
	"vex": artifact.PredicateVEX, "tests": artifact.PredicateTestResult, "vulns": artifact.PredicateVulns,
	"hardening": artifact.PredicateHardening, "malware": artifact.PredicateMalware, "signature": artifact.PredicateSignature,
}

// evidence looks into the few different lists of claims that images have.
func (a *asking) evidence(c query.Compare) (cond, error) {
	op, not := positive(c.Op)
	var ids []int64
	err := a.tx.Each(a.ctx, func(scan func(...any) error) error {
		var id int64
		var text string
		var claims []claim
		if err := scan(&id, &text); err != nil {
			return err
		}
		if err := json.Unmarshal([]byte(text), &claims); err != nil {
			return err
		}
		if slices.ContainsFunc(claims, func(one claim) bool { return one.holds(c.Field, op, c.Value.Text) }) {
			ids = append(ids, id)
		}
		return nil
	}, "SELECT id, claims FROM claims")
	text, arg := a.tx.Ints("i.claims", ids)
	if not != "" {
		text = "NOT (" + text + ")"
	}
	return cond{text: text, args: []any{arg}}, err
}

func (c claim) holds(field query.Field, op query.Op, value string) bool {
	switch field {
	case query.Signed:
		return c.Verified && (c.KeyID != "" || c.Identity != "")
	case query.SignedBy:
		return c.Verified && value != "" && (c.KeyID == value || c.Identity == value)
	}
	if full, short := kinds[strings.ToLower(value)]; short {
		value = full
	}
	return c.PredicateType == value || op == query.Glob && globMatch(value, c.PredicateType)
}

// globMatch does in the program what Dialect.Glob does in a database.
func globMatch(pattern, text string) bool {
	p, t := []rune(pattern), []rune(text)
	star, resume := -1, 0
	at := 0
	for i := 0; i < len(t); {
		switch {
		case at < len(p) && p[at] == '*':
			star, resume = at, i
			at++
		case at < len(p) && (p[at] == '?' || p[at] == t[i]):
			at++
			i++
		case star >= 0: // the last star takes one character more
			resume++
			at, i = star+1, resume
		default:
			return false
		}
	}
	for at < len(p) && p[at] == '*' {
		at++
	}
	return at == len(p)
}
