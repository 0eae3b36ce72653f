package registry

import (
	"fmt"
	"os"
	"strings"
	"sync"
)

// watched is a value read from files, read again when one of them has changed.
type watched[T any] struct {
	read  func() (T, error)
	files []string
	mu    sync.Mutex
	stamp string
	value T
	err   error
}

func newWatched[T any](read func() (T, error), files ...string) *watched[T] {
	return &watched[T]{read: read, files: files}
}

// get gives the value of the files as they are. With an error it gives the last good
// value, the zero one when there never was any.
func (w *watched[T]) get() (T, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if now := stampOf(w.files); now != w.stamp {
		value, err := w.read()
		if w.err = err; err == nil {
			w.value = value
		}
		w.stamp = now
	}
	return w.value, w.err
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
