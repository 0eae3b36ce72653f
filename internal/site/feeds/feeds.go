// Package feeds takes a home and gives its advisories: the feeds as they were last synced, the
// database made of them, and the inventory held against it.
package feeds

import (
	"context"
	"errors"
	"time"

	"plimsoll.dev/plimsoll/internal/debian/sources"
	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/site/home"
	"plimsoll.dev/plimsoll/internal/vuln/advisory"
	"plimsoll.dev/plimsoll/internal/vuln/feed"
)

// Feeds are the feeds of a home, as its feeds.yaml named them when they were opened, and the
// database made of them. It is safe for concurrent use, but for Sync and what opens a database
// that is not usable: see Sync.
type Feeds struct {
	home  *home.Home
	feeds []feed.Feed
	store *feed.Store
}

// Open opens the feeds of a home.
func Open(h *home.Home) (*Feeds, error) {
	feeds, found, err := feed.Load(h.FeedsFile())
	if err != nil {
		return nil, err
	}
	if !found {
		feeds = feed.Default()
	}
	return &Feeds{home: h, feeds: feeds, store: feed.Open(h.Path("advisories"))}, nil
}

// All gives the feeds.
func (f *Feeds) All() []feed.Feed { return f.feeds }

// Status says how old and how large they are, and what went wrong.
func (f *Feeds) Status() []feed.Status { return f.store.Status(f.feeds, time.Now()) }

// path is where the database lies.
func (f *Feeds) path() string { return f.home.Path("advisories.db") }

// archive opens the signed archive of a feed that is derived from one.
func (f *Feeds) archive(ctx context.Context, of feed.Feed) (feed.Archive, error) {
	return sources.Open(ctx, sources.Options{
		Suites: of.AllSuites(), Mirrors: of.Mirrors, Keyring: of.Keyring, Agent: f.home.Agent(),
		Cache: f.home.Path("cache", "debian"), State: f.home.Path("archives"),
	})
}

// compile makes the database of what the feeds say now.
func (f *Feeds) compile(ctx context.Context) (advisory.Stats, error) {
	var all []advisory.Feed
	known := advisory.Exploitation{Known: map[string]bool{}, EPSS: map[string]float64{}}
	for _, one := range f.feeds {
		switch one.Kind {
		case feed.KEV:
			for e, err := range f.store.Exploited(one) {
				if err != nil {
					return advisory.Stats{}, err
				}
				known.Known[e.CVE] = true
			}
		case feed.EPSS:
			for s, err := range f.store.Scores(one) {
				if err != nil {
					return advisory.Stats{}, err
				}
				known.EPSS[s.CVE] = s.EPSS
			}
		default:
			all = append(all, advisory.Feed{Name: one.Name, Records: f.store.Advisories(one)})
		}
	}
	return advisory.Build(ctx, f.path(), all, known)
}

// Database gives the database, made anew when it is not usable; an error of kind NotFound where no
// feed was ever synced. Close it.
func (f *Feeds) Database(ctx context.Context) (*advisory.Database, error) {
	db, err := advisory.Open(f.path())
	if err == nil {
		return db, nil
	}
	if !f.Synced() {
		return nil, fault.Newf(fault.NotFound, "read advisories", "", "no feed was ever synced").
			WithHint("run `plimsoll feed sync`")
	}
	if fault.KindOf(err) != fault.NotFound && !errors.Is(err, advisory.ErrUnusable) {
		return nil, err
	}
	if _, err := f.compile(ctx); err != nil {
		return nil, err
	}
	return advisory.Open(f.path())
}

// Synced says whether any feed has ever been fetched.
func (f *Feeds) Synced() bool {
	for _, s := range f.Status() {
		if !s.Synced.IsZero() {
			return true
		}
	}
	return false
}
