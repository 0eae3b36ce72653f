package cluster

import (
	"io"
	"os"
	"path/filepath"
	"sync"
)

// logBytes bounds a part's log; one older file of that size is kept beside it, as PATH.1.
const logBytes = 8 << 20

// boundedLog is a file that starts anew when it is full.
type boundedLog struct {
	path string

	mu   sync.Mutex
	file *os.File // nil until something is written
	size int64
}

var _ io.WriteCloser = (*boundedLog)(nil)

func newBoundedLog(path string) *boundedLog { return &boundedLog{path: path} }

// Write never fails: a part that cannot write its log goes on.
func (l *boundedLog) Write(data []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file != nil && l.size+int64(len(data)) > logBytes {
		_ = l.file.Close()
		_ = os.Rename(l.path, l.path+".1")
		l.file = nil
	}
	if l.file == nil {
		l.open()
	}
	if l.file != nil {
		n, _ := l.file.Write(data)
		l.size += int64(n)
	}
	return len(data), nil
}

func (l *boundedLog) open() {
	if err := os.MkdirAll(filepath.Dir(l.path), 0o700); err != nil {
		return
	}
	file, err := os.OpenFile(l.path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return
	}
	l.size = 0
	if info, err := file.Stat(); err == nil {
		l.size = info.Size()
	}
	l.file = file
}

func (l *boundedLog) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file == nil {
		return nil
	}
	err := l.file.Close()
	l.file = nil
	return err
}
