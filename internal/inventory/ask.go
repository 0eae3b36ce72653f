package inventory

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"time"

	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/inventory/query"
	"plimsoll.dev/plimsoll/internal/inventory/store"
)

// Page chooses a part of a long answer.
type Page struct {
	Limit int    // rows, at most 1000; 0 means 100
	After string // Next of the part before; "" is the beginning
}

// Result answers a question. Of the three lists, the one of the question's subject is
// filled: images by reference, packages by name, advisories by id.
type Result struct {
	Query   string        `json:"query"` // in its full form
	Subject query.Subject `json:"subject"`
	Total   int           `json:"total"` // rows on all pages

	Images     []ImageAnswer    `json:"images,omitempty"`
	Packages   []PackageAnswer  `json:"packages,omitempty"`
	Advisories []AdvisoryAnswer `json:"advisories,omitempty"`

	// Fixes says how the findings asked for are fixed in all these images, the most images
	// first, at most 100; only when it was asked.
	Fixes []Fix `json:"fixes,omitempty"`

	// Notes are lines about what was asked for and is not known here at all: an inventory
	// without images, names that nothing has; on the first page.
	Notes []string `json:"notes,omitempty"`

	Next string `json:"next,omitempty"` // Page.After for the next page; "" on the last
}

// Query answers a question.
func (inv *Inventory) Query(ctx context.Context, q query.Query, page Page) (Result, error) {
	if page.Limit <= 0 {
		page.Limit = 100
	}
	page.Limit = min(page.Limit, 1000)
	after, err := readCursor(page.After)
	if err != nil {
		return Result{}, err
	}
	result := Result{Query: q.String(), Subject: q.Subject}
	err = inv.db.Read(ctx, func(tx store.Tx) error {
		a, err := inv.asking(ctx, tx, q)
		if err != nil {
			return err
		}
		a.limit, a.after = page.Limit, after
		if after == nil {
			if result.Notes, err = a.notes(); err != nil {
				return err
			}
		}
		switch q.Subject {
		case query.Packages:
			return a.answerPackages(&result)
		case query.Advisories:
			return a.answerAdvisories(&result)
		}
		return a.answerImages(&result)
	})
	return result, err
}

// asking is one question in its transaction.
type asking struct {
	ctx   context.Context
	tx    store.Tx
	q     query.Query
	now   time.Time
	at    int64 // the moment asked about, in seconds
	limit int
	after *cursor
	view
	memory *stacks // that the view is from

	silences []silence
	matches  []*matching // the conditions whose matches the answer shows
}

func (inv *Inventory) asking(ctx context.Context, tx store.Tx, q query.Query) (*asking, error) {
	a := &asking{ctx: ctx, tx: tx, q: q, now: inv.now(), memory: inv.stacks}
	a.at = seconds(a.now)
	if !q.AsOf.IsZero() {
		a.now = q.AsOf // ages are those of that day, too
		a.at = seconds(q.AsOf)
	}
	var err error
	if a.view, err = inv.stacks.load(ctx, tx); err != nil {
		return nil, err
	}
	a.silences, err = silences(ctx, tx, a.at)
	return a, err
}

// cursor is the last row of a page.
type cursor struct {
	Text string `json:"t"`
	ID   int64  `json:"i"`
}

func (c cursor) String() string { return base64.RawURLEncoding.EncodeToString([]byte(jsonText(c))) }

func readCursor(text string) (*cursor, error) {
	if text == "" {
		return nil, nil
	}
	raw, err := base64.RawURLEncoding.DecodeString(text)
	c := &cursor{}
	if err == nil {
		err = json.Unmarshal(raw, c)
	}
	if err != nil || clean(c.Text) != c.Text {
		return nil, fault.Newf(fault.Usage, "continue the answer", "", "the mark of the page is not one that was given").
			WithHint("give back what the page before said under next, unchanged")
	}
	return c, nil
}

// cond is a condition in SQL. Its text is made of the program's own words alone; all that
// was asked for is in its arguments.
type cond struct {
	text string
	args []any

	narrow bool // few stacks can hold, so that an index finds them
	cold   bool // it looks at columns that images_stack does not have

	// stacks are those whose images it is true for, when nothing else decides that; it has
	// no text then, before written gives it one.
	stacks members
}

var never, always = cond{text: "1 = 0", narrow: true}, cond{text: "1 = 1"}

// compile translates a condition; term does so for what is neither and, or nor not.
// shown says whether matches of the part are shown: not under a not.
func (a *asking) compile(e query.Expr, shown bool, term func(query.Expr, bool) (cond, error)) (cond, error) {
	switch e := e.(type) {
	case nil:
		return always, nil
	case query.Not:
		c, err := a.compile(e.Expr, false, term)
		if c.stacks != nil {
			return cond{stacks: c.stacks.others()}, err
		}
		return cond{text: "NOT (" + c.text + ")", args: c.args, cold: c.cold}, err
	case query.And:
		return a.join(e.All, " AND ", shown, term)
	case query.Or:
		return a.join(e.Any, " OR ", shown, term)
	}
	return term(e, shown)
}

func (a *asking) join(parts []query.Expr, by string, shown bool, term func(query.Expr, bool) (cond, error)) (cond, error) {
	var conds []cond
	var stacks members
	for _, part := range parts {
		c, err := a.compile(part, shown, term)
		switch {
		case err != nil:
			return cond{}, err
		case c.stacks == nil:
			conds = append(conds, c)
		case stacks == nil:
			stacks = c.stacks
		case by == " AND ":
			stacks = stacks.and(c.stacks)
		default:
			stacks = stacks.or(c.stacks)
		}
	}
	if len(conds) == 0 {
		return cond{stacks: stacks}, nil
	}
	if stacks != nil {
		conds = append(conds, a.written(cond{stacks: stacks}))
	}
	all := cond{narrow: by == " OR "}
	for i, c := range conds {
		if i > 0 {
			all.text += by
		}
		all.text += "(" + c.text + ")"
		all.args = append(all.args, c.args...)
		all.cold = all.cold || c.cold
		if by == " AND " {
			all.narrow = all.narrow || c.narrow
		} else {
			all.narrow = all.narrow && c.narrow
		}
	}
	return all, nil
}

// text compares a text column.
func (a *asking) text(expr string, op query.Op, value string) cond {
	switch op {
	case query.Glob:
		text, arg := a.tx.Glob(expr, clean(value))
		return cond{text: text, args: []any{arg}}
	case query.NotEqual:
		return cond{text: expr + " <> ?", args: []any{clean(value)}}
	}
	return cond{text: expr + " = ?", args: []any{clean(value)}}
}

// number compares a column of numbers.
func number(expr string, op query.Op, value any) cond {
	sign := map[query.Op]string{
		query.Equal: "=", query.NotEqual: "<>", query.Less: "<", query.LessEqual: "<=", query.Greater: ">", query.GreaterEqual: ">=",
	}[op]
	return cond{text: expr + " " + sign + " ?", args: []any{value}}
}

// moment compares a column of times; one that is not known is never true.
func (a *asking) moment(expr string, op query.Op, value query.Value) cond {
	when := value.Time
	if when.IsZero() {
		when = a.now.Add(-value.Age)
	}
	c := number(expr, op, seconds(when))
	c.text = "(" + expr + " > 0 AND " + c.text + ")"
	return c
}
