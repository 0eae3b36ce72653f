package inventory

import (
	"fmt"
	"slices"
	"strings"

	"plimsoll.dev/plimsoll/internal/inventory/query"
)

// findingsFrom joins what advisoryTerm's conditions are about.
const findingsFrom = " FROM findings f JOIN advisories a ON a.id = f.advisory WHERE "

// advisoryTerm translates a condition about the finding f and its advisory a.
func (a *asking) advisoryTerm(e query.Expr, _ bool) (cond, error) {
	c, ok := e.(query.Compare)
	if !ok {
		return never, fmt.Errorf("no condition of advisories: %T", e)
	}
	switch c.Field {
	case query.ID:
		op, not := positive(c.Op)
		inner := a.text("n.name", op, c.Value.Text)
		if op == query.Equal { // "cve-2025-9230" is understood
			inner = cond{text: "n.name IN (?, ?)", args: []any{clean(c.Value.Text), strings.ToUpper(clean(c.Value.Text))}}
		}
		return cond{text: "a.id" + not + " IN (SELECT n.advisory FROM advisory_names n WHERE " + inner.text + ")", args: inner.args}, nil
	case query.Severity:
		return number("a.severity", c.Op, int64(c.Value.Number)), nil
	case query.Score:
		return number("a.score", c.Op, c.Value.Number), nil
	case query.EPSS:
		return number("a.epss", c.Op, c.Value.Number), nil
	case query.Exploited:
		return cond{text: "a.exploited = 1"}, nil
	case query.Fixable:
		return cond{text: "f.fixed <> ''"}, nil
	case query.State:
		return a.text("f.state", c.Op, c.Value.Text), nil
	case query.Feed:
		return a.text("f.feed", c.Op, c.Value.Text), nil
	case query.Published:
		return a.moment("f.published", c.Op, c.Value), nil
	case query.Modified:
		return a.moment("a.modified", c.Op, c.Value), nil
	case query.Since:
		return a.moment("f.since", c.Op, c.Value), nil
	}
	return never, fmt.Errorf("no field of advisories: %s", c.Field)
}

// standingThen is true for findings that stood at the moment asked about.
func (a *asking) standingThen() cond {
	if a.q.AsOf.IsZero() {
		return cond{text: "f.gone = ?", args: []any{int64(forever)}}
	}
	return cond{text: "f.since <= ? AND f.gone > ?", args: []any{a.at, a.at}}
}

// findings translates what is in affected by ( … ), for findings that stood then.
func (a *asking) findings(e query.Affected) (cond, error) {
	where, err := a.compile(e.Where, true, a.advisoryTerm)
	span := a.standingThen()
	return cond{text: span.text + " AND (" + where.text + ")", args: slices.Concat(span.args, where.args)}, err
}

// affected is true for images with a finding that no suppression covers.
func (a *asking) affected(e query.Affected, shown bool) (cond, error) {
	ids, doubtful, err := a.affectedPackages(e)
	if err != nil {
		return never, err
	}
	packages := membersOf(ids)
	if shown {
		where, err := a.findings(e)
		if err != nil {
			return never, err
		}
		a.matches = append(a.matches, &matching{packages: packages, findings: &where})
	}
	c := cond{stacks: a.having(packages)}
	spared, err := a.spared(packages, doubtful)
	if err != nil || len(spared) == 0 {
		return c, err
	}
	c = a.written(c)
	text, arg := a.tx.Ints("i.id", spared)
	return cond{text: "(" + c.text + ") AND NOT (" + text + ")", args: append(c.args, arg), narrow: c.narrow}, nil
}

// affectedPackages gives the packages with a finding that is not suppressed for all
// images. Of those whose every finding is doubtful, because a suppression speaks of its
// advisory, it gives the findings.
func (a *asking) affectedPackages(e query.Affected) (ids []int64, doubtful map[int64][]int64, err error) {
	where, err := a.findings(e)
	if err != nil {
		return nil, nil, err
	}
	if len(a.silences) == 0 {
		ids, err = a.tx.IDs(a.ctx, "SELECT DISTINCT f.package"+findingsFrom+where.text, where.args...)
		return ids, nil, err
	}
	var spoken []int64
	for _, s := range a.silences {
		spoken = append(spoken, s.advisory)
	}
	text, arg := a.tx.Ints("f.advisory", spoken)
	ids, err = a.tx.IDs(a.ctx, "SELECT DISTINCT f.package"+findingsFrom+where.text+" AND NOT ("+text+")", append(slices.Clone(where.args), arg)...)
	if err != nil {
		return nil, nil, err
	}
	certain := membersOf(ids)
	pairs := map[int64][]int64{}
	err = a.tx.Each(a.ctx, func(scan func(...any) error) error {
		var pkg, advisory int64
		err := scan(&pkg, &advisory)
		if !certain.has(pkg) {
			pairs[pkg] = append(pairs[pkg], advisory)
		}
		return err
	}, "SELECT f.package, f.advisory"+findingsFrom+where.text+" AND "+text, append(slices.Clone(where.args), arg)...)
	if err != nil {
		return nil, nil, err
	}
	doubtful, err = a.unsilenced(pairs, "")
	for pkg := range doubtful {
		ids = append(ids, pkg)
	}
	return ids, doubtful, err
}

// unsilenced leaves out the findings that are suppressed for all images, when image is "",
// or for that image.
func (a *asking) unsilenced(pairs map[int64][]int64, image string) (map[int64][]int64, error) {
	var ids []int64
	for pkg := range pairs {
		ids = append(ids, pkg)
	}
	condition, arg := a.tx.Ints("p.id", ids)
	packages, err := readPackages(a.ctx, a.tx, condition, arg)
	left := map[int64][]int64{}
	for _, p := range packages {
		for _, advisory := range pairs[p.ID] {
			if !slices.ContainsFunc(a.silences, func(s silence) bool {
				return s.advisory == advisory && s.image == image && s.covers(p.Package)
			}) {
				left[p.ID] = append(left[p.ID], advisory)
			}
		}
	}
	return left, err
}

// spared gives the images all whose findings are suppressed for them alone.
func (a *asking) spared(packages members, doubtful map[int64][]int64) ([]int64, error) {
	digests := map[string]bool{}
	for _, s := range a.silences {
		digests[s.image] = s.image != ""
	}
	var spared []int64
	for digest, one := range digests {
		if !one {
			continue
		}
		var id, number int64
		err := a.tx.Each(a.ctx, func(scan func(...any) error) error { return scan(&id, &number) },
			"SELECT id, stack FROM images WHERE digest = ?", []byte(digest))
		if err != nil {
			return nil, err
		}
		pairs, certain := map[int64][]int64{}, id == 0
		for pkg := range a.packagesOf(number) {
			switch advisories, inDoubt := doubtful[pkg]; {
			case inDoubt:
				pairs[pkg] = advisories
			case packages.has(pkg):
				certain = true
			}
		}
		if certain || len(pairs) == 0 {
			continue
		}
		left, err := a.unsilenced(pairs, digest)
		if err != nil {
			return nil, err
		}
		if len(left) == 0 {
			spared = append(spared, id)
		}
	}
	return spared, nil
}
