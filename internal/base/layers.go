package base

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"plimsoll.dev/plimsoll/internal/base/content"
)

// layers keeps compressed layers by the key of what went into them.
type layers struct {
	dir         string
	content     *content.Cache
	compression string
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

// Compressed opens the blob.
func (b *blob) Compressed() (io.ReadCloser, error) { return os.Open(b.path) }

// Uncompressed is not needed to push: a layer that exists compressed is never unpacked.
func (b *blob) Uncompressed() (io.ReadCloser, error) {
	return nil, errors.New("base layers are read compressed only")
}

// get gives the layer of the plan, from the cache or made now; fresh tells which.
func (l *layers) get(p layerPlan) (b *blob, fresh bool, err error) {
	key := p.key(l.compression)
	if b, ok := l.load(key); ok {
		return b, false, nil
	}
	b, err = l.make(p, key)
	return b, true, err
}

func (l *layers) load(key string) (*blob, bool) {
	text, err := os.ReadFile(filepath.Join(l.dir, key+".json"))
	if err != nil {
		return nil, false
	}
	b := &blob{path: filepath.Join(l.dir, key+".blob")}
	if json.Unmarshal(text, b) != nil {
		return nil, false
	}
	info, err := os.Stat(b.path)
	return b, err == nil && info.Size() == b.Bytes
}

// make writes the layer aside, then renames it: first the bytes, then what names them.
func (l *layers) make(p layerPlan, key string) (*blob, error) {
	if err := os.MkdirAll(l.dir, 0o755); err != nil {
		return nil, err
	}
	aside, err := os.CreateTemp(l.dir, ".aside-*")
	if err != nil {
		return nil, err
	}
	defer os.Remove(aside.Name())
	defer aside.Close()
	outer, inner := newMeter(aside), newMeter(nil)
	packed, err := compressor(outer, l.compression)
	if err != nil {
		return nil, err
	}
	inner.w = packed
	if err := p.write(inner, l.content); err != nil {
		return nil, err
	}
	if err := errors.Join(packed.Close(), aside.Chmod(0o644), aside.Close()); err != nil {
		return nil, err
	}
	b := &blob{
		Sum: outer.hash(), Plain: inner.hash(), Bytes: outer.n, PlainBytes: inner.n, Compression: l.compression,
		path: filepath.Join(l.dir, key+".blob"),
	}
	if err := os.Rename(aside.Name(), b.path); err != nil {
		return nil, err
	}
	return b, writeAside(filepath.Join(l.dir, key+".json"), b)
}

// writeAside writes value as JSON beside path, then renames it there.
func writeAside(path string, value any) error {
	text, err := json.Marshal(value)
	if err != nil {
		return err
	}
	aside, err := os.CreateTemp(filepath.Dir(path), ".aside-*")
	if err != nil {
		return err
	}
	defer os.Remove(aside.Name())
	_, err = aside.Write(text)
	if err := errors.Join(err, aside.Close()); err != nil {
		return err
	}
	return os.Rename(aside.Name(), path)
}

// meter counts and hashes what passes on to w.
type meter struct {
	w   io.Writer
	n   int64
	sum interface {
		io.Writer
		Sum([]byte) []byte
	}
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
