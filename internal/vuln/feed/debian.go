package feed

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"

	"plimsoll.dev/plimsoll/internal/aside"
	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/vuln/changelog"
	"plimsoll.dev/plimsoll/internal/vuln/osv"
)

// Archive is a signed Debian archive of one release, as far as a debian feed reads it. All
// that it gives was verified.
type Archive interface {
	// Release gives the release's number ("13"), and a digest that changes when any of its
	// source packages does.
	Release() (version, digest string)

	// Changelogs reads the changelog of the newest version of each source package that may
	// have been fixed since the release, but of those that have says it knows. Both may be
	// called from several goroutines. sum is of a file that tells the version's contents.
	// missing are packages that the archive lists and does not have.
	Changelogs(ctx context.Context, have func(source, version, sum string) bool, read func(source, version, sum string, changelog io.Reader) error) (missing []string, err error)
}

// sourcePattern is that of Debian Policy 5.6.1: such a name is safe as a file's.
var sourcePattern = regexp.MustCompile(`^[a-z0-9][a-z0-9+.-]{1,127}$`)

// kept is what stays on the disk of one source package's changelog, in a file of its name.
type kept struct {
	Version string `json:"version"`
	Sum     string `json:"sum"`
	Excerpt string `json:"excerpt"`
}

// syncDebian reads the changelogs of what is new in the archive, keeps of each what names a
// CVE, and makes the records from all that is kept. A changelog once read is not read again,
// however the sync ends; one whose package has left the archive stays true.
func (s *syncer) syncDebian(ctx context.Context, f Feed, p *part) error {
	if s.Archive == nil {
		return fault.Newf(fault.Usage, "sync feed", f.Name, "no Debian archive is known").
			WithHint("run on a machine with apt sources, or name mirrors in the feed")
	}
	archive, err := s.Archive(ctx, f)
	if err != nil {
		return err
	}
	release, digest := archive.Release()
	unchanged := digest == p.Input && p.isOf(f)
	if unchanged && p.Rejected == 0 {
		return nil
	}
	dir := p.changelogs()
	var fresh atomic.Int64
	wanted := 0
	have := func(source, version, sum string) bool {
		k, ok := readKept(filepath.Join(dir, source))
		if ok = ok && k.Version == version && k.Sum == sum; !ok {
			wanted++
		}
		return ok
	}
	read := func(source, version, sum string, text io.Reader) error {
		if !sourcePattern.MatchString(source) {
			return fmt.Errorf("%.60q is no name of a source package", source)
		}
		excerpt, err := changelog.Excerpt(text, source)
		if err != nil {
			return err
		}
		if err := writeKept(filepath.Join(dir, source), kept{version, sum, string(excerpt)}); err != nil {
			return err
		}
		s.progress("changelogs", int(fresh.Add(1)), wanted)
		return nil
	}
	missing, err := archive.Changelogs(ctx, have, read)
	if err != nil {
		return err
	}
	if fresh.Load() > 0 || !unchanged {
		if err := p.derive(ctx, f, release, s.Force); err != nil {
			return err
		}
	}
	p.Rejected, p.RejectedWhy = len(missing), ""
	if len(missing) > 0 {
		p.RejectedWhy = "the mirror does not have " + strings.Join(missing[:min(len(missing), 3)], ", ")
	}
	p.Input = digest
	return nil
}

// changelogs is the folder of what is kept of them.
func (p *part) changelogs() string { return filepath.Join(p.dir, "changelogs") }

// derive makes the records from all that is kept. Those that were made of other suites, or by
// other rules, are nothing to hold them against: they may have called newer what is not.
func (p *part) derive(ctx context.Context, f Feed, release string, force bool) error {
	dir := p.changelogs()
	files, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	var packages []changelog.Package
	for _, file := range files {
		if k, ok := readKept(filepath.Join(dir, file.Name())); ok {
			packages = append(packages, changelog.Package{Source: file.Name(), Changelog: []byte(k.Excerpt)})
		}
	}
	records, err := changelog.Records(release, packages)
	if err != nil {
		return err
	}
	old := readEntries(p.records())
	if !p.isOf(f) {
		old = readEntries("")
	}
	return p.put(ctx, old, entriesOf(records), nil, force)
}

// entriesOf gives the entries of records that are sorted by id.
func entriesOf(records []*osv.Record) iter.Seq2[entry, error] {
	return func(yield func(entry, error) bool) {
		for _, r := range records {
			if e, err := entryOf(r); !yield(e, err) || err != nil {
				return
			}
		}
	}
}

func readKept(path string) (kept, bool) {
	var k kept
	text, ok := aside.ReadSealed(path)
	return k, ok && json.Unmarshal(text, &k) == nil
}

func writeKept(path string, k kept) error {
	text, err := json.Marshal(k)
	if err != nil {
		return err
	}
	return aside.WriteSealed(path, text)
}
