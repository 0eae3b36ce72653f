package tool

import (
	"bytes"
	"errors"
	"os/exec"
	"strings"
	"testing"
)

func TestRunPassesOnAndExplains(t *testing.T) {
	var out bytes.Buffer
	err := Command{Path: "sh", Args: []string{"-c", `echo out; echo "dial tcp: $WHY" >&2; exit 3`}, Env: []string{"WHY=lookup"}, Out: &out}.Run()
	var failed *Error
	var exit *exec.ExitError
	if !errors.As(err, &failed) || !errors.As(err, &exit) || exit.ExitCode() != 3 {
		t.Fatalf("got %v", err)
	}
	if got := out.String(); got != "out\ndial tcp: lookup\n" {
		t.Errorf("it passed on %q", got)
	}
	if !failed.NoNetwork() || failed.Untrusted() {
		t.Errorf("%q is taken for something else than a missing network", failed.Tail)
	}
	if text := err.Error(); strings.Contains(text, "\n") || !strings.Contains(text, "sh -c") {
		t.Errorf("the error is %q", text)
	}
}

func TestTailIsBounded(t *testing.T) {
	var out bytes.Buffer
	err := Command{Path: "sh", Args: []string{"-c", `i=0; while [ $i -lt 3000 ]; do echo "line number $i"; i=$((i+1)); done; echo certificate verify failed; false`}, Out: &out}.Run()
	var failed *Error
	if !errors.As(err, &failed) {
		t.Fatalf("got %v", err)
	}
	if len(failed.Tail) > tailBytes || !failed.Untrusted() {
		t.Errorf("kept %d bytes, the end of them %q", len(failed.Tail), failed.Tail[len(failed.Tail)-50:])
	}
	if !strings.HasPrefix(out.String(), "line number 0\n") {
		t.Error("the beginning was not passed on")
	}
}

func TestOutput(t *testing.T) {
	got, err := Command{Path: "sh", Args: []string{"-c", "echo noise >&2; pwd"}, Dir: "/"}.Output()
	if err != nil || got != "/\n" {
		t.Errorf("got %q, %v", got, err)
	}
	if _, err := (Command{Path: "no-such-program"}).Output(); !errors.Is(err, exec.ErrNotFound) {
		t.Errorf("got %v, want that it is not found", err)
	}
}

func TestErrorNames(t *testing.T) {
	for want, args := range map[string][]string{
		"`false` failed":           nil,
		"`false ci` failed":        {"ci", "--omit=dev"},
		"`false run` failed":       {"run"},
		"`false run build` failed": {"run", "build", "--quiet"},
	} {
		if err := (Command{Path: "false", Args: args}).Run(); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}
