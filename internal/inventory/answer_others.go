package inventory

import (
	"cmp"
	"database/sql"
	"maps"
	"slices"
	"time"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/inventory/query"
)

// PackageAnswer is one package of an answer.
type PackageAnswer struct {
	Package
	PURL   string `json:"purl"`
	Images int    `json:"images"` // that hold it
}

// AdvisoryAnswer is one advisory of an answer.
type AdvisoryAnswer struct {
	ID        string            `json:"id"`
	Aliases   []string          `json:"aliases,omitempty"`
	Summary   string            `json:"summary,omitempty"`
	Severity  artifact.Severity `json:"severity"`
	Score     float64           `json:"score,omitempty"`
	EPSS      float64           `json:"epss,omitempty"`
	Exploited bool              `json:"exploited,omitempty"`
	Published time.Time         `json:"published,omitzero"` // the first of its findings
	Modified  time.Time         `json:"modified,omitzero"`
	Since     time.Time         `json:"since"`             // from when on the index knew of a finding by it
	Fixable   bool              `json:"fixable,omitempty"` // for at least one package
	Packages  int               `json:"packages"`          // that it concerns
	Images    int               `json:"images"`            // that hold one of them
}

// Fix is one way to get rid of findings, and how many images need it.
type Fix struct {
	Advisory string          `json:"advisory"`
	Package  string          `json:"package"` // as the advisory names it: the source package of a distribution
	Fixed    string          `json:"fixed,omitempty"`
	Remedy   artifact.Remedy `json:"remedy"`
	Images   int             `json:"images"`
}

// used counts the images of each stack that the condition is true for. Those of few stacks
// are counted sooner than all, when nobody has done that yet.
func (a *asking) used(c cond) ([]int, error) {
	where := a.within(c, c.cold && !c.narrow)
	if c.stacks == nil || where.narrow {
		return a.countStacks(where)
	}
	all, err := a.usedAtAll()
	counts := make([]int, len(all))
	for id, count := range all {
		if c.stacks.has(int64(id)) {
			counts[id] = count
		}
	}
	return counts, err
}

// usedAtAll counts the images of each stack at the moment asked about.
func (a *asking) usedAtAll() ([]int, error) {
	count := func() ([]int, error) { return a.countStacks(a.within(always, false)) }
	if a.q.Ever || !a.q.AsOf.IsZero() {
		return count()
	}
	return a.memory.held(a.ctx, a.tx, count)
}

func (a *asking) countStacks(where cond) ([]int, error) {
	counts := make([]int, len(a.stacks))
	err := a.tx.Each(a.ctx, func(scan func(...any) error) error {
		var id int64
		var count int
		err := scan(&id, &count)
		counts[id] = count
		return err
	}, "SELECT i.stack, count(*) FROM images i WHERE "+where.text+" GROUP BY i.stack", where.args...)
	return counts, err
}

// tally counts for each group that packages belong to the images that hold one of them:
// counts are the images of each stack; inBase and above give the groups of a package by
// where in an image it stands. Without above it makes no difference.
func (v view) tally(counts []int, inBase, above map[int64][]int, groups int) []int {
	low := v.groupsOfSets(inBase, nil)
	high := low
	if len(above) > 0 {
		high = v.groupsOfSets(above, nil)
	}
	return v.tallySets(counts, low, high, groups)
}

// tallySets is tally with the groups of each set.
func (v view) tallySets(counts []int, low, high [][]int, groups int) []int {
	totals, last := make([]int, groups), make([]int, groups)
	for id, count := range counts {
		if count == 0 {
			continue
		}
		stack := v.stacks[id]
		for _, s := range stack.sets {
			of := high
			if s.position < stack.baseLayers {
				of = low
			}
			for _, group := range of[s.set] {
				if last[group] != id+1 { // once for each stack
					last[group] = id + 1
					totals[group] += count
				}
			}
		}
	}
	return totals
}

// groupsOfSets gives the groups of each set's packages; of some packages in some sets they
// are others.
func (v view) groupsOfSets(of map[int64][]int, others map[spot][]int) [][]int {
	grouped := membersOf(slices.Collect(maps.Keys(of))) // a map is too slow for every package of every set
	bySet := make([][]int, len(v.sets))
	for id, set := range v.sets {
		for _, p := range set {
			if int(p) < len(grouped) && grouped[p] == 1 {
				groups := of[int64(p)]
				if len(others) > 0 {
					if other, differs := others[spot{int64(p), positioned{set: int64(id)}}]; differs {
						groups = other
					}
				}
				bySet[id] = append(bySet[id], groups...)
			}
		}
	}
	return bySet
}

func (a *asking) answerPackages(result *Result) error {
	counts, err := a.usedAtAll()
	if err != nil {
		return err
	}
	where, err := a.compile(a.q.Where, true, a.packageTerm)
	if err != nil {
		return err
	}
	held := a.held(counts)
	type titled struct {
		id   int64
		name string
	}
	var all []titled
	err = a.tx.Each(a.ctx, func(scan func(...any) error) error {
		var t titled
		err := scan(&t.id, &t.name)
		if held.has(t.id) {
			all = append(all, t)
		}
		return err
	}, "SELECT p.id, p.title FROM packages p WHERE "+where.text, where.args...)
	if err != nil {
		return err
	}
	result.Total = len(all)
	slices.SortFunc(all, func(x, y titled) int { return cmp.Or(cmp.Compare(x.name, y.name), cmp.Compare(x.id, y.id)) })
	if a.after != nil {
		all = slices.DeleteFunc(all, func(t titled) bool {
			return cmp.Or(cmp.Compare(t.name, a.after.Text), cmp.Compare(t.id, a.after.ID)) <= 0
		})
	}
	if len(all) > a.limit {
		all = all[:a.limit]
		last := all[len(all)-1]
		result.Next = cursor{last.name, last.id}.String()
	}
	var ids []int64
	group := map[int64][]int{}
	for i, t := range all {
		ids = append(ids, t.id)
		group[t.id] = []int{i}
	}
	condition, arg := a.tx.Ints("p.id", ids)
	packages, err := readPackages(a.ctx, a.tx, condition, arg)
	totals := a.tally(counts, group, nil, len(all))
	result.Packages = make([]PackageAnswer, len(all))
	for _, p := range packages {
		i := group[p.ID][0]
		result.Packages[i] = PackageAnswer{Package: p, PURL: p.PURL(), Images: totals[i]}
	}
	return err
}

// held marks the packages of the stacks that images have.
func (a *asking) held(counts []int) members {
	sets := make([]bool, len(a.sets))
	for id, count := range counts {
		if count > 0 {
			for _, s := range a.stacks[id].sets {
				sets[s.set] = true
			}
		}
	}
	var held members
	for id, set := range a.sets {
		if sets[id] && len(set) > 0 {
			held = grow(held, int64(set[len(set)-1])+1)
			for _, p := range set {
				held[p] = 1
			}
		}
	}
	return held
}

// answerAdvisories gives advisories with a finding that counts for at least one image.
func (a *asking) answerAdvisories(result *Result) error {
	counts, err := a.usedAtAll()
	if err != nil {
		return err
	}
	where, err := a.findings(query.Affected{Where: a.q.Where})
	if err != nil {
		return err
	}
	concerned, err := a.concerned(where)
	if err != nil {
		return err
	}
	held := a.held(counts)
	for id, packages := range concerned {
		packages = slices.DeleteFunc(packages, func(p int64) bool { return !held.has(p) })
		if concerned[id] = packages; len(packages) == 0 {
			delete(concerned, id)
		}
	}
	result.Total = len(concerned)
	all, err := a.readAdvisories(slices.Sorted(maps.Keys(concerned)), where)
	if err != nil {
		return err
	}
	if a.after != nil {
		all = slices.DeleteFunc(all, func(x advisoryRow) bool { return x.ID <= a.after.Text })
	}
	if len(all) > a.limit {
		all = all[:a.limit]
		result.Next = cursor{all[len(all)-1].ID, 0}.String()
	}
	of := map[int64][]int{}
	for i := range all {
		all[i].Packages = len(concerned[all[i].id])
		for _, p := range concerned[all[i].id] {
			of[p] = append(of[p], i)
		}
	}
	totals := a.tally(counts, of, nil, len(all))
	for i := range all {
		all[i].Images = totals[i]
		result.Advisories = append(result.Advisories, all[i].AdvisoryAnswer)
	}
	return nil
}

// concerned gives the packages of each advisory, without what is suppressed for all.
func (a *asking) concerned(where cond) (map[int64][]int64, error) {
	all, doubtful := map[int64][]int64{}, map[int64][]int64{}
	err := a.tx.Each(a.ctx, func(scan func(...any) error) error {
		var pkg, advisory int64
		err := scan(&pkg, &advisory)
		if slices.ContainsFunc(a.silences, func(s silence) bool { return s.advisory == advisory }) {
			doubtful[pkg] = append(doubtful[pkg], advisory)
		} else {
			all[advisory] = append(all[advisory], pkg)
		}
		return err
	}, "SELECT f.package, f.advisory"+findingsFrom+where.text, where.args...)
	if err != nil || len(doubtful) == 0 {
		return all, err
	}
	left, err := a.unsilenced(doubtful, "")
	for pkg, advisories := range left {
		for _, advisory := range advisories {
			all[advisory] = append(all[advisory], pkg)
		}
	}
	return all, err
}

type advisoryRow struct {
	AdvisoryAnswer
	id int64
}

func (a *asking) readAdvisories(ids []int64, where cond) ([]advisoryRow, error) {
	var all []advisoryRow
	at := map[int64]int{}
	condition, arg := a.tx.Ints("a.id", ids)
	err := a.tx.Each(a.ctx, func(scan func(...any) error) error {
		var r advisoryRow
		var severity int
		var exploited, modified, since, fixable int64
		var published sql.NullInt64
		err := scan(&r.id, &r.ID, &r.Summary, &severity, &r.Score, &r.EPSS, &exploited, &published, &modified, &since, &fixable)
		r.Severity, r.Exploited, r.Fixable = artifact.Severity(query.SeverityOf(severity)), exploited == 1, fixable == 1
		r.Published, r.Modified, r.Since = moment(published.Int64), moment(modified), moment(since)
		at[r.id] = len(all)
		all = append(all, r)
		return err
	}, `SELECT a.id, a.name, a.summary, a.severity, a.score, a.epss, a.exploited, min(nullif(f.published, 0)), a.modified,
		min(f.since), max(CASE WHEN f.fixed <> '' THEN 1 ELSE 0 END)`+findingsFrom+where.text+" AND "+condition+
		` GROUP BY a.id, a.name, a.summary, a.severity, a.score, a.epss, a.exploited, a.modified ORDER BY a.name`,
		append(slices.Clone(where.args), arg)...)
	if err != nil {
		return nil, err
	}
	names, arg := a.tx.Ints("advisory", ids)
	err = a.tx.Each(a.ctx, func(scan func(...any) error) error {
		var id int64
		var name string
		err := scan(&id, &name)
		if i, found := at[id]; found && all[i].ID != name {
			all[i].Aliases = append(all[i].Aliases, name)
		}
		return err
	}, "SELECT advisory, name FROM advisory_names WHERE "+names+" ORDER BY name", arg)
	return all, err
}
