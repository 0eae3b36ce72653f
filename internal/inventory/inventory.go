// Package inventory takes what is known of images and answers questions about all of them.
// It is only an index: all it holds can be read from the registries again.
package inventory

import (
	"context"
	"errors"
	"math"
	"strings"
	"time"

	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/inventory/campaigns"
	"plimsoll.dev/plimsoll/internal/inventory/postgres"
	"plimsoll.dev/plimsoll/internal/inventory/sqlite"
	"plimsoll.dev/plimsoll/internal/inventory/store"
)

// Inventory is an open index. It is safe for concurrent use, by several processes too.
type Inventory struct {
	db     *store.DB
	now    func() time.Time
	stacks *stacks
	packer *packer

	joiners joiners
}

// Options are what Open may be told.
type Options struct {
	Now func() time.Time // the clock; nil is time.Now
}

// Open opens the index at "sqlite:PATH" or "postgres://…", makes it where there is none,
// and brings its schema up to date. No error holds a password.
func Open(ctx context.Context, url string, opts Options) (*Inventory, error) {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	db, err := open(ctx, url)
	if err != nil {
		return nil, err
	}
	packer, err := newPacker()
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return &Inventory{db: db, now: opts.Now, stacks: &stacks{}, packer: packer}, nil
}

func open(ctx context.Context, url string) (*store.DB, error) {
	scheme, path, _ := strings.Cut(url, ":")
	switch scheme {
	case "sqlite":
		return sqlite.Open(ctx, path)
	case "postgres", "postgresql":
		return postgres.Open(ctx, url)
	}
	return nil, fault.Newf(fault.Usage, "open the inventory", "", "its address begins neither with sqlite: nor with postgres:").
		WithHint("write sqlite:PATH or postgres://USER@HOST/DATABASE")
}

// Close ends its connections.
func (inv *Inventory) Close() error {
	inv.packer.close()
	return inv.db.Close()
}

// Stats is how much the index holds.
type Stats struct {
	Images     int64 `json:"images"`   // that a reference names now
	Known      int64 `json:"known"`    // all, with those of the past
	Stacks     int64 `json:"stacks"`   // different combinations of package sets
	Sets       int64 `json:"sets"`     // different package sets of a layer
	Packages   int64 `json:"packages"` // different packages
	Unmatched  int64 `json:"unmatched"`
	Advisories int64 `json:"advisories"`
	Findings   int64 `json:"findings"` // that stand now, of a package each
	Bytes      int64 `json:"bytes"`    // on the database's disk
}

// Stats counts.
func (inv *Inventory) Stats(ctx context.Context) (Stats, error) {
	var s Stats
	err := inv.db.Read(ctx, func(tx store.Tx) (err error) {
		for _, count := range []struct {
			into  *int64
			of    string
			until bool
		}{
			{&s.Images, "SELECT count(*) FROM images WHERE ended = ?", true},
			{&s.Known, "SELECT count(*) FROM images", false},
			{&s.Stacks, "SELECT count(*) FROM stacks", false},
			{&s.Sets, "SELECT count(*) FROM sets", false},
			{&s.Packages, "SELECT count(*) FROM packages", false},
			{&s.Unmatched, "SELECT count(*) FROM packages WHERE matched_at = 0", false},
			{&s.Advisories, "SELECT count(*) FROM advisories", false},
			{&s.Findings, "SELECT count(*) FROM findings WHERE gone = ?", true},
		} {
			var args []any
			if count.until {
				args = append(args, forever)
			}
			if *count.into, err = tx.Int(ctx, count.of, args...); err != nil {
				return err
			}
		}
		s.Bytes, err = tx.Bytes(ctx, tx)
		return err
	})
	return s, err
}

// forever is the end of what has not ended.
const forever = math.MaxInt64

// seconds gives a time as the tables hold it; 0 for one that is not known.
func seconds(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return max(t.Unix(), 0)
}

// moment gives back what seconds took.
func moment(s int64) time.Time {
	if s == 0 {
		return time.Time{}
	}
	return time.Unix(s, 0).UTC()
}

// Campaigns gives what is kept of patches, in the same database.
func (inv *Inventory) Campaigns() *campaigns.Store { return campaigns.New(inv.db, inv.now) }
