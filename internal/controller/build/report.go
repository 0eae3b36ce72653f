package build

import (
	"fmt"
	"io"
	"regexp"
	"strings"
	"unicode"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"plimsoll.dev/plimsoll/api/v1alpha1"
	"plimsoll.dev/plimsoll/internal/controller/logs"
	"plimsoll.dev/plimsoll/internal/controller/status"
)

// report is what a Build has told of itself on its way. The zero report is that of a rebase.
type report struct {
	steps  *steps
	logged bool   // there is a log
	said   string // its last lines that tell something
}

// explain adds to the status of a Build that has failed what its steps said, and where to read all.
func (r report) explain(b *v1alpha1.Build, s *v1alpha1.BuildStatus) {
	if s.Phase != v1alpha1.BuildFailed || !r.logged {
		return
	}
	if r.said != "" {
		s.Message += "\n" + r.said
	}
	s.Message += fmt.Sprintf("\nits whole log: plimsoll logs --namespace %s %s", b.Namespace, b.Name)
	status.Set(&s.Status, b.Generation, v1alpha1.ConditionSucceeded, metav1.ConditionFalse, string(s.Phase), s.Message)
}

// Bounds of what a status holds of a log.
const (
	mostLines  = 10
	longest    = 160      // runes of a line
	mostBehind = 16 << 10 // bytes that are looked at
)

// lastLines hands on what is written to it, and keeps the end.
type lastLines struct {
	out io.Writer
	end []byte
}

func (l *lastLines) Write(p []byte) (int, error) {
	l.end = append(l.end, p...)
	if len(l.end) > 2*mostBehind {
		l.end = append(l.end[:0], l.end[len(l.end)-mostBehind:]...)
	}
	return l.out.Write(p)
}

var (
	escapes = regexp.MustCompile(`\x1b\[[0-9:;<=>?]*[ -/]*[@-~]`) // ECMA-48, "Control sequences"

	// What the lifecycle prints around what a buildpack says.
	frame = regexp.MustCompile(`^(Timer: |ERROR: failed to build: exit status|ERROR: failed to build with)`)
)

// telling gives the last lines of the last step, as a person reads them, indented.
func (l *lastLines) telling() string {
	var out []string
	for line := range strings.Lines(string(l.end[max(0, len(l.end)-mostBehind):])) {
		if _, begins := logs.Begun(line); begins {
			out = nil
			continue
		}
		if line = readable(line); line != "" && !frame.MatchString(line) {
			out = append(out, "  "+line)
		}
	}
	return strings.Join(out[max(0, len(out)-mostLines):], "\n")
}

// readable gives what a terminal shows of a line in the end, and not too much of it.
func readable(line string) string {
	line = strings.TrimRight(escapes.ReplaceAllString(strings.ToValidUTF8(line, "�"), ""), " \t\r\n")
	line = line[strings.LastIndexByte(line, '\r')+1:]
	line = strings.Map(func(r rune) rune {
		switch {
		case r == '\t':
			return ' '
		case unicode.IsControl(r) || unicode.Is(unicode.Cf, r):
			return -1
		}
		return r
	}, line)
	if runes := []rune(line); len(runes) > longest {
		return string(runes[:longest]) + "…"
	}
	return line
}
