package build

import (
	"errors"
	"os"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"plimsoll.dev/plimsoll/internal/fault"
)

func TestSaid(t *testing.T) {
	long := strings.Repeat("ä", 100_000)
	detected := "======== Output: x/go@1.0.0 ========\n\x1b[31mno go.mod\x1b[0m\nmore\n======== Error: x/node@2 ========\nwork\rnode: no package.json\nfail: x/go@1\n"
	for _, tt := range []struct {
		name string
		said []string
		want []string
	}{
		{"what detect wants", wants(detected), []string{"go: no go.mod", "node: no package.json"}},
		{"nothing is wanted", wants("fail: x/go@1.0.0\n"), []string{"none of them said why"}},
		{"the last words of a build", []string{buildpackSaid("compiling\n\x1b[1;31merror:\x1b[0m boom\nERROR: failed to build: exit status 1\n")}, []string{"error: boom"}},
		{"a long line", []string{buildpackSaid(long)}, []string{long[:2*maxSaid] + "…"}},
		{"the lifecycle's error", []string{lastError("ERROR: one\n\x1b[31mERROR: \x1b[0mtwo\n")}, []string{"two"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, tt.said); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// FuzzSaid: whatever foreign code prints, what is told of it is short lines.
func FuzzSaid(f *testing.F) {
	for _, seed := range []string{
		"======== Output: a/b@1 ========\nno x\n", "[detector] ======== Error: a ========\n\x1b[0m\r\n", "ERROR: x\rERROR: y", "\xff\r\x1b[",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, output string) {
		for _, said := range append(wants(output), buildpackSaid(output), lastError(output)) {
			if strings.ContainsAny(said, "\n\r") || utf8.RuneCountInString(said) > 2*maxSaid+10 {
				t.Errorf("%q", said)
			}
		}
	})
}

// TestExplain: every error of a build is one for users, and a full disk has its hint.
func TestExplain(t *testing.T) {
	p := &Platform{Home: "/disk"}
	full := &os.PathError{Op: "write", Path: "x", Err: unix.ENOSPC}
	for _, tt := range []struct {
		name string
		err  error
		kind fault.Kind
		hint string
	}{
		{"plain", errors.New("x"), fault.Failed, ""},
		{"full disk", full, fault.Failed, p.makeRoom()},
		{"full disk below", fault.New(fault.Unavailable, "keep", "y", full), fault.Unavailable, p.makeRoom()},
		{"full disk of a registry", fault.Newf(fault.Failed, "push", "y", "500: No space left on device"), fault.Failed, p.makeRoom()},
		{"hint of its own", fault.New(fault.Failed, "keep", "y", full).WithHint("own"), fault.Failed, "own"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := p.explain("app:1", tt.err)
			if _, ok := got.(*fault.Error); !ok || fault.KindOf(got) != tt.kind || fault.HintOf(got) != tt.hint {
				t.Errorf("%v is of kind %v, hint %q", got, fault.KindOf(got), fault.HintOf(got))
			}
		})
	}
}
