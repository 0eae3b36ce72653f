package inventory

import (
	"cmp"
	"context"
	"slices"
	"time"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/inventory/query"
	"plimsoll.dev/plimsoll/internal/inventory/store"
)

// joiner joins facts with packages and findings. It remembers packages, advisories and
// sets while they are few enough, the stacks of a page, and the contents of the last one.
type joiner struct {
	mark     Mark // of what was read
	synced   time.Time
	silences map[int64][]silence // by advisory
	personal map[string]bool     // digests of images that a silence is about

	packages   map[int64]*known
	advisories map[int64]*artifact.Finding // without what is of a package
	sets       map[int64][]member
	stacks     map[int64]stack
	last       *contents
}

// How many are remembered before all are forgotten: tens of megabytes of each.
const (
	keptPackages = 100_000
	keptSets     = 5_000
)

// known is a package and what is found in it.
type known struct {
	artifact.Package
	purl     string
	matched  bool
	findings []found
}

// found is a finding of a package, wherever that is.
type found struct {
	advisory           int64
	fixed, state, feed string
	published          time.Time
}

// member is a package at its place in a set.
type member struct {
	id    int64
	place place
}

// contents is what all images of a stack have alike.
type contents struct {
	stack      int64
	packages   []artifact.Package
	inBase     []bool
	licences   []string
	findings   []artifact.Finding // nil: not all packages were matched
	advisories []int64            // of each of the findings
}

// begin reads what holds for all, and forgets what was read before and is so no more.
func (j *joiner) begin(ctx context.Context, tx store.Tx, now int64) error {
	mark, err := markOf(ctx, tx)
	if err != nil {
		return err
	}
	outdated, err := j.outdated(ctx, tx, mark)
	if err != nil {
		return err
	}
	at, err := tx.Int(ctx, "SELECT at FROM moments WHERE name = ?", syncedMoment)
	if err != nil {
		return err
	}
	all, err := silences(ctx, tx, now)
	if err != nil {
		return err
	}
	if outdated {
		j.forget()
	}
	if len(all)+len(j.silences) > 0 {
		j.last = nil // some say of its findings that they do not count
	}
	j.mark, j.synced = mark, moment(at)
	j.silences, j.personal = map[int64][]silence{}, map[string]bool{}
	for _, s := range all {
		j.silences[s.advisory] = append(j.silences[s.advisory], s)
		j.personal[s.image] = s.image != ""
	}
	return nil
}

func (j *joiner) forget() {
	j.packages, j.advisories, j.sets, j.last = map[int64]*known{}, map[int64]*artifact.Finding{}, map[int64][]member{}, nil
}

// prepare reads what join needs for the items and nobody has read before.
func (j *joiner) prepare(ctx context.Context, tx store.Tx, items []item) error {
	if len(j.packages) > keptPackages || len(j.sets) > keptSets {
		j.forget()
	}
	var stacks []int64
	for _, i := range items {
		stacks = append(stacks, i.stack)
	}
	sets, err := j.readStacks(ctx, tx, slices.Compact(stacks))
	if err != nil {
		return err
	}
	packages, err := j.readSets(ctx, tx, sets)
	if err != nil || len(packages) == 0 {
		return err
	}
	return j.readPackages(ctx, tx, packages)
}

// readStacks gives the sets of stacks that nobody has read.
func (j *joiner) readStacks(ctx context.Context, tx store.Tx, ids []int64) (missing []int64, err error) {
	j.stacks = map[int64]stack{}
	these, arg := tx.Ints("id", ids)
	err = tx.Each(ctx, func(scan func(...any) error) error {
		var id int64
		var row []byte
		err := scan(&id, &row)
		var s stack
		s.baseLayers, s.sets = decodeStack(nil, row)
		j.stacks[id] = s
		for _, p := range s.sets {
			if j.sets[p.set] == nil {
				missing = append(missing, p.set)
			}
		}
		return err
	}, "SELECT id, sets FROM stacks WHERE "+these, arg)
	return missing, err
}

// readSets reads sets, and gives those of their packages that nobody has read.
func (j *joiner) readSets(ctx context.Context, tx store.Tx, ids []int64) (missing []int64, err error) {
	if len(ids) == 0 {
		return nil, nil
	}
	these, arg := tx.Ints("id", ids)
	err = tx.Each(ctx, func(scan func(...any) error) error {
		var id int64
		var row, packed []byte
		if err := scan(&id, &row, &packed); err != nil {
			return err
		}
		places, err := decodePlaces(packed, func(int) bool { return true })
		members := []member{} // never nil: it is read
		for i, number := range decodeNumbers(nil, row) {
			members = append(members, member{int64(number), places[i]})
			if j.packages[int64(number)] == nil {
				missing = append(missing, int64(number))
			}
		}
		j.sets[id] = members
		return err
	}, "SELECT id, packages, places FROM sets WHERE "+these, arg)
	slices.Sort(missing)
	return slices.Compact(missing), err
}

// readPackages reads packages and what is found in them.
func (j *joiner) readPackages(ctx context.Context, tx store.Tx, ids []int64) error {
	these, arg := tx.Ints("p.id", ids)
	list, err := readPackages(ctx, tx, these, arg)
	if err != nil {
		return err
	}
	for _, p := range list {
		j.packages[p.ID] = &known{Package: p.Package, purl: p.PURL(), matched: true}
	}
	if len(list) < len(ids) {
		return damaged("a set names a package that is not there")
	}
	unmatched, err := tx.IDs(ctx, "SELECT p.id FROM packages p WHERE p.matched_at = 0 AND "+these, arg)
	if err != nil {
		return err
	}
	for _, id := range unmatched {
		j.packages[id].matched = false
	}
	var advisories []int64
	these, arg = tx.Ints("f.package", ids)
	err = tx.Each(ctx, func(scan func(...any) error) error {
		var id, published int64
		var f found
		err := scan(&id, &f.advisory, &f.fixed, &f.state, &f.feed, &published)
		f.published = moment(published)
		j.packages[id].findings = append(j.packages[id].findings, f)
		if j.advisories[f.advisory] == nil {
			advisories = append(advisories, f.advisory)
		}
		return err
	}, "SELECT f.package, f.advisory, f.fixed, f.state, f.feed, f.published FROM findings f JOIN advisories a ON a.id = f.advisory WHERE "+
		these+" AND f.gone = ? ORDER BY a.name", arg, int64(forever))
	if err != nil || len(advisories) == 0 {
		return err
	}
	slices.Sort(advisories)
	return j.readAdvisories(ctx, tx, slices.Compact(advisories))
}

func (j *joiner) readAdvisories(ctx context.Context, tx store.Tx, ids []int64) error {
	these, arg := tx.Ints("id", ids)
	err := tx.Each(ctx, func(scan func(...any) error) error {
		var id int64
		var severity int
		var exploited int64
		f := &artifact.Finding{}
		err := scan(&id, &f.ID, &f.Summary, &severity, &f.Score, &f.Vector, &exploited, &f.EPSS)
		f.Severity, f.KnownExploited = artifact.Severity(query.SeverityOf(severity)), exploited == 1
		j.advisories[id] = f
		return err
	}, "SELECT id, name, summary, severity, score, vector, exploited, epss FROM advisories WHERE "+these, arg)
	if err != nil {
		return err
	}
	these, arg = tx.Ints("advisory", ids)
	return tx.Each(ctx, func(scan func(...any) error) error {
		var id int64
		var name string
		err := scan(&id, &name)
		if f := j.advisories[id]; f != nil && f.ID != name {
			f.Aliases = append(f.Aliases, name)
		}
		return err
	}, "SELECT advisory, name FROM advisory_names WHERE "+these+" ORDER BY name", arg)
}

// join adds to the facts what is known of the stack; nothing when there is none.
func (j *joiner) join(f *artifact.Facts, number int64) {
	if number == 0 {
		return
	}
	if j.last == nil || j.last.stack != number {
		j.last = j.contents(number)
	}
	c := j.last
	f.Packages, f.InBase, f.Licenses, f.Findings = c.packages, c.inBase, c.licences, c.findings
	if !j.synced.IsZero() {
		f.Advisories = j.synced
	}
	digest, err := digestBytes(f.Image.Digest)
	if err != nil || !j.personal[string(digest)] {
		return
	}
	f.Findings = slices.Clone(f.Findings)
	for i := range f.Findings {
		j.silence(&f.Findings[i], c.advisories[i], string(digest))
	}
}

// contents puts together what the images of a stack hold.
func (j *joiner) contents(number int64) *contents {
	type placed struct {
		*known
		at place
		in bool
	}
	var all []placed
	findings := 0
	for _, s := range j.stacks[number].sets {
		for _, m := range j.sets[s.set] {
			all = append(all, placed{j.packages[m.id], m.place, s.position < j.stacks[number].baseLayers})
			findings += len(j.packages[m.id].findings)
		}
	}
	slices.SortStableFunc(all, func(a, b placed) int {
		return cmp.Or(cmp.Compare(a.purl, b.purl), slices.Compare(a.at.Paths, b.at.Paths))
	})
	c := &contents{stack: number, packages: make([]artifact.Package, len(all)), inBase: make([]bool, len(all)), licences: []string{}}
	c.findings, c.advisories = make([]artifact.Finding, 0, findings), make([]int64, 0, findings)
	matched := true
	for i, p := range all {
		c.packages[i], c.inBase[i] = p.Package, p.in
		c.packages[i].Paths, c.packages[i].FoundBy = p.at.Paths, p.at.FoundBy
		c.licences = append(c.licences, p.Licenses...)
		matched = matched && p.matched
		for _, found := range p.findings {
			j.find(c, c.packages[i], p.in, found)
		}
	}
	if !matched {
		c.findings, c.advisories = nil, nil
	}
	slices.Sort(c.licences)
	c.licences = slices.Compact(c.licences)
	return c
}

func (j *joiner) find(c *contents, p artifact.Package, inBase bool, found found) {
	f := *j.advisories[found.advisory]
	f.Package, f.Fixed, f.State, f.Source, f.Published = p, found.fixed, found.state, found.feed, found.published
	f.Remedy = artifact.RemedyOf(p, inBase, found.fixed)
	j.silence(&f, found.advisory, "")
	c.findings, c.advisories = append(c.findings, f), append(c.advisories, found.advisory)
}

// silence says of a finding that it does not count where a suppression for that image, or
// for all where it is "", covers it.
func (j *joiner) silence(f *artifact.Finding, advisory int64, image string) {
	if f.Suppressed != nil {
		return
	}
	for _, s := range j.silences[advisory] {
		if s.image == image && s.covers(f.Package) {
			said := s.said
			f.Suppressed = &said
			return
		}
	}
}
