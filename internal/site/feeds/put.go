package feeds

import (
	"context"
	"os"

	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/inventory"
	"plimsoll.dev/plimsoll/internal/site/home"
)

// Put puts images into the inventory of the home and matches those packages that no advisory was
// held against yet, unless another process does.
func Put(ctx context.Context, h *home.Home, images ...inventory.Image) error {
	index, err := h.Inventory(ctx)
	if err != nil {
		return err
	}
	if err := index.Put(ctx, images...); err != nil {
		return err
	}
	if !h.Matches() {
		return nil
	}
	return Match(ctx, h)
}

// Match matches the packages of the home's inventory that no advisory was held against yet: what
// others have put there who leave that to this process.
func Match(ctx context.Context, h *home.Home) error {
	index, err := h.Inventory(ctx)
	if err != nil {
		return err
	}
	f, err := Open(h)
	if err != nil {
		return err
	}
	return f.matchNew(ctx, index)
}

// matchNew matches packages that no advisory was held against yet. Where a sync has put
// another database in the place of the one that was asked, it may have been done with the
// inventory before: then that one is asked about the same packages.
func (f *Feeds) matchNew(ctx context.Context, index *inventory.Inventory) error {
	for which := (inventory.Which{Unmatched: true}); ; {
		before, _ := os.Stat(f.path()) // there may be none yet
		db, err := f.Database(ctx)
		if fault.KindOf(err) == fault.NotFound {
			return nil // there is no feed yet: the first sync matches all
		}
		if err != nil {
			return err
		}
		names := []string{}
		match := matcher(db)
		_, err = index.Rematch(ctx, which, func(ctx context.Context, packages []inventory.Package) ([]inventory.Finding, error) {
			for _, p := range packages {
				if _, name, ok := p.AdvisoryKey(); ok {
					names = append(names, name)
				}
			}
			return match(ctx, packages)
		})
		_ = db.Close() // it was only read
		if err != nil || len(names) == 0 {
			return err
		}
		if now, err := os.Stat(f.path()); err == nil && os.SameFile(before, now) {
			return nil
		}
		which = inventory.Which{Names: names}
	}
}
