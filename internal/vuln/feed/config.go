package feed

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

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
