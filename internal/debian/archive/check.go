package archive

import (
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"

	"github.com/therootcompany/xz"
)

// errUnsigned says that bytes are not those that a signature vouches for.
var errUnsigned = errors.New("it is not what was signed")

// check is a stream that must have a known size and SHA-256.
type check struct {
	r    io.Reader
	sum  hash.Hash
	want File
	n    int64
}

func newCheck(r io.Reader, want File) *check {
	return &check{r: r, sum: sha256.New(), want: want}
}

// Read fails as soon as the stream is longer than it may be.
func (c *check) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.sum.Write(p[:n])
	c.n += int64(n)
	if c.n > c.want.Size {
		return n, fmt.Errorf("%w: it is longer than its %d bytes", errUnsigned, c.want.Size)
	}
	return n, err
}

// end reads what is left and judges the whole.
func (c *check) end() error {
	if _, err := io.Copy(io.Discard, c); err != nil {
		return err
	}
	if c.n < c.want.Size {
		return fmt.Errorf("%w: it is truncated to %d of its %d bytes", errUnsigned, c.n, c.want.Size)
	}
	if got := hex.EncodeToString(c.sum.Sum(nil)); got != c.want.SHA256 {
		return fmt.Errorf("%w: its SHA-256 is %s, not %s", errUnsigned, got, c.want.SHA256)
	}
	return nil
}

// decompress gives the plain stream of a file with the suffix.
func decompress(r io.Reader, suffix string) (io.Reader, error) {
	switch suffix {
	case ".xz":
		return xz.NewReader(r, xz.DefaultDictMax)
	case ".gz":
		return gzip.NewReader(r)
	}
	return r, nil
}
