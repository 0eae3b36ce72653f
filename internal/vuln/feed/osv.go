package feed

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/klauspost/compress/zip"

	"plimsoll.dev/plimsoll/internal/vuln/osv"
)

// What an archive of records may hold. The largest that is published, npm's, has some
// 250,000 records in 200 MB.
const (
	maxArchive = 8 << 30
	maxRecords = 4 << 20
	// maxRatio bounds what unpacks from one byte: JSON deflates to a tenth, a bomb to a
	// thousandth.
	maxRatio = 100
)

// errHostile says that a file is made to harm, or broken beyond telling.
var errHostile = errors.New("it is no archive of records")

// syncOSV brings one ecosystem up to date: from the list of changes when that is little,
// else from the archive of all.
func (s *syncer) syncOSV(ctx context.Context, f Feed, p *part) error {
	o := s.origin(f.URL)
	sums, err := f.vouched(ctx, o)
	if err != nil {
		return err
	}
	if sums == nil && p.isOf(f) {
		done, err := s.syncChanges(ctx, o, p)
		if done || err != nil {
			return err
		}
	}
	name := p.name + "/all.zip"
	d, err := o.fetch(ctx, name, filepath.Join(p.dir, "all.zip"), p.seenBy(f), maxArchive)
	if err != nil || d == nil {
		return err
	}
	err = sums.check(name, d.sha256)
	if err == nil && (d.sha256 != p.Input || !p.isOf(f)) {
		err = s.replaceByArchive(ctx, p, d.path)
	}
	p.Seen, p.Input = d.validators, d.sha256
	return errors.Join(err, forget(d.path))
}

func (s *syncer) replaceByArchive(ctx context.Context, p *part, path string) error {
	packed, err := zip.OpenReader(path)
	if err != nil {
		return fmt.Errorf("%w: %w", errHostile, err)
	}
	defer packed.Close()
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	records, err := openArchive(&packed.Reader, uint64(info.Size()))
	if err != nil {
		return err
	}
	s.progress(p.name, 0, len(records.files))
	records.progress = func(done int) { s.progress(p.name, done, len(records.files)) }
	if err := p.replace(ctx, records.entries(), records.rejected, s.Force); err != nil {
		return err
	}
	p.Rejected, p.RejectedWhy = len(records.rejected), records.why
	return nil
}

// records are those of an archive.
type records struct {
	files    []*zip.File // sorted by id
	rejected map[string]bool
	why      string // of the first that was rejected
	progress func(done int)
}

// openArchive refuses an archive of length bytes that could harm before anything of it is
// unpacked.
func openArchive(packed *zip.Reader, length uint64) (*records, error) {
	if len(packed.File) > maxRecords {
		return nil, fmt.Errorf("%w: it has more than %d files", errHostile, maxRecords)
	}
	r := &records{files: slices.Clone(packed.File), rejected: map[string]bool{}, progress: func(int) {}}
	var size, plain uint64
	for _, f := range r.files {
		id, isJSON := strings.CutSuffix(f.Name, ".json")
		if !isJSON || !osv.ValidID(id) || !f.Mode().IsRegular() {
			return nil, fmt.Errorf("%w: it has a file called %.60q", errHostile, f.Name)
		}
		if f.UncompressedSize64 > osv.MaxRecord {
			return nil, fmt.Errorf("%w: %s has %d bytes", errHostile, f.Name, f.UncompressedSize64)
		}
		if f.CompressedSize64 > length-size { // a size that is a lie, or files that share their bytes
			return nil, fmt.Errorf("%w: its files are said to be larger than its %d bytes", errHostile, length)
		}
		size += f.CompressedSize64
		plain += f.UncompressedSize64
	}
	if plain > maxRatio*size {
		return nil, fmt.Errorf("%w: %d bytes would unpack to %d", errHostile, size, plain)
	}
	slices.SortFunc(r.files, func(a, b *zip.File) int { return cmp.Compare(idOf(a), idOf(b)) })
	for i := range len(r.files) - 1 {
		if r.files[i].Name == r.files[i+1].Name {
			return nil, fmt.Errorf("%w: it has %s twice", errHostile, r.files[i].Name)
		}
	}
	return r, nil
}

func idOf(f *zip.File) string { return strings.TrimSuffix(f.Name, ".json") }

// entries gives the records that can be read. Some that cannot are noted; too many end it.
func (r *records) entries() iter.Seq2[entry, error] {
	return func(yield func(entry, error) bool) {
		for i, f := range r.files {
			e, err := readRecord(f)
			if err != nil {
				err = r.reject(idOf(f), err)
			}
			if i%1024 == 1023 || i == len(r.files)-1 {
				r.progress(i + 1)
			}
			if (err != nil || e.id != "") && !yield(e, err) {
				return
			}
		}
	}
}

// reject notes a record, or gives an error when there are too many: one in a hundred.
func (r *records) reject(id string, why error) error {
	if errors.Is(why, errHostile) {
		return why
	}
	if r.rejected[id] = true; r.why == "" {
		r.why = fmt.Sprintf("%s: %v", id, why)
	}
	if len(r.rejected) > 4+len(r.files)/100 {
		return fmt.Errorf("%d of %d records cannot be read, the first being %s", len(r.rejected), len(r.files), r.why)
	}
	return nil
}

// readRecord reads one file of an archive, which must be what its name says.
func readRecord(f *zip.File) (entry, error) {
	body, err := f.Open()
	if err != nil {
		return entry{}, fmt.Errorf("%w: %w", errHostile, err)
	}
	defer body.Close()
	text, err := io.ReadAll(io.LimitReader(body, osv.MaxRecord+1))
	if err != nil {
		return entry{}, fmt.Errorf("%w: %s: %w", errHostile, f.Name, err)
	}
	return newEntry(idOf(f), text)
}

// newEntry makes the entry of a record that is called id.
func newEntry(id string, text []byte) (entry, error) {
	r, err := osv.Parse(text)
	if err != nil {
		return entry{}, err
	}
	if r.ID != id {
		return entry{}, fmt.Errorf("it says that it is %s", r.ID)
	}
	return entryOf(r)
}

func entryOf(r *osv.Record) (entry, error) {
	line, err := json.Marshal(r)
	return entry{id: r.ID, modified: r.Modified, withdrawn: !r.Withdrawn.IsZero(), json: line}, err
}
