// Package testbed takes a test and gives it what it needs of the machine, or fails it
// with the command that mends the machine. Nothing here ever skips.
package testbed

import (
	"os/exec"
	"testing"
)

// Tool gives the path of an installed program. A machine without it fails the test.
func Tool(t testing.TB, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatalf("%s is not installed: run `make setup`", name)
	}
	return path
}
