package logs

import (
	"bytes"
	"fmt"
	"io"
	"strings"
)

// mark begins the line that says that a step begins.
const mark = "===> "

// Begin writes to a log that a step begins: "===> build amd64". Whoever runs in a step may print such a
// line, too: it divides the log for its readers, and decides nothing.
func Begin(log io.Writer, step, architecture string) {
	fmt.Fprintln(log, strings.TrimSpace(mark+step+" "+architecture))
}

// Begun gives the step that begins with the line, if one does.
func Begun(line string) (step string, ok bool) {
	rest, ok := strings.CutPrefix(line, mark)
	if !ok {
		return "", false
	}
	step, _, _ = strings.Cut(strings.TrimSpace(rest), " ")
	return step, step != ""
}

// only hands on the lines of one step.
type only struct {
	step string
	out  io.Writer

	inside bool
	held   []byte // the beginning of a line
}

// mostHeld bounds what waits for the end of its line.
const mostHeld = 64 << 10

// Write implements io.Writer.
func (o *only) Write(p []byte) (int, error) {
	o.held = append(o.held, p...)
	for {
		end := bytes.IndexByte(o.held, '\n') + 1
		if end == 0 && len(o.held) < mostHeld {
			return len(p), nil
		}
		if end == 0 {
			end = len(o.held)
		}
		if err := o.hand(o.held[:end]); err != nil {
			return 0, err
		}
		o.held = o.held[:copy(o.held, o.held[end:])]
	}
}

// close hands on what has no end of line.
func (o *only) close() error { return o.hand(o.held) }

func (o *only) hand(line []byte) error {
	if step, begins := Begun(string(line)); begins {
		o.inside = step == o.step
	}
	if !o.inside || len(line) == 0 {
		return nil
	}
	_, err := o.out.Write(line)
	return err
}
