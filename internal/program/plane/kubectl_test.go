package plane

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"plimsoll.dev/plimsoll/internal/cli"
)

// TestKubectlHandsOnItsExitCode runs programs that end as kubectl does: `kubectl diff` says 1 where
// something differs, and more where it fails.
func TestKubectlHandsOnItsExitCode(t *testing.T) {
	for name, c := range map[string]struct {
		script     string
		kubeconfig string
		want       int
		hint       bool
	}{
		"well":                   {"exit 0", "named", 0, false},
		"differs":                {"exit 1", "named", 1, false},
		"fails":                  {"exit 7", "named", 7, false},
		"killed":                 {"kill -KILL $$", "named", 1, false},
		"nobody is there":        {"exit 3", "", 3, true},
		"its arguments reach it": {`[ "$*" = "kubectl diff -f -" ]`, "named", 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			program := filepath.Join(t.TempDir(), "kubernetes")
			if err := os.WriteFile(program, []byte("#!/bin/sh\n"+c.script+"\n"), 0o700); err != nil {
				t.Fatal(err)
			}
			getenv := func(name string) string {
				return map[string]string{programVariable: program, "KUBECONFIG": c.kubeconfig}[name]
			}
			var out, errs bytes.Buffer
			err := Kubectl(t.Context(), t.TempDir(), getenv, strings.NewReader(""), &out, &errs, []string{"diff", "-f", "-"})
			var code int
			var hint string
			if exited, ok := errors.AsType[*cli.Exited](err); ok {
				code, hint = exited.Code, exited.Hint
			} else if err != nil {
				t.Fatal(err)
			}
			if code != c.want || (hint != "") != c.hint {
				t.Errorf("it ends with %d and the hint %q, want %d", code, hint, c.want)
			}
		})
	}
}
