package feed

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"sigs.k8s.io/yaml"

	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/manifest"
)

// Default is what a site has that names no feeds: what its Debian archive itself says.
func Default() []Feed { return []Feed{{Name: "debian", Kind: Debian}} }

// Load reads the feeds that the YAML file at path lists below "feeds"; none are there when
// there is no such file, which found tells.
func Load(path string) (feeds []Feed, found bool, err error) {
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return nil, false, nil
	}
	text, err := manifest.ReadFile(path)
	if err != nil {
		return nil, true, err
	}
	var file struct {
		Feeds []Feed `json:"feeds"`
	}
	document, err := manifest.Decode(text, "list of feeds", &file)
	if err != nil {
		return nil, true, fault.New(fault.Usage, "read feeds", path, err).WithHint("docs/feeds.md shows what the file may say")
	}
	names := map[string]bool{}
	for i, f := range file.Feeds {
		why := f.wrong()
		if names[f.Name] {
			why = fmt.Sprintf("two feeds are called %q", f.Name)
		}
		if why != "" {
			return nil, true, fault.New(fault.Usage, "read feeds", path, document.Wrong(manifest.Bad(fmt.Sprintf("feeds[%d]", i), why))).
				WithHint("docs/feeds.md shows a feed of each kind")
		}
		names[f.Name] = true
	}
	return file.Feeds, true, nil
}

// Save makes the file at path what Load reads again. It is for its owner alone: addresses may
// hold passwords.
func Save(path string, feeds []Feed) error {
	text, err := yaml.Marshal(map[string]any{"feeds": feeds})
	if err != nil {
		return err
	}
	if err := writePrivate(path, text); err != nil {
		return fault.New(fault.Failed, "write feeds", path, err)
	}
	return nil
}

// writePrivate is aside.WriteBytes for a file that only its owner may read, at no time
// others.
func writePrivate(path string, text []byte) error {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, ".aside-*") // mode 0600; aside.Sweep knows the name
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	if _, err := f.Write(text); err != nil {
		return err
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
