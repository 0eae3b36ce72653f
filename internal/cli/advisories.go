package cli

import (
	"context"
	"errors"
	"path/filepath"
	"time"

	"plimsoll.dev/plimsoll/internal/debian/sources"
	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/vuln/advisory"
	"plimsoll.dev/plimsoll/internal/vuln/feed"
)

// advisories are the feeds of this home and the database made of them.
type advisories struct {
	env   *Env
	feeds []feed.Feed
	store *feed.Store
}

func (env *Env) advisories() (*advisories, error) {
	feeds, found, err := feed.Load(env.feedsFile())
	if err != nil {
		return nil, err
	}
	if !found {
		feeds = feed.Default()
	}
	return &advisories{env: env, feeds: feeds, store: feed.Open(filepath.Join(env.Home, "advisories"))}, nil
}

func (env *Env) feedsFile() string { return filepath.Join(env.Home, "feeds.yaml") }

// path is where the database lies.
func (a *advisories) path() string { return filepath.Join(a.env.Home, "advisories.db") }

// sync brings the feeds up to date; what could not be stays as it was.
func (a *advisories) sync(ctx context.Context, force bool) error {
	progress := a.env.progress()
	defer progress.close()
	return a.store.Sync(ctx, a.feeds, feed.Options{
		Agent: a.env.agent(), Force: force, Archive: a.archive, Progress: progress.update,
	})
}

// archive opens the signed archive of a feed that is derived from one.
func (a *advisories) archive(ctx context.Context, f feed.Feed) (feed.Archive, error) {
	return sources.Open(ctx, sources.Options{
		Suites: f.AllSuites(), Mirrors: f.Mirrors, Keyring: f.Keyring, Agent: a.env.agent(),
		Cache: filepath.Join(a.env.Home, "cache", "debian"), State: filepath.Join(a.env.Home, "archives"),
	})
}

// compile makes the database of what the feeds say now.
func (a *advisories) compile(ctx context.Context) (advisory.Stats, error) {
	var all []advisory.Feed
	known := advisory.Exploitation{Known: map[string]bool{}, EPSS: map[string]float64{}}
	for _, f := range a.feeds {
		switch f.Kind {
		case feed.KEV:
			for e, err := range a.store.Exploited(f) {
				if err != nil {
					return advisory.Stats{}, err
				}
				known.Known[e.CVE] = true
			}
		case feed.EPSS:
			for s, err := range a.store.Scores(f) {
				if err != nil {
					return advisory.Stats{}, err
				}
				known.EPSS[s.CVE] = s.EPSS
			}
		default:
			all = append(all, advisory.Feed{Name: f.Name, Records: a.store.Advisories(f)})
		}
	}
	return advisory.Build(ctx, a.path(), all, known)
}

// open gives the database, made anew when it is not usable.
func (a *advisories) open(ctx context.Context) (*advisory.Database, error) {
	db, err := advisory.Open(a.path())
	if err == nil {
		return db, nil
	}
	if !a.synced() {
		return nil, fault.Newf(fault.NotFound, "read advisories", "", "no feed was ever synced").
			WithHint("run `plimsoll feed sync`")
	}
	if fault.KindOf(err) != fault.NotFound && !errors.Is(err, advisory.ErrUnusable) {
		return nil, err
	}
	if _, err := a.compile(ctx); err != nil {
		return nil, err
	}
	return advisory.Open(a.path())
}

// synced says whether any feed has ever been fetched.
func (a *advisories) synced() bool {
	for _, s := range a.store.Status(a.feeds, time.Now()) {
		if !s.Synced.IsZero() {
			return true
		}
	}
	return false
}
