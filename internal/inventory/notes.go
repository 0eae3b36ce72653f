package inventory

import (
	"slices"
	"strings"

	"plimsoll.dev/plimsoll/internal/inventory/query"
)

// notes gives a line for each name in the question that nothing here ever had: no image may
// be the answer because none is affected, or because the name is written wrongly.
func (a *asking) notes() ([]string, error) {
	some, err := a.has("images", "1 = 1")
	if err != nil || !some {
		return []string{"the inventory is empty: it knows what was built, rebased or imported here, and what `plimsoll inventory rebuild` reads"}, err
	}
	var notes []string
	for _, name := range namesIn(a.q.Where) {
		known, what := false, ""
		if name.advisory {
			what = "no finding here was ever known by the name "
			known, err = a.has("advisory_names n", "n.name IN (?, ?)", clean(name.text), strings.ToUpper(clean(name.text)))
		} else {
			what = "nothing here is known by the name "
			known, err = a.has("packages p", "p.title = ? OR p.source = ?", clean(name.text), clean(name.text))
		}
		if err != nil {
			return nil, err
		}
		if note := what + name.text; !known && !slices.Contains(notes, note) {
			notes = append(notes, note)
		}
	}
	return notes, nil
}

// has says whether a table has such a row.
func (a *asking) has(table, where string, args ...any) (bool, error) {
	n, err := a.tx.Int(a.ctx, "SELECT count(*) FROM (SELECT 1 FROM "+table+" WHERE "+where+" LIMIT 1) x", args...)
	return n > 0, err
}

// asked is a name in a question: of an advisory, or of a package or its source.
type asked struct {
	advisory bool
	text     string
}

// namesIn gives the names that a condition asks for in full.
func namesIn(e query.Expr) []asked {
	var all []asked
	switch e := e.(type) {
	case query.And:
		for _, part := range e.All {
			all = append(all, namesIn(part)...)
		}
	case query.Or:
		for _, part := range e.Any {
			all = append(all, namesIn(part)...)
		}
	case query.Not:
		return namesIn(e.Expr)
	case query.Contains:
		return namesIn(e.Where)
	case query.Affected:
		return namesIn(e.Where)
	case query.Package:
		return []asked{{false, e.Name}}
	case query.Compare:
		if e.Op == query.Equal && (e.Field == query.ID || e.Field == query.Name) {
			return []asked{{e.Field == query.ID, e.Value.Text}}
		}
	}
	return all
}
