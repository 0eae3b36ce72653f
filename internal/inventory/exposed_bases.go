package inventory

import (
	"bytes"
	"maps"
	"slices"
)

// standsOn is a base that images of a platform stand on.
type standsOn struct{ base, platform int64 }

// standingRow is a base as its row has it.
type standingRow struct {
	Base
	layers []byte
}

// currentBase is an image that a base's name names now.
type currentBase struct {
	digest, layers []byte
	stack, size    int64
}

// findBases finds what the names of bases name now.
func (e *exposing) findBases() error {
	e.bases, e.carrying = map[int64]standingRow{}, map[string]bool{}
	repositories := map[string]bool{}
	err := e.tx.Each(e.ctx, func(scan func(...any) error) error {
		var id int64
		var r standingRow
		var digest []byte
		err := scan(&id, &r.Name, &digest, &r.layers)
		r.Digest = digestText(digest)
		e.bases[id] = r
		repository, tail := splitReference(r.Name)
		repositories[repository], e.carrying[repository+tail] = true, true
		return err
	}, "SELECT id, name, digest, layers FROM bases")
	if err != nil {
		return err
	}
	now, err := e.namedNow(slices.Sorted(maps.Keys(repositories)))
	if err != nil {
		return err
	}
	for id, row := range e.bases {
		if row.Name == "" {
			continue
		}
		repository, tail := splitReference(row.Name)
		for platform, current := range now[repository+tail] {
			e.standings[standsOn{id, platform}] = e.compare(row, current)
		}
	}
	return nil
}

// namedNow gives the images that references into those repositories name now, by reference
// and platform.
func (e *exposing) namedNow(repositories []string) (map[string]map[int64]currentBase, error) {
	all := map[string]map[int64]currentBase{}
	these, arg := e.tx.Texts("w.text", repositories)
	err := e.tx.Each(e.ctx, func(scan func(...any) error) error {
		var name string
		var platform int64
		var c currentBase
		err := scan(&name, &platform, &c.digest, &c.stack, &c.size, &c.layers)
		if all[name] == nil {
			all[name] = map[int64]currentBase{}
		}
		all[name][platform] = c
		return err
	}, `SELECT w.text || r.tail, r.platform, i.digest, i.stack, i.size, d.layers FROM words w JOIN refs r ON r.repository = w.id
		JOIN images i ON i.id = r.image JOIN image_details d ON d.image = i.id WHERE r.ended = ? AND `+these, int64(forever), arg)
	return all, err
}

// compare holds a base against what its name names now. One that was pushed again with the
// same layers is the same base.
func (e *exposing) compare(row standingRow, current currentBase) *Standing {
	s := &Standing{Base: row.Base, Known: true, Now: digestText(current.digest), Size: current.size, left: map[same]bool{}}
	s.Stale = s.Now != s.Digest && !bytes.Equal(row.layers, current.layers)
	for _, h := range e.hits(current.stack, string(current.digest)) {
		s.left[h.same()] = true
	}
	return s
}

// standing gives what images of the platform on that base stand on.
func (e *exposing) standing(base, platform int64) *Standing {
	key := standsOn{base, platform}
	s := e.standings[key]
	if s == nil {
		s = &Standing{Base: e.bases[base].Base}
		e.standings[key] = s
	}
	return s
}
