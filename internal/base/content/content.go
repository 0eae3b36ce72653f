// Package content takes a verified .deb and gives its Content: all that composing a base
// needs to know of the package, and its files in a form that is quick to read again.
//
// Both are kept in a cache by the .deb's hash, so a package is decompressed once in the
// life of a machine however many bases it goes into.
package content

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"

	"plimsoll.dev/plimsoll/internal/aside"
	"plimsoll.dev/plimsoll/internal/base/ldcache"
	"plimsoll.dev/plimsoll/internal/debian/deb"
)

// format changes whenever what is kept changes, so that older caches are made anew.
const format = "v5"

// Content is what one package ships and wants done.
type Content struct {
	Control   string            `json:"control"`             // its stanza, as the package has it
	Scripts   map[string]string `json:"scripts,omitempty"`   // preinst, postinst, triggers, templates
	Conffiles []string          `json:"conffiles,omitempty"` // paths, relative to the root
	Entries   []Entry           `json:"entries"`             // in the order of the package
	Data      string            `json:"data"`                // SHA-256 of the kept files
}

// Entry is a path with what was learnt of its bytes.
type Entry struct {
	deb.Entry
	SHA256  string        `json:",omitempty"` // of a regular file, hex
	MD5     string        `json:",omitempty"` // of a regular file, hex: what dpkg's inventory holds
	Library *ldcache.Info `json:",omitempty"` // what the dynamic linker's cache says of a shared library
	Text    []byte        `json:",omitempty"` // of a small file that declares something
}

// Cache keeps Contents in a folder.
type Cache struct{ dir string }

// NewCache gives a cache in the folder, which is made when first written to.
func NewCache(dir string) *Cache { return &Cache{dir: filepath.Join(dir, format)} }

// Load gives the Content of the .deb with the hash, if it is kept.
func (c *Cache) Load(sha256 string) (*Content, bool) {
	text, ok := aside.ReadSealed(c.path(sha256, ".json"))
	if !ok {
		return nil, false
	}
	var content Content
	if json.Unmarshal(text, &content) != nil {
		return nil, false
	}
	if _, err := os.Stat(c.path(sha256, ".tar.s2")); err != nil {
		return nil, false
	}
	return &content, true
}

// Unpack reads the .deb at path, which has the hash, and keeps its Content. Shared
// libraries are looked at for the architecture ("all" has none). Nothing is kept of a
// package that cannot be read to its end.
func (c *Cache) Unpack(path, sha256, architecture string) (*Content, error) {
	p, err := deb.Open(path)
	if err != nil {
		return nil, err
	}
	defer p.Close()
	var content *Content
	err = aside.Write(c.path(sha256, ".tar.s2"), func(f *os.File) (err error) {
		content, err = unpack(p, f, architecture)
		return err
	})
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(content)
	if err != nil {
		return nil, err
	}
	return content, aside.WriteSealed(c.path(sha256, ".json"), text)
}

// Walk calls visit with each regular file of the package, in the order of the package; r
// must be read to its end where the bytes are wanted. It fails if the kept files are not
// those that were unpacked, and forgets them, so that the next Load finds none.
func (c *Cache) Walk(sha256 string, content *Content, visit func(path string, r io.Reader) error) error {
	f, err := os.Open(c.path(sha256, ".tar.s2"))
	if err != nil {
		return err
	}
	defer f.Close()
	err = walk(f, content, visit)
	if err != nil && !intact(f, content) {
		_ = os.Remove(c.path(sha256, ".json"))
		return errors.New("its unpacked files were damaged on the disk, and are forgotten now: run the command again")
	}
	return err
}

func (c *Cache) path(sha256, suffix string) string {
	return filepath.Join(c.dir, sha256+suffix)
}
