package inventory

import (
	"context"
	"encoding/json"
	"iter"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/inventory/store"
)

// Package is a package as the index tells packages apart: without paths and layer.
type Package struct {
	ID int64 `json:"-"` // its number here, which is never another's
	artifact.Package
}

// Which chooses packages. The zero Which is all of them.
type Which struct {
	Names     []string // that advisories know by these names (artifact.Package.AdvisoryKey); nil: any
	Unmatched bool     // only those whose findings were never set
}

// window is how many packages are read and matched at once.
const window = 2000

// Packages gives distinct packages in the order in which they came to be known.
func (inv *Inventory) Packages(ctx context.Context, which Which) iter.Seq2[Package, error] {
	return func(yield func(Package, error) bool) {
		for last := int64(0); ; {
			some, err := inv.packagesAfter(ctx, which, last)
			if err != nil {
				yield(Package{}, err)
				return
			}
			for _, p := range some {
				if !yield(p, nil) {
					return
				}
				last = p.ID
			}
			if len(some) < window {
				return
			}
		}
	}
}

func (inv *Inventory) packagesAfter(ctx context.Context, which Which, last int64) ([]Package, error) {
	var some []Package
	err := inv.db.Read(ctx, func(tx store.Tx) (err error) {
		where, args := "p.id > ?", []any{last}
		if which.Unmatched {
			where += " AND p.matched_at = 0"
		}
		if which.Names != nil {
			name, these := tx.Texts("p.advised", which.Names)
			where += " AND " + name
			args = append(args, these)
		}
		some, err = readPackages(ctx, tx, where+" ORDER BY p.id LIMIT ?", append(args, window)...)
		return err
	})
	return some, err
}

// readPackages gives the packages p for which the condition holds.
func readPackages(ctx context.Context, tx store.Tx, where string, args ...any) ([]Package, error) {
	var all []Package
	err := tx.Each(ctx, func(scan func(...any) error) error {
		var p Package
		var licences string
		err := scan(&p.ID, &p.Type, &p.Namespace, &p.Name, &p.Version, &p.Arch, &p.Distro, &p.Source, &p.SourceVersion, &p.Owner, &licences)
		if err != nil {
			return err
		}
		all = append(all, p)
		return json.Unmarshal([]byte(licences), &all[len(all)-1].Licenses)
	}, "SELECT p.id, p.type, p.namespace, p.name, p.version, p.arch, p.distro, p.source, p.source_version, p.owner, p.licences FROM packages p WHERE "+where, args...)
	return all, err
}
