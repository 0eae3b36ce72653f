package base

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"hash"
	"io"
	"os"
	"path/filepath"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"plimsoll.dev/plimsoll/internal/aside"
	"plimsoll.dev/plimsoll/internal/base/content"
)

// layers keeps compressed layers by the key of what went into them.
type layers struct {
	dir         string
	content     *content.Cache
	compression string
	recipe      string // of the compression
}

// blob is a compressed layer on disk; it is a v1.Layer.
type blob struct {
	Sum         v1.Hash `json:"digest"` // of the compressed bytes
	Plain       v1.Hash `json:"diffID"` // of the uncompressed tar
	Bytes       int64   `json:"size"`   // compressed
	PlainBytes  int64   `json:"plainSize"`
	Compression string  `json:"compression"`

	path string
}

// Digest, DiffID, Size, MediaType, Compressed and Uncompressed implement v1.Layer.
func (b *blob) Digest() (v1.Hash, error) { return b.Sum, nil }

// DiffID gives the hash of the uncompressed tar.
func (b *blob) DiffID() (v1.Hash, error) { return b.Plain, nil }

// Size gives the compressed bytes.
func (b *blob) Size() (int64, error) { return b.Bytes, nil }

// MediaType gives the OCI type by the compression.
func (b *blob) MediaType() (types.MediaType, error) {
	if b.Compression == "zstd" {
		return types.OCILayerZStd, nil
	}
	return types.OCILayer, nil
}

// Compressed opens the blob. A reader that comes to its end and finds other bytes than
// were written fails, and the layer is forgotten.
func (b *blob) Compressed() (io.ReadCloser, error) {
	f, err := os.Open(b.path)
	if err != nil {
		return nil, err
	}
	return &checkedBlob{File: f, blob: b, sum: sha256.New()}, nil
}

type checkedBlob struct {
	*os.File
	blob *blob
	sum  hash.Hash
}

func (c *checkedBlob) Read(p []byte) (int, error) {
	n, err := c.File.Read(p)
	c.sum.Write(p[:n])
	if errors.Is(err, io.EOF) && hex.EncodeToString(c.sum.Sum(nil)) != c.blob.Sum.Hex {
		_ = os.Remove(strings.TrimSuffix(c.blob.path, blobSuffix) + nameSuffix)
		return n, errors.New("a cached layer was damaged on the disk, and is forgotten now: run the command again")
	}
	return n, err
}

// WriteTo keeps io.Copy from reading past Read.
func (c *checkedBlob) WriteTo(w io.Writer) (int64, error) {
	return io.Copy(w, struct{ io.Reader }{c})
}

// A kept layer is two files: its bytes, and what names them.
const (
	blobSuffix = ".blob"
	nameSuffix = ".json"
)

// Uncompressed is not needed to push: a layer that exists compressed is never unpacked.
func (b *blob) Uncompressed() (io.ReadCloser, error) {
	return nil, errors.New("base layers are read compressed only")
}

// get gives the layer of the plan, from the cache or made now; fresh tells which.
func (l *layers) get(p layerPlan) (b *blob, fresh bool, err error) {
	key := p.key(l.recipe)
	if b, ok := l.load(key); ok {
		return b, false, nil
	}
	b, err = l.make(p, key)
	return b, true, err
}

func (l *layers) load(key string) (*blob, bool) {
	text, ok := aside.ReadSealed(filepath.Join(l.dir, key+nameSuffix))
	if !ok {
		return nil, false
	}
	b := &blob{path: filepath.Join(l.dir, key+blobSuffix)}
	if json.Unmarshal(text, b) != nil {
		return nil, false
	}
	info, err := os.Stat(b.path)
	return b, err == nil && info.Size() == b.Bytes
}

// make writes the layer aside, then renames it: first the bytes, then what names them.
func (l *layers) make(p layerPlan, key string) (*blob, error) {
	b := &blob{Compression: l.compression, path: filepath.Join(l.dir, key+blobSuffix)}
	err := aside.Write(b.path, func(f *os.File) error {
		outer := newMeter(f)
		packed, err := compressor(outer, l.compression)
		if err != nil {
			return err
		}
		inner := newMeter(packed)
		err = errors.Join(p.write(inner, l.content), packed.Close())
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
	return b, aside.WriteSealed(filepath.Join(l.dir, key+nameSuffix), text)
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
