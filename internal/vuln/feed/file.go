package feed

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Bytes of a feed that is one file, and of what it unpacks to: some ten times what is
// published. It is read in memory.
const (
	maxExploit = 64 << 20 // kev, epss
	maxTracker = 512 << 20
)

// parse reads a feed that is one file. at is when the file was made, as far as its server
// or folder tells.
type parse func(plain io.Reader, at time.Time) ([]entry, error)

// syncFile brings a feed up to date that is one file, packed with gzip or not, of at most
// limit bytes.
func (s *syncer) syncFile(ctx context.Context, f Feed, p *part, read parse, limit int64) error {
	folder, name := splitURL(f.URL)
	sums, err := f.vouched(ctx, s.origin(folder))
	if err != nil {
		return err
	}
	d, err := s.origin(f.URL).fetch(ctx, "", filepath.Join(p.dir, "file"), p.seenBy(f), limit)
	if err != nil || d == nil {
		return err
	}
	err = sums.check(name, d.sha256)
	if err == nil && (d.sha256 != p.Input || !p.isOf(f)) {
		err = s.replaceByFile(ctx, p, d, read, limit)
	}
	p.Seen, p.Input = d.validators, d.sha256
	return errors.Join(err, forget(d.path))
}

// splitURL gives the folder that the file of the address is in, and its name there.
func splitURL(address string) (folder, name string) {
	plain, _, _ := strings.Cut(address, "?")
	return strings.TrimSuffix(plain, path.Base(plain)), path.Base(plain)
}

func (s *syncer) replaceByFile(ctx context.Context, p *part, d *download, read parse, limit int64) error {
	f, err := os.Open(d.path)
	if err != nil {
		return err
	}
	defer f.Close()
	plain, err := unzipped(f)
	if err != nil {
		return err
	}
	limited := &io.LimitedReader{R: plain, N: limit}
	entries, err := read(bufio.NewReaderSize(limited, 1<<16), s.made(d.validators))
	if limited.N <= 0 {
		return fmt.Errorf("%w: it unpacks to more than %d bytes", errLarge, limit)
	}
	if err != nil {
		return err
	}
	slices.SortFunc(entries, func(a, b entry) int { return strings.Compare(a.id, b.id) })
	return p.replace(ctx, sound(entries), nil, s.Force)
}

// unzipped gives the plain stream of a file that may be packed with gzip.
func unzipped(f *os.File) (io.Reader, error) {
	head := make([]byte, 2)
	if _, err := io.ReadFull(f, head); err != nil {
		return nil, errors.New("it is empty")
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	if bytes.Equal(head, []byte{0x1f, 0x8b}) {
		return gzip.NewReader(f)
	}
	return f, nil
}

// made gives when the file was made, in full seconds; now, when nobody says.
func (s *syncer) made(v validators) time.Time {
	if at, err := http.ParseTime(v.Modified); err == nil {
		return at.UTC()
	}
	return s.Now().UTC().Truncate(time.Second)
}

// sound gives the entries as they are.
func sound(entries []entry) iter.Seq2[entry, error] {
	return func(yield func(entry, error) bool) {
		for _, e := range entries {
			if !yield(e, nil) {
				return
			}
		}
	}
}
