package build

import (
	"os"
	"path/filepath"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"golang.org/x/sys/unix"
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
