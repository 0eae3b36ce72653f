package build

import (
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestTelling(t *testing.T) {
	for _, c := range []struct{ name, reason, log, want string }{
		{"the last step's", "what went well before tells nothing", "===> detect\nfits\n===> build\nmain.go:3: undefined: x\n", "  main.go:3: undefined: x"},
		{"without its frame", "the lifecycle says it again, with less", "===> build\nnpm ERR! missing: left-pad\nTimer: Builder ran for 2s\nERROR: failed to build: exit status 1\n", "  npm ERR! missing: left-pad"},
		{"as a terminal shows it", "colours and progress are noise, and control characters do harm", "===> build\n\x1b[31mred\x1b[0m\n10 %\r100 %\n\n a\tb\x07\u202e \n", "  red\n  100 %\n   a b"},
		{"the last ten", "nobody reads more in a condition", "===> build\n" + strings.Repeat("old\n", 90) + strings.Repeat("new\n", 10), strings.TrimSuffix(strings.Repeat("  new\n", 10), "\n")},
		{"cut", "a line may be a whole file", "===> build\n" + strings.Repeat("é", 500) + "\n", "  " + strings.Repeat("é", longest) + "…"},
		{"without an end", "it was killed", "===> build\nkilled", "  killed"},
		{"nothing", "nothing was said", "===> build\n", ""},
		{"no text", "a program printed a picture", "===> build\n\xff\xfe\x00\n", "  �"},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := &lastLines{out: io.Discard}
			for len(c.log) > 0 { // lines come in pieces
				n := min(7, len(c.log))
				_, _ = io.WriteString(l, c.log[:n])
				c.log = c.log[n:]
			}
			if diff := cmp.Diff(c.want, l.telling()); diff != "" {
				t.Errorf("%s: %s", c.reason, diff)
			}
		})
	}
}

func TestTellingIsBounded(t *testing.T) {
	var all strings.Builder
	l := &lastLines{out: &all}
	for range 10_000 {
		_, _ = io.WriteString(l, strings.Repeat("x", 100)+"\n")
	}
	if len(l.end) > 2*mostBehind || all.Len() != 1_010_000 || len(l.telling()) > mostLines*(longest+8) {
		t.Errorf("it keeps %d bytes, has handed on %d and tells %d", len(l.end), all.Len(), len(l.telling()))
	}
}
