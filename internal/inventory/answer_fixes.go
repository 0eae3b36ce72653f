package inventory

import (
	"cmp"
	"slices"

	"plimsoll.dev/plimsoll/artifact"
)

// maxFixes is how many fixes an answer lists.
const maxFixes = 100

// fixing is the fixes found so far, each a group, and those of every package by where in an
// image it stands.
type fixing struct {
	order  []Fix
	groups map[Fix]int

	packages map[int64]artifact.Package
	inBase   map[int64][]int
	above    map[int64][]int
	bundled  map[int64][]int // above, where a runtime brings the package along
}

// fixes tells how the findings asked for are fixed in all images, so many of each stack.
func (a *asking) fixes(counts []int) ([]Fix, error) {
	f := &fixing{groups: map[Fix]int{}, packages: map[int64]artifact.Package{}, inBase: map[int64][]int{}, above: map[int64][]int{}, bundled: map[int64][]int{}}
	for _, m := range a.matches {
		if m.findings == nil {
			continue
		}
		if err := a.groupFixes(m, f); err != nil {
			return nil, err
		}
	}
	bundled, err := a.bundled(f)
	if err != nil {
		return nil, err
	}
	for i, images := range a.tallySets(counts, a.groupsOfSets(f.inBase, nil), a.groupsOfSets(f.above, bundled), len(f.order)) {
		f.order[i].Images = images
	}
	order := slices.DeleteFunc(f.order, func(f Fix) bool { return f.Images == 0 })
	slices.SortFunc(order, func(x, y Fix) int {
		return cmp.Or(-cmp.Compare(x.Images, y.Images), cmp.Compare(x.Package, y.Package), cmp.Compare(x.Advisory, y.Advisory),
			cmp.Compare(x.Fixed, y.Fixed), cmp.Compare(x.Remedy, y.Remedy))
	})
	return order[:min(len(order), maxFixes)], nil
}

// groupFixes finds the fixes of each package, wherever it may stand.
func (a *asking) groupFixes(m *matching, f *fixing) error {
	where := *m.findings
	return a.tx.Each(a.ctx, func(scan func(...any) error) error {
		var p Package
		var advisory int64
		var name, fixed string
		err := scan(&p.ID, &p.Type, &p.Namespace, &p.Name, &p.Distro, &p.Source, &p.Version, &p.SourceVersion, &advisory, &name, &fixed)
		if err != nil || !m.packages.has(p.ID) {
			return err
		}
		if a.silent(advisory, "", p.Package) {
			return nil
		}
		title, _ := p.AdvisoryName()
		put := func(into map[int64][]int, remedy artifact.Remedy) {
			into[p.ID] = append(into[p.ID], f.group(Fix{Advisory: name, Package: title, Fixed: fixed, Remedy: remedy}))
		}
		put(f.inBase, artifact.RemedyOf(p.Package, true, fixed))
		above := artifact.RemedyOf(p.Package, false, fixed)
		put(f.above, above)
		if above == artifact.RemedyOverride {
			above = artifact.RemedyRebuild
			f.packages[p.ID] = p.Package
		}
		put(f.bundled, above)
		return nil
	}, "SELECT p.id, p.type, p.namespace, p.name, p.distro, p.source, p.version, p.source_version, a.id, a.name, f.fixed"+
		" FROM findings f JOIN advisories a ON a.id = f.advisory JOIN packages p ON p.id = f.package WHERE "+where.text, where.args...)
}

// group gives the fix's place in the order.
func (f *fixing) group(fix Fix) int {
	at, known := f.groups[fix]
	if !known {
		at = len(f.order)
		f.groups[fix] = at
		f.order = append(f.order, fix)
	}
	return at
}

// bundled gives the groups of packages that a runtime brings along, where it does.
func (a *asking) bundled(f *fixing) (map[spot][]int, error) {
	spots, err := a.bundledSpots(f.packages)
	bundled := map[spot][]int{}
	for at := range spots {
		bundled[at] = f.bundled[at.pkg]
	}
	return bundled, err
}

// bundledSpots tells where a runtime brings one of those packages along, which an
// application would choose elsewhere. What a runtime brings stands in its layer, so only of
// the few layers that hold one are the places read.
func (a *asking) bundledSpots(packages map[int64]artifact.Package) (map[spot]bool, error) {
	names, arg := a.tx.Texts("title", []string{"npm", "corepack", "pip", "setuptools", "github.com/buildpacks/lifecycle"})
	ids, err := a.tx.IDs(a.ctx, "SELECT id FROM packages WHERE "+names, arg)
	if err != nil || len(ids) == 0 || len(packages) == 0 {
		return nil, err
	}
	runtimes, asked := membersOf(ids), map[int64]bool{}
	for id := range packages {
		asked[id] = true
	}
	var sets []int64
	for id, set := range a.sets {
		if slices.ContainsFunc(set, func(p int32) bool { return runtimes.has(int64(p)) }) &&
			slices.ContainsFunc(set, func(p int32) bool { return asked[int64(p)] }) {
			sets = append(sets, int64(id))
		}
	}
	places := map[spot]place{}
	if err := a.addPlaces(places, sets, asked); err != nil {
		return nil, err
	}
	bundled := map[spot]bool{}
	for at, where := range places {
		p := packages[at.pkg]
		p.Paths = where.Paths
		if artifact.RemedyOf(p, false, "any") == artifact.RemedyRebuild {
			bundled[at] = true
		}
	}
	return bundled, nil
}
