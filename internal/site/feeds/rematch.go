package feeds

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"strings"
	"time"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/aside"
	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/inventory"
	"plimsoll.dev/plimsoll/internal/vuln/advisory"
	"plimsoll.dev/plimsoll/internal/vuln/feed"
	"plimsoll.dev/plimsoll/internal/vuln/match"
)

// matched names the database and the inventory that was held against it, without credentials.
func (f *Feeds) matched(db *advisory.Database) string {
	at := ""
	if u, err := url.Parse(f.home.InventoryAddress()); err == nil {
		u.User, u.RawQuery = nil, ""
		at = u.String()
	}
	return db.Version() + " " + at + "\n"
}

// matchedFile notes what matched gave when the whole inventory had been held against the
// database. What was broken off between a new database and its match is known by it.
func (f *Feeds) matchedFile() string { return f.home.Path("advisories.matched") }

// before opens the database that is there, if the inventory was held against it; else nil.
// rescored says that the inventory has other EPSS scores than the feeds give now.
func (f *Feeds) before() (db *advisory.Database, rescored bool) {
	db, err := advisory.Open(f.path())
	if err != nil {
		return nil, true
	}
	noted, err := os.ReadFile(f.matchedFile())
	scores, held := strings.CutPrefix(string(noted), f.matched(db))
	if err != nil || !held {
		_ = db.Close() // it was only read
		return nil, true
	}
	return db, scores != f.scores()
}

// scores tells which EPSS scores the feeds give: equal texts are equal scores.
func (f *Feeds) scores() string {
	var all strings.Builder
	for _, s := range f.Status() {
		if s.Kind == feed.EPSS {
			fmt.Fprintln(&all, s.Feed, s.Digest)
		}
	}
	return all.String()
}

// noteMatch notes that the inventory was held against the database.
func (f *Feeds) noteMatch(db *advisory.Database) error {
	if err := aside.WriteBytes(f.matchedFile(), []byte(f.matched(db)+f.scores())); err != nil {
		return fault.New(fault.Failed, "note what was matched", f.matchedFile(), err)
	}
	return nil
}

// rematch holds the packages of the inventory against what has changed from the old
// database, which may be nil, to the new one; all packages if what they are scored has.
func (f *Feeds) rematch(ctx context.Context, old, db *advisory.Database, rescored bool) (*inventory.Rematched, int, error) {
	index, err := f.home.Inventory(ctx)
	if err != nil {
		return nil, 0, err
	}
	which := inventory.Which{}
	changed := 0
	if old == nil {
		for range db.Keys() {
			changed++
		}
	} else {
		keys, err := advisory.Changed(old, db)
		if err != nil {
			return nil, 0, err
		}
		changed = len(keys)
		if !rescored {
			which.Names = make([]string, 0, len(keys)) // not nil, which is any name
			for _, k := range keys {
				which.Names = append(which.Names, k.Name)
			}
		}
	}
	done, err := index.Rematch(ctx, which, matcher(db))
	if err != nil {
		return nil, 0, err
	}
	fresh, err := index.Rematch(ctx, inventory.Which{Unmatched: true}, matcher(db))
	if err != nil {
		return nil, 0, err
	}
	done.Packages, done.New, done.Gone = done.Packages+fresh.Packages, done.New+fresh.New, done.Gone+fresh.Gone
	return &done, changed, index.Synced(ctx, f.Updated())
}

// matcher finds what concerns packages of the inventory.
func matcher(db *advisory.Database) inventory.Matcher {
	return func(ctx context.Context, packages []inventory.Package) ([]inventory.Finding, error) {
		var out []inventory.Finding
		next := 0
		all := func(yield func(artifact.Package) bool) {
			for _, p := range packages {
				if !yield(p.Package) {
					return
				}
			}
		}
		for result, err := range match.Packages(ctx, db, all) { // in the order of the packages
			if err != nil {
				return nil, err
			}
			for _, found := range result.Findings {
				out = append(out, inventory.Finding{PackageID: packages[next].ID, Finding: found})
			}
			next++
		}
		return out, nil
	}
}

// Updated is since when all feeds are up to date: the time of the one that was so longest ago;
// zero where one never was.
func (f *Feeds) Updated() time.Time {
	var oldest time.Time
	for i, s := range f.Status() {
		if i == 0 || s.Synced.Before(oldest) {
			oldest = s.Synced
		}
	}
	return oldest
}
