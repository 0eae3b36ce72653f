package feed

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"plimsoll.dev/plimsoll/internal/aside"
)

// part is the folder of one ecosystem of one feed. Its state names the file of records that
// counts, so that both change with one rename.
type part struct {
	dir  string
	name string
	state
}

// state is what is known of a part.
type state struct {
	URL    string `json:"url,omitempty"`  // where it came from, without credentials
	Made   string `json:"made,omitempty"` // how: Feed.made
	Serial int    `json:"serial,omitempty"`

	Records   int       `json:"records"`
	Withdrawn int       `json:"withdrawn,omitempty"`
	Digest    string    `json:"digest,omitempty"` // SHA-256 of the lines
	Newest    time.Time `json:"newest,omitzero"`  // of the records' modified

	Rejected    int    `json:"rejected,omitempty"` // records that could not be read
	RejectedWhy string `json:"rejectedWhy,omitempty"`

	Seen  validators `json:"seen,omitzero"`   // of the file that was read last
	Index validators `json:"index,omitzero"`  // of the list of changes that was read last
	Input string     `json:"input,omitempty"` // digest of what it was made from

	Synced time.Time `json:"synced,omitzero"` // last time that the feed was asked and all was well
	Tried  time.Time `json:"tried,omitzero"`
	Error  string    `json:"error,omitempty"` // of the last try; "" when it went well
}

// isOf says whether what is kept was made of the feed as it is configured now. If not, it
// stays till the feed was read again, however unchanged that is.
func (s state) isOf(f Feed) bool {
	return s.Serial > 0 && s.URL == redact(f.URL) && s.Made == f.made()
}

// seenBy gives the validators of what was read last, if the feed is still the same.
func (s state) seenBy(f Feed) validators {
	if !s.isOf(f) {
		return validators{}
	}
	return s.Seen
}

const stateFile = "state.json"

// openPart reads the state of the part. A state that cannot be read is none.
func openPart(dir, name string) *part {
	p := &part{dir: filepath.Join(dir, url.PathEscape(name)), name: name}
	text, err := os.ReadFile(filepath.Join(p.dir, stateFile))
	if err == nil && json.Unmarshal(text, &p.state) != nil {
		p.state = state{}
	}
	return p
}

func (p *part) save() error {
	text, err := json.MarshalIndent(p.state, "", "  ")
	if err != nil {
		return err
	}
	return aside.WriteDurable(filepath.Join(p.dir, stateFile), append(text, '\n'))
}

// records is the path of the file that counts, or "".
func (p *part) records() string {
	if p.Serial == 0 {
		return ""
	}
	return p.file(p.Serial)
}

func (p *part) file(serial int) string {
	return filepath.Join(p.dir, fmt.Sprintf("records-%d.zst", serial))
}

// replace puts the entries in the place of those that are there, if they may stand there.
// Old ones stay whose ids are in stay. The state is not yet saved: with it, they come to
// count.
func (p *part) replace(ctx context.Context, entries iter.Seq2[entry, error], stay map[string]bool, force bool) error {
	return p.put(ctx, readEntries(p.records()), entries, stay, force)
}

// put is replace for old entries that need not be those that are there.
func (p *part) put(ctx context.Context, old, entries iter.Seq2[entry, error], stay map[string]bool, force bool) error {
	next := p.state
	next.Serial++
	t := tally{stay: stay}
	err := aside.Write(p.file(next.Serial), func(f *os.File) (err error) {
		if next.Digest, err = writeEntries(ctx, f, t.merge(old, entries)); err != nil {
			return err
		}
		if !force {
			if err := t.judge(); err != nil {
				return err
			}
		}
		return f.Sync()
	})
	if err != nil {
		return err
	}
	next.Records, next.Withdrawn, next.Newest = t.kept, t.withdrawn, t.newest
	p.state = next
	return nil
}

// sweep removes the files of records that do not count.
func (p *part) sweep() error {
	found, err := filepath.Glob(filepath.Join(p.dir, "records-*.zst"))
	if err != nil {
		return err
	}
	for _, path := range found {
		if path != p.records() {
			if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
	}
	return aside.Sweep(p.dir, time.Hour)
}

// tally counts what a merge does.
type tally struct {
	old, kept, withdrawn int
	lost                 int // records that counted and would not any more: gone, or newly withdrawn
	back                 int // records that are older than before
	newest, newestBefore time.Time

	// stay are ids of records that the feed has and that cannot be read: what is known of
	// them stays. It grows while new entries are read.
	stay map[string]bool
}

// maxLost is the share of a part's records, in percent, that may be lost at once: public
// databases lose or withdraw some in a thousand in a year.
const maxLost = 20

var errShrunk = errors.New("it would lose too many records")
var errOlder = errors.New("it is older than what is here")
var errEmpty = errors.New("it holds no records")

// judge says whether the merged entries may replace the old ones.
func (t *tally) judge() error {
	switch {
	case t.kept == 0:
		return errEmpty
	case t.newest.Before(t.newestBefore):
		return fmt.Errorf("%w: its newest record is of %s, not of %s", errOlder, t.newest.Format(time.RFC3339), t.newestBefore.Format(time.RFC3339))
	case t.lost*100 > t.old*maxLost:
		return fmt.Errorf("%w: %d of %d are gone or withdrawn", errShrunk, t.lost, t.old)
	case t.back*100 > t.old*maxLost:
		return fmt.Errorf("%w: %d of %d records go back", errOlder, t.back, t.old)
	}
	return nil
}

// merge gives the new entries, but the old one where the new one is older: a single record
// that is replayed must not undo what is known.
func (t *tally) merge(old, fresh iter.Seq2[entry, error]) iter.Seq2[entry, error] {
	return func(yield func(entry, error) bool) {
		next, stop := iter.Pull2(old)
		defer stop()
		was, err, more := next()
		// pass goes over the old entries that the new ones left out.
		pass := func(isLeftOut func(id string) bool) bool {
			for ; more && err == nil && isLeftOut(was.id); was, err, more = next() {
				t.was(was)
				if !t.stay[was.id] {
					t.lose(was)
				} else if t.keep(was); !yield(was, nil) {
					return false
				}
			}
			return true
		}
		for e, freshErr := range fresh {
			if failed := cmp.Or(freshErr, err); failed != nil {
				yield(entry{}, failed)
				return
			}
			if !pass(func(id string) bool { return id < e.id }) {
				return
			}
			if same := more && err == nil && was.id == e.id; same {
				t.was(was)
				e = t.newer(was, e)
				t.keep(e)
				if !yield(e, nil) {
					return
				}
				was, err, more = next()
				continue
			}
			if t.keep(e); !yield(e, nil) {
				return
			}
		}
		if pass(func(string) bool { return true }) && err != nil {
			yield(entry{}, err)
		}
	}
}

func (t *tally) was(e entry) {
	t.old++
	if e.modified.After(t.newestBefore) {
		t.newestBefore = e.modified
	}
}

func (t *tally) lose(was entry) {
	if !was.withdrawn {
		t.lost++
	}
}

// newer gives the one of both that counts.
func (t *tally) newer(was, e entry) entry {
	switch {
	case e.modified.Before(was.modified):
		t.back++
		return was
	case e.withdrawn:
		t.lose(was)
	}
	return e
}

func (t *tally) keep(e entry) {
	t.kept++
	if e.withdrawn {
		t.withdrawn++
	}
	if e.modified.After(t.newest) {
		t.newest = e.modified
	}
}

// age gives how long ago the part was last found well; 0 when it never was.
func (s state) age(now time.Time) time.Duration {
	if s.Synced.IsZero() {
		return 0
	}
	return now.Sub(s.Synced)
}
