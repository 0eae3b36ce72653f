package inventory

import (
	"context"
	"maps"
	"slices"

	"plimsoll.dev/plimsoll/internal/inventory/store"
)

// newsCounter numbers the transactions that changed facts.
const newsCounter = "news"

// Mark is a moment in the order of changes, of this or of any other process; 0 is before all.
type Mark int64

// Mark gives the mark of now: News since then are what comes.
func (inv *Inventory) Mark(ctx context.Context) (Mark, error) {
	var now Mark
	err := inv.db.Read(ctx, func(tx store.Tx) (err error) {
		now, err = markOf(ctx, tx)
		return err
	})
	return now, err
}

func markOf(ctx context.Context, tx store.Tx) (Mark, error) {
	next, err := tx.Int(ctx, "SELECT next FROM counters WHERE name = ?", newsCounter)
	return Mark(max(0, next-1)), err
}

// News gives the manifests whose facts may have changed since the mark, by repository and
// digest, and the mark to ask with the next time, after an error the same: new facts, another account of what an
// image holds, findings that are new, gone or told otherwise, suppressions that begin or
// end. Whoever decides anew what it gives needs nothing else of a change. own are marks that PutFacts
// gave to whoever asks: those facts are no news to him.
func (inv *Inventory) News(ctx context.Context, since Mark, own ...Mark) ([]Manifest, Mark, error) {
	all := []Manifest{} // a selection of none, not of all
	now := since
	err := inv.db.Read(ctx, func(tx store.Tx) error {
		var err error
		if now, err = markOf(ctx, tx); err != nil || now == since {
			return err
		}
		from := since
		if now < since { // it is of a database that was there before this one
			from = 0
		}
		a := &asking{ctx: ctx, tx: tx}
		if a.view, err = inv.stacks.load(ctx, tx); err != nil {
			return err
		}
		all, err = a.newsSince(int64(from), own)
		return err
	})
	if err != nil {
		return nil, since, err
	}
	return all, now, nil
}

func (a *asking) newsSince(since int64, own []Mark) ([]Manifest, error) {
	packages, err := a.tx.IDs(a.ctx, "SELECT p.id FROM packages p WHERE p.news > ?", since)
	if err != nil {
		return nil, err
	}
	spoken, digests, err := a.spokenSince(since)
	if err != nil {
		return nil, err
	}
	marked := membersOf(append(packages, spoken...))
	images, arg := a.tx.Blobs("i.digest", digests)
	either := cond{text: images, args: []any{arg}}
	if len(marked) > 0 {
		stacks := a.written(cond{stacks: a.having(marked)})
		either = cond{text: either.text + " OR " + stacks.text, args: append(either.args, stacks.args...)}
	}
	put := make([]int64, len(own))
	for i, mark := range own {
		put[i] = int64(mark)
	}
	theirs, arg := a.tx.Ints("f.news", put)
	numbers, err := a.tx.IDs(a.ctx, "SELECT f.manifest FROM facts f WHERE f.news > ? AND NOT "+theirs, since, arg)
	if err != nil {
		return nil, err
	}
	of, err := a.tx.IDs(a.ctx, "SELECT m.id FROM manifests m JOIN images i ON i.digest = m.digest WHERE "+either.text, either.args...)
	if err != nil {
		return nil, err
	}
	these, arg := a.tx.Ints("m.id", append(numbers, of...))
	return readManifests(a.ctx, a.tx, cond{text: these, args: []any{arg}})
}

// spokenSince gives what suppressions that began or ended since then are about: packages
// with findings of an advisory, or the digests of images that one alone is about.
func (a *asking) spokenSince(since int64) (packages []int64, digests [][]byte, err error) {
	names := map[string]bool{}
	err = a.tx.Each(a.ctx, func(scan func(...any) error) error {
		var name string
		var digest []byte
		err := scan(&name, &digest)
		if len(digest) > 0 {
			digests = append(digests, digest)
		} else {
			names[name] = true
		}
		return err
	}, "SELECT advisory, image FROM suppressions WHERE news > ?", since)
	if err != nil || len(names) == 0 {
		return nil, digests, err
	}
	known, arg := a.tx.Texts("n.name", slices.Sorted(maps.Keys(names)))
	packages, err = a.tx.IDs(a.ctx, "SELECT DISTINCT f.package FROM findings f JOIN advisory_names n ON n.advisory = f.advisory WHERE "+
		known+" AND f.gone = ?", arg, int64(forever))
	return packages, digests, err
}

// noteNews marks the packages, and all in which one of the advisories was found.
func noteNews(ctx context.Context, tx store.Tx, packages, advisories []int64) error {
	if len(packages)+len(advisories) == 0 {
		return nil
	}
	of, arg := tx.Ints("f.advisory", advisories)
	retold, err := tx.IDs(ctx, "SELECT DISTINCT f.package FROM findings f WHERE f.gone = ? AND "+of, int64(forever), arg)
	if err != nil {
		return err
	}
	news, err := tx.Take(ctx, newsCounter, 1)
	if err != nil {
		return err
	}
	these, arg := tx.Ints("id", append(retold, packages...))
	_, err = tx.Exec(ctx, "UPDATE packages SET news = ? WHERE "+these, news, arg)
	return err
}

// noteNews says of facts that were put before that another account of their image is there.
func (p *putting) noteNews(changed []*entry) error {
	var digests [][]byte
	for _, e := range changed {
		digests = append(digests, e.digest)
	}
	these, arg := p.tx.Blobs("m.digest", digests)
	known, err := p.tx.IDs(p.ctx, "SELECT f.manifest FROM facts f JOIN manifests m ON m.id = f.manifest WHERE "+these, arg)
	if err != nil || len(known) == 0 {
		return err
	}
	news, err := p.tx.Take(p.ctx, newsCounter, 1)
	if err != nil {
		return err
	}
	these, arg = p.tx.Ints("manifest", known)
	_, err = p.tx.Exec(p.ctx, "UPDATE facts SET news = ? WHERE "+these, news, arg)
	return err
}
