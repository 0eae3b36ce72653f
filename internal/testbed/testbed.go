// Package testbed takes a test and gives it what it needs of the machine, or fails it
// with the command that mends the machine. Nothing here ever skips.
package testbed

import (
	"os"
	"os/exec"
	"path/filepath"
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

// Home gives a new home for plimsoll, which the test owns, whose cache of downloads and of
// unpacked packages, and whose advisories, are kept from run to run.
func Home(t testing.TB) string {
	t.Helper()
	kept, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	home := t.TempDir()
	for _, name := range []string{"cache", "advisories"} {
		folder := filepath.Join(kept, "plimsoll-test", name)
		if err := os.MkdirAll(folder, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(folder, filepath.Join(home, name)); err != nil {
			t.Fatal(err)
		}
	}
	return home
}
