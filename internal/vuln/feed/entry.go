package feed

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"time"

	"github.com/klauspost/compress/zstd"

	"plimsoll.dev/plimsoll/internal/vuln/osv"
)

// entry is one record of a part, as it is kept: one line of
//
//	id TAB modified TAB "w" if withdrawn TAB JSON
//
// of a zstd file, sorted by id. Merging looks at the first three fields only.
type entry struct {
	id        string
	modified  time.Time
	withdrawn bool
	json      []byte // one line; valid until the next entry
}

// maxLine bounds a line: a record is kept smaller than it came.
const maxLine = osv.MaxRecord + 1<<10

func (e entry) appendLine(line []byte) []byte {
	line = append(append(line, e.id...), '\t')
	line = append(e.modified.AppendFormat(line, time.RFC3339Nano), '\t')
	if e.withdrawn {
		line = append(line, 'w')
	}
	line = append(append(line, '\t'), e.json...)
	return append(line, '\n')
}

func readLine(line []byte) (entry, error) {
	var e entry
	fields := bytes.SplitN(line, []byte("\t"), 4)
	if len(fields) != 4 {
		return e, errors.New("it is no line of a record")
	}
	modified, err := time.Parse(time.RFC3339Nano, string(fields[1]))
	return entry{id: string(fields[0]), modified: modified, withdrawn: len(fields[2]) > 0, json: fields[3]}, err
}

// writeEntries writes the entries, which come in order, and gives the SHA-256 of the lines.
func writeEntries(ctx context.Context, w io.Writer, entries iter.Seq2[entry, error]) (digest string, err error) {
	sum := sha256.New()
	packed, err := zstd.NewWriter(w, zstd.WithEncoderConcurrency(1))
	if err != nil {
		return "", err
	}
	defer packed.Close()
	out := bufio.NewWriterSize(io.MultiWriter(packed, sum), 1<<16)
	var line []byte
	last := ""
	for e, err := range entries {
		if err == nil {
			err = ctx.Err()
		}
		if err == nil && e.id <= last && last != "" {
			err = fmt.Errorf("%q comes after %q", e.id, last)
		}
		if err != nil {
			return "", err
		}
		last = e.id
		if line = e.appendLine(line[:0]); len(line) > maxLine {
			return "", fmt.Errorf("%s is longer than %d bytes", e.id, maxLine)
		}
		if _, err := out.Write(line); err != nil {
			return "", err
		}
	}
	if err := errors.Join(out.Flush(), packed.Close()); err != nil {
		return "", err
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

// readEntries gives the entries of a file that writeEntries wrote; none when path is "".
// Their bytes are good until the next one.
func readEntries(path string) iter.Seq2[entry, error] {
	return func(yield func(entry, error) bool) {
		if path == "" {
			return
		}
		f, err := os.Open(path)
		if err != nil {
			yield(entry{}, damaged(path, err))
			return
		}
		defer f.Close()
		plain, err := zstd.NewReader(f, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(64<<20))
		if err != nil {
			yield(entry{}, damaged(path, err))
			return
		}
		defer plain.Close()
		lines := bufio.NewScanner(plain)
		lines.Buffer(make([]byte, 1<<16), maxLine)
		for lines.Scan() {
			e, err := readLine(lines.Bytes())
			if err != nil {
				err = damaged(path, err)
			}
			if !yield(e, err) || err != nil {
				return
			}
		}
		if err := lines.Err(); err != nil {
			yield(entry{}, damaged(path, err))
		}
	}
}

// errDamaged says that a disk does not give back what was written.
var errDamaged = errors.New("the kept records are damaged")

func damaged(path string, err error) error { return fmt.Errorf("%w: %s: %w", errDamaged, path, err) }
