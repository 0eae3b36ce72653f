// Package layer takes a writer of a tar and gives a layer: compressed once, kept by what
// went into it.
package layer

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"hash"
	"io"
	"os"
	"path/filepath"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"plimsoll.dev/plimsoll/internal/aside"
	"plimsoll.dev/plimsoll/internal/cache"
)

// Cache keeps compressed layers. It is safe for concurrent use, also by several processes.
type Cache struct{ dir, compression, recipe string }

// NewCache gives the cache in the folder, which is made when first needed, of layers with
// the compression: gzip or zstd.
func NewCache(folder, compression string) *Cache {
	return &Cache{dir: filepath.Join(folder, compression), compression: compression, recipe: recipe(compression)}
}

// Recipe names all that decides a layer's bytes but its tar: a key of Get holds it.
func (c *Cache) Recipe() string { return c.recipe }

// Of gives the layer of the tar that write writes, kept by the tar's own hash; fresh tells
// that it was compressed now, for which write is called a second time.
func (c *Cache) Of(write func(io.Writer) error) (b *Blob, fresh bool, err error) {
	plain := newMeter(io.Discard)
	if err := write(plain); err != nil {
		return nil, false, err
	}
	key := sha256.Sum256([]byte(c.recipe + "\n" + plain.hash().Hex))
	return c.Get(hex.EncodeToString(key[:]), write)
}

// Get gives the layer kept by the key, or makes it of the tar that write writes; fresh
// tells which.
func (c *Cache) Get(key string, write func(io.Writer) error) (b *Blob, fresh bool, err error) {
	if b, ok := c.load(key); ok {
		return b, false, nil
	}
	b, err = c.make(key, write)
	return b, true, err
}

// A kept layer is two files: its bytes, and what names them.
const (
	blobSuffix = ".blob"
	nameSuffix = ".json"
)

func (c *Cache) load(key string) (*Blob, bool) {
	text, ok := aside.ReadSealed(filepath.Join(c.dir, key+nameSuffix))
	if !ok {
		return nil, false
	}
	b := &Blob{path: filepath.Join(c.dir, key+blobSuffix)}
	if json.Unmarshal(text, b) != nil {
		return nil, false
	}
	var err error
	if b.file, err = os.Open(b.path); err != nil {
		return nil, false
	}
	if info, err := b.file.Stat(); err != nil || info.Size() != b.Bytes {
		b.file.Close()
		return nil, false
	}
	cache.Used(filepath.Join(c.dir, key+nameSuffix))
	return b, true
}

// make writes the layer aside, then renames it: first the bytes, then what names them.
func (c *Cache) make(key string, write func(io.Writer) error) (*Blob, error) {
	b := &Blob{Compression: c.compression, path: filepath.Join(c.dir, key+blobSuffix)}
	var err error
	b.file, err = aside.WriteOpen(b.path, func(f *os.File) error {
		outer := newMeter(f)
		packed, err := compressor(outer, c.compression)
		if err != nil {
			return err
		}
		inner := newMeter(packed)
		err = errors.Join(write(inner), packed.Close())
		b.Sum, b.Plain, b.Bytes, b.PlainBytes = outer.hash(), inner.hash(), outer.n, inner.n
		return err
	})
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(b)
	if err != nil {
		return nil, err
	}
	return b, aside.WriteSealed(filepath.Join(c.dir, key+nameSuffix), text)
}

// meter counts and hashes what passes on to w.
type meter struct {
	w   io.Writer
	n   int64
	sum hash.Hash
}

func newMeter(w io.Writer) *meter { return &meter{w: w, sum: sha256.New()} }

func (m *meter) Write(p []byte) (int, error) {
	n, err := m.w.Write(p)
	m.n += int64(n)
	m.sum.Write(p[:n])
	return n, err
}

func (m *meter) hash() v1.Hash {
	return v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(m.sum.Sum(nil))}
}
