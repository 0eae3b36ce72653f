package build

import (
	"os"
	"path/filepath"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"golang.org/x/sys/unix"

	"plimsoll.dev/plimsoll/internal/fault"
)

// TestHostileLayout: a lifecycle that is not what it should be makes no one wait, read what
// is not in the layout, or fall over.
func TestHostileLayout(t *testing.T) {
	image, err := random.Image(64, 1)
	if err != nil {
		t.Fatal(err)
	}
	digest, err := image.Digest()
	if err != nil {
		t.Fatal(err)
	}
	config, err := image.ConfigName()
	if err != nil {
		t.Fatal(err)
	}
	blob := func(h v1.Hash) string { return filepath.Join("blobs", "sha256", h.Hex) }
	for _, tt := range []struct {
		name string
		harm func(dir string) error
	}{
		{"there is a pipe", func(dir string) error { return unix.Mkfifo(filepath.Join(dir, "x"), 0o644) }},
		{"there is a link", func(dir string) error { return os.Symlink("/etc/passwd", filepath.Join(dir, "blobs", "x")) }},
		{"the index is large", func(dir string) error { return os.Truncate(filepath.Join(dir, "index.json"), 1<<40) }},
		{"the manifest is large", func(dir string) error { return os.Truncate(filepath.Join(dir, blob(digest)), 1<<40) }},
		{"the configuration is large", func(dir string) error { return os.Truncate(filepath.Join(dir, blob(config)), 1<<40) }},
		{"there is no label", func(string) error { return nil }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			j := &job{work: &work{dir: t.TempDir()}}
			j.run = runBase{image: empty.Image, config: &v1.ConfigFile{}}
			dir := inLayout(j.work.path("layout"), layoutApp)
			layers, err := image.Layers()
			if err != nil {
				t.Fatal(err)
			}
			if err := writeSparse(dir, image, layers...); err != nil {
				t.Fatal(err)
			}
			if err := tt.harm(dir); err != nil {
				t.Fatal(err)
			}
			if _, err := j.account(); err == nil {
				t.Error("it is taken for an image")
			}
		})
	}
}

// TestHostileState: links that a lifecycle left are neither written through nor published.
func TestHostileState(t *testing.T) {
	victim := filepath.Join(t.TempDir(), "victim")
	if err := os.WriteFile(victim, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	j := &job{work: &work{dir: t.TempDir()}}
	for _, dir := range []string{"state", "cache/committed"} {
		if err := os.MkdirAll(j.work.path(dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, path := range []string{j.work.path("state", "run.toml"), j.work.path("cache", "committed", cacheLabel)} {
		if err := os.Symlink(victim, path); err != nil {
			t.Fatal(err)
		}
	}
	if err := j.writeState("run.toml", []byte("x")); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(victim); err != nil || string(text) != "precious" {
		t.Errorf("it holds %q now: %v", text, err)
	}
	c := &cache{dir: j.work.path("cache"), publish: func() error { t.Error("it is published"); return nil }}
	if err := c.keep(t.Context()); fault.KindOf(err) != fault.Failed || err == nil {
		t.Errorf("the cache is kept: %v", err)
	}
}
