package index

import (
	"cmp"
	"iter"
	"slices"
	"strings"
)

// Universe is several indexes as one archive: what apt sees when its sources name several
// suites. Order the indexes as the sources do.
type Universe struct {
	indexes []*Index
}

// NewUniverse joins the indexes, which stay the caller's to close. Two of them may be of
// different architectures; a resolver takes only its own.
func NewUniverse(indexes ...*Index) *Universe {
	return &Universe{indexes: slices.Clone(indexes)}
}

// Versions gives the candidates of a name, best first. The highest version wins, whatever
// its suite, as all suites have one priority in apt unless a site pins them. Stanzas equal in
// version, architecture and hash are one, and it is said to be of the first suite that has
// it; with different hashes both stand, the one of the first-named suite first, which is
// apt's choice too (pkgCacheGenerator::MergeListVersion).
func (u *Universe) Versions(name string) ([]*Package, error) {
	return u.gather(func(x *Index) ([]*Package, error) { return x.Versions(name) })
}

// Providers gives the packages that provide the virtual package, by name and then as
// Versions orders them. Which of them is best is for who needs it to say.
func (u *Universe) Providers(virtual string) ([]*Package, error) {
	return u.gather(func(x *Index) ([]*Package, error) { return x.Providers(virtual) })
}

// Names gives every package name and every provided name, some of them more than once.
func (u *Universe) Names() iter.Seq[string] {
	return func(yield func(string) bool) {
		for _, x := range u.indexes {
			for name := range x.Names() {
				if !yield(name) {
					return
				}
			}
		}
	}
}

func (u *Universe) gather(find func(*Index) ([]*Package, error)) ([]*Package, error) {
	var all []*Package
	for i, x := range u.indexes {
		found, err := find(x)
		if err != nil {
			return nil, err
		}
		for _, p := range found {
			p.Mention += i * maxMentions // a later file's names come after all of an earlier one's
			if !slices.ContainsFunc(all, func(q *Package) bool { return same(p, q) }) {
				all = append(all, p)
			}
		}
	}
	slices.SortStableFunc(all, func(a, b *Package) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), CompareVersions(b.Version, a.Version))
	})
	return all, nil
}

func same(p, q *Package) bool {
	return p.Name == q.Name && p.Version == q.Version && p.Architecture == q.Architecture && p.SHA256 == q.SHA256
}
