package inventory

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/inventory/query"
)

// maxMatches is how many matches of one image are shown.
const maxMatches = 20

// Match is a package of an image that was asked for, or a finding of it.
type Match struct {
	Package string   `json:"package"` // package URL
	Paths   []string `json:"paths,omitempty"`
	Layer   string   `json:"layer,omitempty"` // diffID of the layer that brought it
	Depth   int      `json:"depth"`           // that layer's place from the bottom, from 0
	InBase  bool     `json:"inBase"`          // the base brought it

	// Of a finding: the advisory, how bad it is, the version that is not affected, and the
	// cheapest way to it.
	Advisory string            `json:"advisory,omitempty"`
	Severity artifact.Severity `json:"severity,omitempty"`
	State    string            `json:"state,omitempty"`
	Fixed    string            `json:"fixed,omitempty"`
	Remedy   artifact.Remedy   `json:"remedy,omitempty"`

	// Since is from when on the index knew both: the image, and of a finding that it
	// concerns the package.
	Since time.Time `json:"since"`
}

// matching is a condition of the question whose matches are shown.
type matching struct {
	packages members
	findings *cond // of findings; nil when only the package was asked for
}

// told is a finding as an answer tells it.
type told struct {
	id           int64 // of the advisory
	advisory     string
	severity     int
	fixed, state string
	since        int64
}

// spot is a package at its place in an image.
type spot struct {
	pkg int64
	at  positioned
}

func (a *asking) addMatches(rows []*imageRow) error {
	spots := make([]map[*matching][]spot, len(rows))
	packages, sets := map[int64]bool{}, map[int64]bool{}
	for i, r := range rows {
		spots[i] = map[*matching][]spot{}
		for p, at := range a.packagesOf(r.stack) {
			for _, m := range a.matches {
				if m.packages.has(p) {
					spots[i][m] = append(spots[i][m], spot{p, at})
					packages[p], sets[at.set] = true, true
				}
			}
		}
	}
	if len(packages) == 0 {
		return nil
	}
	known, err := a.describe(packages, sets)
	if err != nil {
		return err
	}
	for i, r := range rows {
		for _, m := range a.matches {
			for _, s := range spots[i][m] {
				r.Matches = append(r.Matches, a.tell(r, m, s, known)...)
			}
		}
		r.Matches = orderMatches(r.Matches)
		r.More = max(0, len(r.Matches)-maxMatches)
		r.Matches = r.Matches[:len(r.Matches)-r.More]
	}
	return nil
}

// orderMatches puts the gravest first and leaves out what two conditions found alike.
func orderMatches(matches []Match) []Match {
	slices.SortStableFunc(matches, func(a, b Match) int {
		return cmp.Or(
			-cmp.Compare(query.SeverityRank(string(a.Severity)), query.SeverityRank(string(b.Severity))),
			cmp.Compare(a.Package, b.Package), cmp.Compare(a.Depth, b.Depth), cmp.Compare(a.Advisory, b.Advisory),
		)
	})
	return slices.CompactFunc(matches, func(a, b Match) bool {
		return a.Package == b.Package && a.Depth == b.Depth && a.Advisory == b.Advisory
	})
}

// described is what is known of the packages on a page.
type described struct {
	packages map[int64]artifact.Package
	places   map[spot]place
	findings map[*matching]map[int64][]told
}

func (a *asking) describe(packages, sets map[int64]bool) (described, error) {
	d := described{packages: map[int64]artifact.Package{}, places: map[spot]place{}, findings: map[*matching]map[int64][]told{}}
	ids := slices.Sorted(maps.Keys(packages))
	condition, arg := a.tx.Ints("p.id", ids)
	list, err := readPackages(a.ctx, a.tx, condition, arg)
	if err != nil {
		return d, err
	}
	for _, p := range list {
		d.packages[p.ID] = p.Package
	}
	if err := a.addPlaces(d.places, slices.Sorted(maps.Keys(sets)), packages); err != nil {
		return d, err
	}
	for _, m := range a.matches {
		if m.findings != nil {
			if d.findings[m], err = a.told(*m.findings, ids); err != nil {
				return d, err
			}
		}
	}
	return d, nil
}

// addPlaces reads where in those sets the packages are. A spot's position is left out.
func (a *asking) addPlaces(places map[spot]place, sets []int64, packages map[int64]bool) error {
	condition, arg := a.tx.Ints("id", sets)
	return a.tx.Each(a.ctx, func(scan func(...any) error) error {
		var id int64
		var packed []byte
		if err := scan(&id, &packed); err != nil {
			return err
		}
		set := a.sets[id]
		list, err := decodePlaces(packed, func(i int) bool { return i < len(set) && packages[int64(set[i])] })
		for i, where := range list {
			places[spot{int64(set[i]), positioned{set: id}}] = where
		}
		return err
	}, "SELECT id, places FROM sets WHERE "+condition, arg)
}

// told gives the findings of those packages that the condition is true for.
func (a *asking) told(where cond, packages []int64) (map[int64][]told, error) {
	all := map[int64][]told{}
	condition, arg := a.tx.Ints("f.package", packages)
	err := a.tx.Each(a.ctx, func(scan func(...any) error) error {
		var pkg int64
		var t told
		err := scan(&pkg, &t.id, &t.advisory, &t.severity, &t.fixed, &t.state, &t.since)
		all[pkg] = append(all[pkg], t)
		return err
	}, "SELECT f.package, a.id, a.name, a.severity, f.fixed, f.state, f.since"+findingsFrom+where.text+" AND "+condition, append(slices.Clone(where.args), arg)...)
	return all, err
}

// tell gives the matches at one spot: the package, or each finding of it that counts.
func (a *asking) tell(r *imageRow, m *matching, s spot, d described) []Match {
	p, where := d.packages[s.pkg], d.places[spot{s.pkg, positioned{set: s.at.set}}]
	p.Paths = where.Paths
	base := Match{
		Package: p.PURL(), Paths: where.Paths, Depth: s.at.position, Since: r.Seen,
		InBase: s.at.position < a.stacks[r.stack].baseLayers,
	}
	if s.at.position < len(r.layers) {
		base.Layer = digestText(r.layers[s.at.position])
	}
	if m.findings == nil {
		return []Match{base}
	}
	var all []Match
	digest, _ := digestBytes(r.Digest)
	for _, t := range d.findings[m][s.pkg] {
		if a.silent(t.id, string(digest), p) {
			continue
		}
		one := base
		one.Advisory, one.State, one.Fixed = t.advisory, t.state, t.fixed
		one.Severity = artifact.Severity(query.SeverityOf(t.severity))
		one.Remedy = artifact.RemedyOf(p, base.InBase, t.fixed)
		one.Since = moment(max(seconds(r.Seen), t.since))
		all = append(all, one)
	}
	return all
}

func (a *asking) silent(advisory int64, image string, p artifact.Package) bool {
	return slices.ContainsFunc(a.silences, func(s silence) bool {
		return s.advisory == advisory && (s.image == "" || s.image == image) && s.covers(p)
	})
}
