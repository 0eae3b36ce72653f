package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"plimsoll.dev/plimsoll/buildpacks/internal/floor"
	"plimsoll.dev/plimsoll/buildpacks/nodejs/raise"
)

// TestRemember: what was resolved comes back for the same files and floors, whatever the
// override is called.
func TestRemember(t *testing.T) {
	files := texts{"package-lock.json": []byte("{}"), "package.json": []byte("a"), "lib/package.json": []byte("b")}
	dir := t.TempDir()
	if err := files.remember(dir); err != nil {
		t.Fatal(err)
	}
	got, err := recall(dir, files.names())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(files, got); diff != "" {
		t.Error(diff)
	}
	if _, err := recall(dir, append(files.names(), "z")); err == nil {
		t.Error("a file came back that was never kept")
	}

	b := build{npm: "9.2.0"}
	low := raise.Low{Folder: "node_modules/a", Floor: floor.Floor{Name: "x", Package: "a", Version: "1.0.0"}}
	renamed, raised := low, low
	renamed.Floor.Name, raised.Floor.Version = "y", "1.0.1"
	key := b.raisedKey(files, []raise.Low{low})
	if key != b.raisedKey(files, []raise.Low{renamed}) {
		t.Error("another name of the override is another key")
	}
	if key == b.raisedKey(files, []raise.Low{raised}) || key == b.raisedKey(texts{"package.json": []byte("a")}, []raise.Low{low}) {
		t.Error("another floor, or other files, have the same key")
	}
}

// TestRefuseVendored: node_modules of the source are not touched, so they must be high enough.
func TestRefuseVendored(t *testing.T) {
	app, platform := t.TempDir(), t.TempDir()
	write(t, filepath.Join(app, "package.json"), `{"dependencies": {"a": "1"}}`)
	write(t, filepath.Join(app, "node_modules", "a", "package.json"), `{"name": "a", "version": "1.0.0"}`)
	b := build{dir: app, vendored: true}
	if err := b.read(); err != nil {
		t.Fatal(err)
	}
	for version, want := range map[string]string{"1.0.0": "", "1.0.1": "the source brings a 1.0.0"} {
		write(t, filepath.Join(platform, "overrides", "overrides.json"), `[{"name": "fix", "ecosystem": "npm", "package": "a", "version": "`+version+`"}]`)
		err := b.raise(platform)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("floor %s: %v, want %q", version, err, want)
		}
	}
	if _, err := os.Stat(filepath.Join(app, "package-lock.json")); err == nil {
		t.Error("a lock file was made")
	}
}
