package audit

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/registry/access/pattern"
)

var (
	errTorn = errors.New("the last line is not whole")
	errLong = errors.New("a line is longer than any record")
)

// lines reads whole lines, none longer than a record may be.
type lines struct {
	r *bufio.Reader
	n int64 // bytes of the lines given
}

func newLines(r io.Reader) *lines { return &lines{r: bufio.NewReaderSize(r, maxLine+1)} }

// next gives a line without its end, which holds until the next call. It gives io.EOF at the
// end, and errTorn where something follows the last line's end.
func (l *lines) next() ([]byte, error) {
	line, err := l.r.ReadSlice('\n')
	switch {
	case err == nil:
		l.n += int64(len(line))
		return line[:len(line)-1], nil
	case errors.Is(err, bufio.ErrBufferFull):
		return nil, errLong
	case errors.Is(err, io.EOF) && len(line) > 0:
		return nil, errTorn
	}
	return nil, err
}

// parse reads a line.
func parse(line []byte) (*Entry, error) {
	e := &Entry{}
	decoder := json.NewDecoder(bytes.NewReader(line))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(e); err != nil {
		return nil, fmt.Errorf("no record: %w", err)
	}
	if decoder.InputOffset() != int64(len(line)) {
		return nil, errors.New("no record: more follows it")
	}
	if (e.Action == ActionCheckpoint) != (e.Checkpoint != nil) {
		return nil, errors.New("no record: neither a checkpoint nor something else")
	}
	return e, nil
}

// part is a segment up to where it ended when it was looked at.
type part struct {
	name string
	size int64
}

// snapshot gives the segments between two batches, and the newest checkpoint's line.
func snapshot(dir string) ([]part, []byte, error) {
	lock, err := os.Open(filepath.Join(dir, lockFile))
	if err != nil {
		return nil, nil, noLog(dir, err)
	}
	defer lock.Close()
	if err := flock(lock, unix.LOCK_SH); err != nil {
		return nil, nil, noLog(dir, err)
	}
	names, err := segments(dir)
	if err != nil {
		return nil, nil, noLog(dir, err)
	}
	var parts []part
	for _, name := range names {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			return nil, nil, noLog(dir, err)
		}
		parts = append(parts, part{name, info.Size()})
	}
	head, err := os.ReadFile(filepath.Join(dir, headFile))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, nil, noLog(dir, err)
	}
	return parts, bytes.TrimSuffix(head, []byte("\n")), nil
}

func noLog(dir string, err error) error {
	if errors.Is(err, os.ErrNotExist) {
		return fault.New(fault.NotFound, "read audit log", dir, err).WithHint("a log is begun by `plimsoll registry serve`")
	}
	return fault.New(fault.Failed, "read audit log", dir, err)
}

// eachLine calls each for the lines of a segment.
func (p part) eachLine(dir string, each func(line []byte) error) (torn int64, err error) {
	f, err := os.Open(filepath.Join(dir, p.name))
	if err != nil {
		return 0, err
	}
	defer f.Close()
	in := newLines(io.LimitReader(f, p.size))
	for {
		line, err := in.next()
		switch {
		case errors.Is(err, io.EOF):
			return 0, nil
		case errors.Is(err, errTorn):
			return p.size - in.n, nil
		case err != nil:
			return 0, err
		}
		if err := each(line); err != nil {
			return 0, err
		}
	}
}

// Filter says which records are wanted; what is zero leaves none out.
type Filter struct {
	Since, Until time.Time // of their time: from, and before
	Principal    string
	Repository   string // a pattern: "team/*", "team/**"
	Refused      bool   // only what was refused
	Checkpoints  bool   // those, too
}

func (f Filter) takes(e *Entry, repository pattern.Pattern) bool {
	if e.Checkpoint != nil && !f.Checkpoints || f.Refused && e.Outcome != Refused {
		return false
	}
	if !f.Since.IsZero() && e.Time.Before(f.Since) || !f.Until.IsZero() && !e.Time.Before(f.Until) {
		return false
	}
	if f.Principal != "" && f.Principal != e.Principal {
		return false
	}
	return f.Repository == "" || repository.Match(e.Repository)
}

// Read calls each, in order, for the records the filter takes, with their line as it is in the
// log, which holds until each returns. It does not say whether the log holds: Verify does. A
// line that cannot be read ends it. Errors are *fault.Error, and those of each.
func Read(ctx context.Context, dir string, f Filter, each func(e *Entry, line []byte) error) error {
	var repository pattern.Pattern
	if f.Repository != "" {
		var err error
		if repository, err = pattern.Compile(f.Repository, "/"); err != nil {
			return fault.New(fault.Usage, "read audit log", f.Repository, err).WithHint("give a pattern such as team/**")
		}
	}
	parts, _, err := snapshot(dir)
	if err != nil {
		return err
	}
	for _, p := range parts {
		number := 0
		_, err := p.eachLine(dir, func(line []byte) error {
			number++
			if err := ctx.Err(); err != nil {
				return err
			}
			e, err := parse(line)
			if err != nil {
				return fault.New(fault.Failed, "read audit log", fmt.Sprintf("%s:%d", p.name, number), err).
					WithHint("`plimsoll registry audit verify` says what is wrong")
			}
			if !f.takes(e, repository) {
				return nil
			}
			return each(e, line)
		})
		if err != nil {
			return err
		}
	}
	return nil
}
