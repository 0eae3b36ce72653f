package feeds

import (
	"context"
	"os"

	"golang.org/x/sys/unix"

	"plimsoll.dev/plimsoll/internal/fault"
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
// What changed is matched by one process at a time: others wait.
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
	unlock, err := f.lock()
	if err != nil {
		return nil, err
	}
	defer unlock()
	old, rescored := f.before()
	if old != nil { // else there is nothing to compare with: all packages are matched
		defer old.Close()
	}
	var out Synced
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

// lock keeps others from matching until the function it gives is called: two who match against two
// databases at once would leave findings of either.
func (f *Feeds) lock() (unlock func(), err error) {
	path := f.home.Path("advisories", "matching.lock")
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err == nil {
		err = unix.Flock(int(file.Fd()), unix.LOCK_EX)
	}
	if err != nil {
		return nil, fault.New(fault.Failed, "lock advisories", path, err)
	}
	return func() { _ = file.Close() }, nil // which ends the lock
}
