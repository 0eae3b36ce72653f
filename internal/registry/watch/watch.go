// Package watch takes files and a way to read them, and gives the value that they hold now.
package watch

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"syscall"
)

// Value is read from files, and read again when one of them has changed. It is safe for
// concurrent use.
type Value[T any] struct {
	read  func() (T, error)
	files []string
	mu    sync.Mutex
	stamp string
	value T
	err   error
	told  bool // of err
}

// New gives a value that is not read yet. Read gets no more than one call at a time.
func New[T any](read func() (T, error), files ...string) *Value[T] {
	return &Value[T]{read: read, files: files}
}

// Get gives the value of the files as they are. With an error it gives the last good value,
// the zero one when there never was any.
func (w *Value[T]) Get() (T, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.refresh()
	return w.value, w.err
}

// Last gives the last good value, and complains of each change that gave none, once.
func (w *Value[T]) Last(complain func(error)) T {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.refresh()
	if w.err != nil && !w.told {
		w.told = true
		complain(w.err)
	}
	return w.value
}

func (w *Value[T]) refresh() {
	now := stampOf(w.files)
	if now == w.stamp {
		return
	}
	value, err := w.read()
	if w.err = err; err == nil {
		w.value = value
	}
	w.stamp, w.told = now, false
}

// stampOf gives a text that differs when a file was written or replaced.
func stampOf(files []string) string {
	var b strings.Builder
	for _, f := range files {
		info, err := os.Stat(f)
		if err != nil {
			fmt.Fprintf(&b, "%v;", err)
			continue
		}
		fmt.Fprintf(&b, "%d %d %d;", info.ModTime().UnixNano(), info.Size(), inode(info))
	}
	return b.String()
}

func inode(info os.FileInfo) uint64 {
	if sys, ok := info.Sys().(*syscall.Stat_t); ok {
		return sys.Ino
	}
	return 0
}
