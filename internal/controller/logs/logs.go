// Package logs takes what Builds print and gives it to whoever may read it, while they run and as
// long as they are kept.
package logs

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"

	"plimsoll.dev/plimsoll/internal/fault"
)

// Store keeps a file for each Build below a folder. Its methods are safe for concurrent use.
type Store struct {
	dir   string
	limit int64

	mu   sync.Mutex
	open map[string]*Log // those that are being written, by path
}

// New gives the store of a folder, which is made when something is written. limit bounds one log
// in bytes; 0 is 4 MiB.
func New(dir string, limit int64) *Store {
	return &Store{dir: dir, limit: cmp.Or(limit, 4<<20), open: map[string]*Log{}}
}

var name = regexp.MustCompile(`^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$`)

// path gives the file of a Build's log. Names that come from outside lead nowhere else.
func (s *Store) path(namespace, build string) (string, error) {
	for _, part := range []string{namespace, build} {
		if !name.MatchString(part) || strings.Contains(part, "..") {
			return "", fault.Newf(fault.Usage, "read log", namespace+"/"+build, "it is no name of a Build")
		}
	}
	return filepath.Join(s.dir, namespace, build+".log"), nil
}

// Create begins the log of a Build, in the place of one that it had before.
func (s *Store) Create(namespace, build string) (*Log, error) {
	path, err := s.path(namespace, build)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fault.New(fault.Failed, "write log", path, err)
	}
	// Whoever reads the one before keeps it: this is another file.
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fault.New(fault.Failed, "write log", path, err)
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fault.New(fault.Failed, "write log", path, err)
	}
	l := &Log{file: file, limit: s.limit, more: make(chan struct{})}
	l.closed = func() { s.forget(path, l) }
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open[path] = l
	return l, nil
}

func (s *Store) forget(path string, l *Log) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open[path] == l {
		delete(s.open, path)
	}
}

// Read writes the log of a Build to w. With follow it goes on as the Build does, until that ends
// or ctx does. The error is of kind NotFound for a Build that has printed nothing.
func (s *Store) Read(ctx context.Context, namespace, build string, follow bool, w io.Writer) error {
	path, err := s.path(namespace, build)
	if err != nil {
		return err
	}
	s.mu.Lock()
	writing := s.open[path]
	file, err := os.Open(path)
	s.mu.Unlock()
	if errors.Is(err, fs.ErrNotExist) {
		return fault.Newf(fault.NotFound, "read log", namespace+"/"+build, "there is none: it has not started, is a rebase, or ran on a replica that is gone")
	}
	if err != nil {
		return fault.New(fault.Failed, "read log", namespace+"/"+build, err)
	}
	defer file.Close()
	for {
		var more <-chan struct{}
		if writing != nil && follow {
			more = writing.next() // before the copy, so that nothing falls between
		}
		if _, err := io.Copy(w, file); err != nil {
			return err // the reader is gone
		}
		if more == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-more:
		}
	}
}

// Remove removes the log of a Build, if it has one.
func (s *Store) Remove(namespace, build string) error {
	path, err := s.path(namespace, build)
	if err != nil {
		return err
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fault.New(fault.Failed, "remove log", path, err)
	}
	return nil
}

// Sweep removes the logs of Builds that are not there any more.
func (s *Store) Sweep(there func(namespace, build string) bool) error {
	paths, err := filepath.Glob(filepath.Join(s.dir, "*", "*.log"))
	if err != nil {
		return err
	}
	var failed error
	for _, path := range paths {
		namespace, build := filepath.Base(filepath.Dir(path)), strings.TrimSuffix(filepath.Base(path), ".log")
		if !there(namespace, build) {
			failed = errors.Join(failed, s.Remove(namespace, build))
		}
	}
	return failed
}

// Log is one that is being written. Its methods are safe for concurrent use.
type Log struct {
	file   *os.File
	limit  int64
	closed func()

	mu    sync.Mutex
	size  int64
	tail  []byte // the last of what is beyond the limit
	cut   int64  // bytes beyond the limit, in all
	ended bool
	more  chan struct{} // closed when there is more; nil when there never will be
}

// tailSize is how much of the end of a log is kept that is too long: it says why a Build failed.
const tailSize = 64 << 10

// Write writes to the log. It never fails for want of room: the middle of what is too long is
// left out.
func (l *Log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended {
		return 0, fs.ErrClosed
	}
	head := p[:min(int64(len(p)), max(0, l.limit-l.size))]
	if len(head) > 0 {
		n, err := l.file.Write(head)
		l.size += int64(n)
		if err != nil {
			return n, err
		}
		close(l.more)
		l.more = make(chan struct{})
	}
	if rest := p[len(head):]; len(rest) > 0 {
		l.cut += int64(len(rest))
		l.tail = append(l.tail, rest...)
		if len(l.tail) > 2*tailSize {
			l.tail = append(l.tail[:0], l.tail[len(l.tail)-tailSize:]...)
		}
	}
	return len(p), nil
}

// Close ends the log.
func (l *Log) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended {
		return nil
	}
	l.ended = true
	if l.cut > 0 {
		tail := l.tail[max(0, len(l.tail)-tailSize):]
		if out := l.cut - int64(len(tail)); out > 0 {
			fmt.Fprintf(l.file, "\n[%d bytes are left out here]\n", out)
		}
		_, _ = l.file.Write(tail)
	}
	close(l.more)
	l.more = nil
	l.closed()
	return l.file.Close()
}

// next gives what is closed when there is more than now; nil when there never will be.
func (l *Log) next() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.more
}
