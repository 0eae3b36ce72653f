package inventory

import (
	"context"
	"crypto/sha256"
	"slices"
	"strconv"
	"time"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/inventory/query"
	"plimsoll.dev/plimsoll/internal/inventory/store"
)

// Finding is an advisory that concerns a package, wherever it is. Of artifact.Finding the
// index takes all but Package, which is PackageID's, Remedy, which follows from the image,
// and Suppressed, which Suppress takes.
type Finding struct {
	PackageID int64
	artifact.Finding

	Modified time.Time // of the advisory; zero when it does not say
}

// Matcher finds what concerns the packages.
type Matcher func(ctx context.Context, packages []Package) ([]Finding, error)

// Rematched is what a match changed.
type Rematched struct {
	Packages int `json:"packages"` // that were looked at
	Findings int `json:"findings"` // that stand for them now
	New      int `json:"new"`      // that did not stand before
	Gone     int `json:"gone"`     // that stand no more
}

// Rematch calls match for the packages chosen, some thousand at a time, and sets their
// findings to what it gives. A new advisory needs only the packages of its names, a new
// image only those that are unmatched.
func (inv *Inventory) Rematch(ctx context.Context, which Which, match Matcher) (Rematched, error) {
	var sum Rematched
	for last := int64(0); ; {
		some, err := inv.packagesAfter(ctx, which, last)
		if err != nil || len(some) == 0 {
			return sum, err
		}
		findings, err := match(ctx, some)
		if err != nil {
			return sum, err
		}
		var ids []int64
		for _, p := range some {
			ids = append(ids, p.ID)
		}
		changed, err := inv.SetFindings(ctx, ids, findings)
		if err != nil {
			return sum, err
		}
		sum.Packages += changed.Packages
		sum.Findings += changed.Findings
		sum.New += changed.New
		sum.Gone += changed.Gone
		last = some[len(some)-1].ID
	}
}

// SetFindings says that these findings, and no others, concern the packages of those
// numbers. What stood before keeps the time since when; what stands no more is kept as
// history. Findings of other packages are left out.
func (inv *Inventory) SetFindings(ctx context.Context, packages []int64, findings []Finding) (Rematched, error) {
	s := setting{ctx: ctx, now: seconds(inv.now())}
	err := inv.db.Write(ctx, func(tx store.Tx) error {
		s.tx = tx
		return s.run(packages, findings)
	})
	return s.sum, err
}

// setting is one SetFindings in its transaction.
type setting struct {
	ctx context.Context
	tx  store.Tx
	now int64
	sum Rematched

	touched, retold []int64 // packages and advisories of which something is known otherwise
}

type pair struct{ pkg, advisory int64 }

// standing is a finding in the tables.
type standing struct {
	since              int64
	fixed, state, feed string
	published          int64
	name               string // of its advisory
}

func (s *setting) run(packages []int64, findings []Finding) error {
	mine := membersOf(packages)
	findings = slices.DeleteFunc(slices.Clone(findings), func(f Finding) bool { return !mine.has(f.PackageID) || f.ID == "" })
	advisories, err := s.advisories(findings)
	if err != nil {
		return err
	}
	before, err := s.standing(packages)
	if err != nil {
		return err
	}
	now := map[pair]*Finding{}
	for i := range findings {
		now[pair{findings[i].PackageID, advisories[clean(findings[i].ID)]}] = &findings[i]
	}
	gone, heirs := s.gone(before, now)
	if err := s.write(before, now, heirs); err != nil {
		return err
	}
	for _, p := range gone {
		if err := s.close(p, before[p]); err != nil {
			return err
		}
	}
	s.sum.Packages, s.sum.Findings, s.sum.Gone = len(packages), len(now), len(gone)
	if err := s.matched(packages); err != nil {
		return err
	}
	return noteNews(s.ctx, s.tx, s.touched, s.retold)
}

// matched says that the packages were held against advisories.
func (s *setting) matched(packages []int64) error {
	these, arg := s.tx.Ints("id", packages)
	first, err := s.tx.IDs(s.ctx, "SELECT id FROM packages WHERE matched_at = 0 AND "+these, arg)
	if err != nil || len(first) == 0 {
		return err
	}
	s.touched = append(s.touched, first...)
	these, arg = s.tx.Ints("id", first)
	_, err = s.tx.Exec(s.ctx, "UPDATE packages SET matched_at = ? WHERE "+these, s.now, arg)
	return err
}

// standing gives the findings that stand for the packages.
func (s *setting) standing(packages []int64) (map[pair]standing, error) {
	all := map[pair]standing{}
	condition, arg := s.tx.Ints("f.package", packages)
	err := s.tx.Each(s.ctx, func(scan func(...any) error) error {
		var p pair
		var f standing
		err := scan(&p.pkg, &p.advisory, &f.since, &f.fixed, &f.state, &f.feed, &f.published, &f.name)
		all[p] = f
		return err
	}, "SELECT f.package, f.advisory, f.since, f.fixed, f.state, f.feed, f.published, a.name FROM findings f JOIN advisories a ON a.id = f.advisory WHERE "+
		condition+" AND f.gone = ?", arg, int64(forever))
	return all, err
}

// gone gives the findings that stand no more, and since when those stood that live on
// under another name: a feed may learn that a DSA is a CVE.
func (s *setting) gone(before map[pair]standing, now map[pair]*Finding) (gone []pair, heirs map[pair]int64) {
	type called struct {
		pkg  int64
		name string
	}
	names := map[called]int64{}
	for p, f := range before {
		if now[p] == nil {
			gone = append(gone, p)
			names[called{p.pkg, f.name}] = f.since
		}
	}
	heirs = map[pair]int64{}
	for p, f := range now {
		for _, alias := range f.Aliases {
			if since, found := names[called{p.pkg, clean(alias)}]; found && (heirs[p] == 0 || since < heirs[p]) {
				heirs[p] = since
			}
		}
	}
	return gone, heirs
}

// write adds findings that are new and mends those that are known otherwise.
func (s *setting) write(before map[pair]standing, now map[pair]*Finding, heirs map[pair]int64) error {
	var fresh [][]any
	for p, f := range now {
		fixed, state, feed, published := clean(f.Fixed), clean(f.State), clean(f.Source), seconds(f.Published)
		was, known := before[p]
		if known && was.fixed == fixed && was.state == state && was.feed == feed && was.published == published {
			continue
		}
		s.touched = append(s.touched, p.pkg)
		if !known {
			since := s.now
			if heirs[p] != 0 {
				since = heirs[p]
			}
			fresh = append(fresh, []any{p.pkg, p.advisory, int64(forever), since, fixed, state, feed, published})
			continue
		}
		_, err := s.tx.Exec(s.ctx, "UPDATE findings SET fixed = ?, state = ?, feed = ?, published = ? WHERE package = ? AND advisory = ? AND gone = ?",
			fixed, state, feed, published, p.pkg, p.advisory, int64(forever))
		if err != nil {
			return err
		}
	}
	slices.SortFunc(fresh, func(a, b []any) int { return int(a[0].(int64) - b[0].(int64)) })
	s.sum.New = len(fresh)
	return s.tx.Insert(s.ctx, store.Table{Name: "findings", Columns: "package, advisory, gone, since, fixed, state, feed, published"}, fresh)
}

// close ends a finding. One that came and went within a second leaves no trace.
func (s *setting) close(p pair, f standing) error {
	s.touched = append(s.touched, p.pkg)
	if _, err := s.tx.Exec(s.ctx, "DELETE FROM findings WHERE package = ? AND advisory = ? AND gone = ?", p.pkg, p.advisory, s.now); err != nil {
		return err
	}
	statement, args := "UPDATE findings SET gone = ? WHERE", []any{s.now, p.pkg, p.advisory, int64(forever)}
	if f.since >= s.now {
		statement, args = "DELETE FROM findings WHERE", args[1:]
	}
	_, err := s.tx.Exec(s.ctx, statement+" package = ? AND advisory = ? AND gone = ?", args...)
	return err
}

// advisories gives the numbers of the findings' advisories, and writes those that are new
// or known otherwise.
func (s *setting) advisories(findings []Finding) (map[string]int64, error) {
	last := map[string]*Finding{}
	var names []string
	for i := range findings {
		name := clean(findings[i].ID)
		if last[name] == nil {
			names = append(names, name)
		}
		last[name] = &findings[i]
	}
	slices.Sort(names)
	numbers, keys := map[string]int64{}, map[string]key{}
	condition, arg := s.tx.Texts("name", names)
	err := s.tx.Each(s.ctx, func(scan func(...any) error) error {
		var name string
		var id int64
		var sum []byte
		err := scan(&name, &id, &sum)
		numbers[name] = id
		keys[name] = key(sum)
		return err
	}, "SELECT name, id, key FROM advisories WHERE "+condition, arg)
	if err != nil {
		return nil, err
	}
	names = slices.DeleteFunc(names, func(name string) bool {
		sum, known := keys[name]
		return known && sum == advisoryKey(last[name])
	})
	return numbers, s.writeAdvisories(names, last, numbers)
}

func advisoryKey(f *Finding) key {
	h := sha256.New()
	writeText(h, f.ID, f.Summary, string(f.Severity), f.Vector)
	writeText(h, f.Aliases...)
	for _, n := range []float64{f.Score, f.EPSS, truth(f.KnownExploited), float64(seconds(f.Modified))} {
		writeText(h, strconv.FormatFloat(n, 'g', -1, 64))
	}
	return key(h.Sum(nil))
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

func (s *setting) writeAdvisories(names []string, of map[string]*Finding, numbers map[string]int64) error {
	var fresh int
	var ids []int64
	for _, name := range names {
		if numbers[name] == 0 {
			fresh++
		}
	}
	next, err := s.tx.Take(s.ctx, "advisories", fresh)
	if err != nil {
		return err
	}
	var rows, aliases [][]any
	for _, name := range names {
		if numbers[name] == 0 {
			numbers[name] = next
			next++
		}
		f, id := of[name], numbers[name]
		sum := advisoryKey(f)
		ids = append(ids, id)
		s.retold = append(s.retold, id)
		rows = append(rows, []any{
			id, name, sum[:], query.SeverityRank(string(f.Severity)), f.Score, clean(f.Vector), clean(f.Summary),
			int64(truth(f.KnownExploited)), f.EPSS, seconds(f.Modified),
		})
		for _, alias := range merge([]string{name}, cleanAll(f.Aliases, maxPaths-1)) {
			aliases = append(aliases, []any{alias, id})
		}
	}
	byID, first := s.tx.Ints("id", ids)
	if _, err := s.tx.Exec(s.ctx, "DELETE FROM advisories WHERE "+byID, first); err != nil {
		return err
	}
	byAdvisory, second := s.tx.Ints("advisory", ids)
	if _, err := s.tx.Exec(s.ctx, "DELETE FROM advisory_names WHERE "+byAdvisory, second); err != nil {
		return err
	}
	err = s.tx.Insert(s.ctx, store.Table{
		Name: "advisories", Columns: "id, name, key, severity, score, vector, summary, exploited, epss, modified",
	}, rows)
	if err != nil {
		return err
	}
	return s.tx.Insert(s.ctx, store.Table{Name: "advisory_names", Columns: "name, advisory"}, aliases)
}
