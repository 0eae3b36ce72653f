package feeds

import (
	"context"

	"plimsoll.dev/plimsoll/internal/inventory"
	"plimsoll.dev/plimsoll/internal/vuln/advisory"
	"plimsoll.dev/plimsoll/internal/vuln/feed"
)

// SyncOptions are what Sync may be told.
type SyncOptions struct {
	Force    bool                                // also take what is older or far smaller than what is there
	Progress func(stage string, done, total int) // hears how far it is; nil hears nothing
	Fetched  func()                              // hears that no more is fetched; nil hears nothing
}

// Synced is what a sync came to.
type Synced struct {
	Feeds      []feed.Status        `json:"feeds"`
	Advisories advisory.Stats       `json:"advisories"`
	Changed    int                  `json:"changedPackages"` // names of packages of which something else is said
	Inventory  *inventory.Rematched `json:"inventory,omitempty"`
}

// Sync brings the feeds up to date, makes the database of them, and holds the inventory against
// what has changed. What could not be brought up to date stays as it was, and is an error beside
// what the others came to; without any, or when the rest fails, there is nothing beside the error.
// A home is synced by one at a time: others wait.
func (f *Feeds) Sync(ctx context.Context, o SyncOptions) (*Synced, error) {
	failed := f.store.Sync(ctx, f.feeds, feed.Options{Agent: f.home.Agent(), Force: o.Force, Archive: f.archive, Progress: o.Progress})
	if o.Fetched != nil {
		o.Fetched()
	}
	if ctx.Err() != nil || !f.Synced() {
		return nil, failed
	}
	out, err := f.rematched(ctx)
	if err != nil {
		if failed != nil { // an error is one line
			f.home.Warn(failed.Error(), "")
		}
		return nil, err
	}
	return out, failed
}

// rematched compiles the feeds anew, and holds the inventory against what that changed.
func (f *Feeds) rematched(ctx context.Context) (*Synced, error) {
	old, rescored := f.before()
	if old != nil { // else there is nothing to compare with: all packages are matched
		defer old.Close()
	}
	var out Synced
	var err error
	if out.Advisories, err = f.compile(ctx); err != nil {
		return nil, err
	}
	db, err := advisory.Open(f.path())
	if err != nil {
		return nil, err
	}
	defer db.Close()
	if out.Inventory, out.Changed, err = f.rematch(ctx, old, db, rescored); err != nil {
		return nil, err
	}
	if err := f.noteMatch(db); err != nil {
		return nil, err
	}
	out.Feeds = f.Status()
	return &out, nil
}
