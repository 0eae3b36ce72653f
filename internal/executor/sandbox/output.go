package sandbox

import (
	"bytes"
	"io"
	"strings"
	"sync"
)

// writers wraps what the caller gave, so that the step gets pipes, never the caller's own
// files, and the two are not written to at the same time.
func writers(stdout, stderr io.Writer) (*locked, *tail) {
	if stdout == nil {
		stdout = io.Discard
	}
	if stderr == nil {
		stderr = io.Discard
	}
	one := &sync.Mutex{}
	return &locked{one: one, to: stdout}, &tail{to: &locked{one: one, to: stderr}}
}

type locked struct {
	one    *sync.Mutex
	to     io.Writer
	failed error // the first error of to; the step then finds its output closed
}

func (l *locked) Write(p []byte) (int, error) {
	l.one.Lock()
	defer l.one.Unlock()
	n, err := l.to.Write(p)
	if err != nil && l.failed == nil {
		l.failed = err
	}
	return n, err
}

// tail passes everything on and remembers the end, where bwrap says why it gave up.
type tail struct {
	to   *locked
	kept []byte
}

const tailBytes = 4096

func (t *tail) Write(p []byte) (int, error) {
	t.kept = append(t.kept, p[max(0, len(p)-tailBytes):]...)
	if len(t.kept) > tailBytes {
		t.kept = append(t.kept[:0], t.kept[len(t.kept)-tailBytes:]...)
	}
	return t.to.Write(p)
}

// lastLine gives the last line that starts so, or "".
func (t *tail) lastLine(start string) string {
	lines := strings.Split(string(bytes.TrimSpace(t.kept)), "\n")
	for i := len(lines) - 1; i >= 0; i-- {
		if strings.HasPrefix(lines[i], start) {
			return lines[i]
		}
	}
	return ""
}
