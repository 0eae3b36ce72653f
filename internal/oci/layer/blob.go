package layer

import (
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"hash"
	"io"
	"os"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/klauspost/compress/zstd"
)

// Blob is a compressed layer on disk; it is a v1.Layer.
type Blob struct {
	Sum         v1.Hash `json:"digest"` // of the compressed bytes
	Plain       v1.Hash `json:"diffID"` // of the uncompressed tar
	Bytes       int64   `json:"size"`   // compressed
	PlainBytes  int64   `json:"plainSize"`
	Compression string  `json:"compression"`

	path string
	file *os.File // open as long as the Blob is reachable: the cache may drop the path meanwhile
}

// Digest gives the hash of the compressed bytes.
func (b *Blob) Digest() (v1.Hash, error) { return b.Sum, nil }

// DiffID gives the hash of the uncompressed tar.
func (b *Blob) DiffID() (v1.Hash, error) { return b.Plain, nil }

// Size gives the compressed bytes.
func (b *Blob) Size() (int64, error) { return b.Bytes, nil }

// MediaType gives the OCI type by the compression.
func (b *Blob) MediaType() (types.MediaType, error) {
	if b.Compression == "zstd" {
		return types.OCILayerZStd, nil
	}
	return types.OCILayer, nil
}

// Compressed opens the blob. A reader that comes to its end and finds other bytes than
// were written fails, and the layer is forgotten.
func (b *Blob) Compressed() (io.ReadCloser, error) {
	return &checkedBlob{bytes: io.NewSectionReader(b.file, 0, b.Bytes), blob: b, sum: sha256.New()}, nil
}

// Uncompressed opens the tar.
func (b *Blob) Uncompressed() (io.ReadCloser, error) {
	packed, err := b.Compressed()
	if err != nil {
		return nil, err
	}
	var plain io.Reader
	if b.Compression == "zstd" {
		var decoder *zstd.Decoder
		if decoder, err = zstd.NewReader(packed, zstd.WithDecoderConcurrency(1)); err == nil {
			plain = decoder.IOReadCloser()
		}
	} else {
		plain, err = gzip.NewReader(packed)
	}
	if err != nil {
		return nil, errors.Join(err, packed.Close())
	}
	return struct {
		io.Reader
		io.Closer
	}{plain, packed}, nil
}

// checkedBlob reads the bytes past nobody: all of them are held against the hash.
type checkedBlob struct {
	bytes *io.SectionReader
	blob  *Blob
	sum   hash.Hash
}

func (c *checkedBlob) Read(p []byte) (int, error) {
	n, err := c.bytes.Read(p)
	c.sum.Write(p[:n])
	if errors.Is(err, io.EOF) && hex.EncodeToString(c.sum.Sum(nil)) != c.blob.Sum.Hex {
		_ = os.Remove(strings.TrimSuffix(c.blob.path, blobSuffix) + nameSuffix)
		return n, errors.New("a cached layer was damaged on the disk, and is forgotten now: run the command again")
	}
	return n, err
}

// Close implements io.Closer. The file is the Blob's.
func (c *checkedBlob) Close() error { return nil }
