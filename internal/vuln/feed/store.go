package feed

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/vuln/osv"
)

// Store is the folder where records are kept, that of a feed below it by its name. Any
// number may read it while one syncs.
type Store struct{ dir string }

// Open gives the store in the folder, which need not exist.
func Open(dir string) *Store { return &Store{dir} }

func (s *Store) folder(f Feed) string { return filepath.Join(s.dir, f.Name) }

// Options say how feeds are synced.
type Options struct {
	Agent string           // User-Agent of requests
	Now   func() time.Time // nil is time.Now

	// Force takes what was found sound but for being older or far smaller than what is
	// there.
	Force bool

	// Archive opens the signed archive of a debian feed. nil: such feeds fail.
	Archive func(ctx context.Context, f Feed) (Archive, error)

	// Progress hears that done of total items of a stage are finished, from several
	// goroutines; nil does not.
	Progress func(stage string, done, total int)
}

// syncer is one Sync.
type syncer struct {
	Options
	client *http.Client
}

func (s *syncer) origin(base string) *origin {
	return &origin{base: base, client: s.client, agent: s.Agent}
}

func (s *syncer) progress(stage string, done, total int) {
	if s.Progress != nil {
		s.Progress(stage, done, total)
	}
}

// Sync brings each part of each feed up to date, one after the other. What cannot be stays as
// it was; its Status tells why, and the error tells of the first.
func (s *Store) Sync(ctx context.Context, feeds []Feed, options Options) error {
	if options.Now == nil {
		options.Now = time.Now
	}
	sync := &syncer{Options: options, client: newClient()}
	defer sync.client.CloseIdleConnections()
	var failed []error
	for _, f := range feeds {
		if err := f.Check(); err != nil {
			return err
		}
		failed = append(failed, s.syncFeed(ctx, sync, f)...)
		if ctx.Err() != nil {
			break
		}
	}
	if len(failed) > 1 {
		return fault.New(fault.KindOf(failed[0]), "sync feeds", "", fmt.Errorf("%d parts failed, the first being %w", len(failed), failed[0])).
			WithHint("the status of the feeds tells of each")
	}
	return errors.Join(failed...)
}

func (s *Store) syncFeed(ctx context.Context, sync *syncer, f Feed) (failed []error) {
	dir := s.folder(f)
	unlock, err := lock(dir)
	if err != nil {
		return []error{fault.New(fault.Failed, "lock feed", f.Name, err)}
	}
	defer unlock()
	for _, name := range f.parts() {
		if err := sync.part(ctx, f, openPart(dir, name)); err != nil {
			failed = append(failed, err)
		}
	}
	return failed
}

// part brings one part up to date and saves what came of it.
func (s *syncer) part(ctx context.Context, f Feed, p *part) error {
	before := p.state
	err := os.MkdirAll(p.dir, 0o755)
	if err == nil {
		err = s.read(ctx, f, p)
	}
	if errors.Is(err, errDamaged) {
		p.state = state{} // nothing is left to hold the feed against
		err = s.read(ctx, f, p)
	}
	err = judge(ctx, "sync feed", f.Name+"/"+p.name, err)
	if err != nil && errors.Is(ctx.Err(), context.Canceled) {
		p.state = before // that somebody stopped it says nothing of the feed
		return errors.Join(err, p.sweep())
	}
	now := s.Now().UTC()
	if err != nil {
		p.state = before // what was read on the way to the failure does not count
		p.Tried, p.Error = now, err.Error()
	} else {
		p.URL, p.Made, p.Tried, p.Synced, p.Error = redact(f.URL), f.made(), now, now, ""
	}
	if saved := p.save(); saved != nil {
		return errors.Join(err, fault.New(fault.Failed, "save feed", f.Name, saved))
	}
	return errors.Join(err, p.sweep())
}

func (s *syncer) read(ctx context.Context, f Feed, p *part) error {
	switch f.Kind {
	case OSV:
		return s.syncOSV(ctx, f, p)
	case Debian:
		return s.syncDebian(ctx, f, p)
	case Tracker:
		return s.syncFile(ctx, f, p, trackerParser(f), maxTracker)
	case KEV:
		return s.syncFile(ctx, f, p, parseKEV, maxExploit)
	case EPSS:
		return s.syncFile(ctx, f, p, parseEPSS, maxExploit)
	}
	return fmt.Errorf("kind %q is not known", string(f.Kind))
}

// Status tells how one part of a feed stands.
type Status struct {
	Feed string `json:"feed"`
	Kind Kind   `json:"kind"`
	Part string `json:"part"`          // the ecosystem, or the kind for feeds of one part
	URL  string `json:"url,omitempty"` // without credentials

	Records     int           `json:"records"`
	Withdrawn   int           `json:"withdrawn,omitempty"`   // of them
	Rejected    int           `json:"rejected,omitempty"`    // that the feed has and that could not be read
	RejectedWhy string        `json:"rejectedWhy,omitempty"` // of the first
	Digest      string        `json:"digest,omitempty"`      // of all records: equal digests are equal records
	Newest      time.Time     `json:"newest,omitzero"`       // when the newest record was modified
	Synced      time.Time     `json:"synced,omitzero"`       // when the feed was last found well; zero: never
	Age         time.Duration `json:"age,omitempty"`         // since then, in nanoseconds
	Error       string        `json:"error,omitempty"`       // of the last sync; "" when it went well
}

// Status gives that of each part of each feed.
func (s *Store) Status(feeds []Feed, now time.Time) []Status {
	var all []Status
	for _, f := range feeds {
		for _, name := range f.parts() {
			p := openPart(s.folder(f), name)
			all = append(all, Status{
				Feed: f.Name, Kind: f.Kind, Part: name, URL: redact(f.URL),
				Records: p.Records, Withdrawn: p.Withdrawn, Rejected: p.Rejected, RejectedWhy: p.RejectedWhy,
				Digest: p.Digest, Newest: p.Newest, Synced: p.Synced, Age: p.age(now), Error: p.Error,
			})
		}
	}
	return all
}

// Advisories gives the records of one feed, those of each part sorted by id. A feed that was
// never synced, or is of a kind that has no advisories, has none.
func (s *Store) Advisories(f Feed) iter.Seq2[*osv.Record, error] {
	return func(yield func(*osv.Record, error) bool) {
		if f.Kind == KEV || f.Kind == EPSS {
			return
		}
		for e, err := range s.entries(f) {
			var r *osv.Record
			if err == nil {
				r, err = osv.Parse(e.json)
			}
			if err != nil {
				err = unreadable(s, f, err)
			}
			if !yield(r, err) || err != nil {
				return
			}
		}
	}
}

// entries gives those of all parts of the feed.
func (s *Store) entries(f Feed) iter.Seq2[entry, error] {
	return func(yield func(entry, error) bool) {
		for _, name := range f.parts() {
			for e, err := range s.partEntries(f.Name, name) {
				if !yield(e, err) {
					return
				}
			}
		}
	}
}

// partEntries reads the file that counts. One that a sync has just replaced is gone: then
// the next one counts.
func (s *Store) partEntries(feed, name string) iter.Seq2[entry, error] {
	return func(yield func(entry, error) bool) {
		for range tries {
			again := false
			for e, err := range readEntries(openPart(filepath.Join(s.dir, feed), name).records()) {
				if again = errors.Is(err, fs.ErrNotExist); again {
					break
				}
				if !yield(e, err) {
					return
				}
			}
			if !again {
				return
			}
		}
		yield(entry{}, fmt.Errorf("the records of %s are gone", name))
	}
}

// lock holds the feed's folder for one sync until the function it gives is called.
func lock(dir string) (func(), error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		f.Close()
		return nil, err
	}
	return func() { f.Close() }, nil
}
