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
	"math"
	"os"
	"path/filepath"

	"plimsoll.dev/plimsoll/internal/aside"
	"plimsoll.dev/plimsoll/internal/base/ldcache"
	"plimsoll.dev/plimsoll/internal/cache"
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

	files *os.File // the kept files: the cache may drop their path while the Content is used
}

// Close ends the use of the Content's files. What else it says stays.
func (c *Content) Close() error { return c.files.Close() }

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

// Load gives the Content of the .deb with the hash, if it is kept. The caller closes it.
func (c *Cache) Load(sha256 string) (*Content, bool) {
	text, ok := aside.ReadSealed(c.path(sha256, ".json"))
	if !ok {
		return nil, false
	}
	var content Content
	if json.Unmarshal(text, &content) != nil {
		return nil, false
	}
	var err error
	if content.files, err = os.Open(c.path(sha256, ".tar.s2")); err != nil {
		return nil, false
	}
	cache.Used(c.path(sha256, ".json"))
	return &content, true
}

// Unpack reads the .deb, which has the hash, and keeps its Content, which the caller closes. Shared
// libraries are looked at for the architecture ("all" has none). Nothing is kept of a
// package that cannot be read to its end.
func (c *Cache) Unpack(r io.ReaderAt, sha256, architecture string) (*Content, error) {
	p, err := deb.Read(r)
	if err != nil {
		return nil, err
	}
	var content *Content
	files, err := aside.WriteOpen(c.path(sha256, ".tar.s2"), func(f *os.File) (err error) {
		content, err = unpack(p, f, architecture)
		return err
	})
	if err != nil {
		return nil, err
	}
	content.files = files
	text, err := json.Marshal(content)
	if err == nil {
		err = aside.WriteSealed(c.path(sha256, ".json"), text)
	}
	if err != nil {
		return nil, errors.Join(err, files.Close())
	}
	return content, nil
}

// Walk calls visit with each regular file of the package, in the order of the package; r
// must be read to its end where the bytes are wanted. It fails if the kept files are not
// those that were unpacked, and forgets them, so that the next Load finds none.
func (c *Cache) Walk(sha256 string, content *Content, visit func(path string, r io.Reader) error) error {
	kept := io.NewSectionReader(content.files, 0, math.MaxInt64) // each Walk has a place of its own in it
	err := walk(kept, content, visit)
	if err != nil && !intact(kept, content) {
		_ = os.Remove(c.path(sha256, ".json"))
		return errors.New("its unpacked files were damaged on the disk, and are forgotten now: run the command again")
	}
	return err
}

func (c *Cache) path(sha256, suffix string) string {
	return filepath.Join(c.dir, sha256+suffix)
}
