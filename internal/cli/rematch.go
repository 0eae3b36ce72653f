package cli

import (
	"cmp"
	"context"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
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

// inventoryVariable names the database of the inventory, where it is not this home's own.
const inventoryVariable = "PLIMSOLL_INVENTORY"

// inventory opens the index over all images.
func (env *Env) inventory(ctx context.Context) (*inventory.Inventory, error) {
	return inventory.Open(ctx, env.inventoryAddress(), inventory.Options{})
}

func (env *Env) inventoryAddress() string {
	return cmp.Or(env.Getenv(inventoryVariable), "sqlite:"+filepath.Join(env.Home, "inventory.db"))
}

// matched names the database and the inventory that was held against it, without credentials.
func (env *Env) matched(db *advisory.Database) string {
	at := ""
	if u, err := url.Parse(env.inventoryAddress()); err == nil {
		u.User, u.RawQuery = nil, ""
		at = u.String()
	}
	return db.Version() + " " + at + "\n"
}

// matchedFile notes what matched gave when the whole inventory had been held against the
// database. What was broken off between a new database and its match is known by it.
func (a *advisories) matchedFile() string { return filepath.Join(a.env.Home, "advisories.matched") }

// before opens the database that is there, if the inventory was held against it; else nil.
// rescored says that the inventory has other EPSS scores than the feeds give now.
func (a *advisories) before() (db *advisory.Database, rescored bool) {
	db, err := advisory.Open(a.path())
	if err != nil {
		return nil, true
	}
	noted, err := os.ReadFile(a.matchedFile())
	scores, held := strings.CutPrefix(string(noted), a.env.matched(db))
	if err != nil || !held {
		_ = db.Close() // it was only read
		return nil, true
	}
	return db, scores != a.scores()
}

// scores tells which EPSS scores the feeds give: equal texts are equal scores.
func (a *advisories) scores() string {
	var all strings.Builder
	for _, s := range a.store.Status(a.feeds, time.Now()) {
		if s.Kind == feed.EPSS {
			fmt.Fprintln(&all, s.Feed, s.Digest)
		}
	}
	return all.String()
}

// noteMatch notes that the inventory was held against the database.
func (a *advisories) noteMatch(db *advisory.Database) error {
	if err := aside.WriteBytes(a.matchedFile(), []byte(a.env.matched(db)+a.scores())); err != nil {
		return fault.New(fault.Failed, "note what was matched", a.matchedFile(), err)
	}
	return nil
}

// rematch holds the packages of the inventory against what has changed from the old
// database, which may be nil, to the new one; all packages if what they are scored has.
func (a *advisories) rematch(ctx context.Context, old, db *advisory.Database, rescored bool) (*inventory.Rematched, int, error) {
	index, err := a.env.inventory(ctx)
	if err != nil {
		return nil, 0, err
	}
	defer index.Close()
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
	return &done, changed, index.Synced(ctx, a.updated())
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
			for _, f := range result.Findings {
				out = append(out, inventory.Finding{PackageID: packages[next].ID, Finding: f})
			}
			next++
		}
		return out, nil
	}
}
