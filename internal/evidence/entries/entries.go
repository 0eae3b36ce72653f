// Package entries takes a layer and gives its entries, one after the other, and the
// certainty that they are those of the diffID the image names.
package entries

import (
	"archive/tar"
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"plimsoll.dev/plimsoll/internal/fault"
)

// Each calls visit with every entry of the layer's tar. diffID is what the image's
// configuration says of the layer; the layer's own word is not taken. What visit made of them is of use
// only when Each gives no error: what is kept by the name of one layer must not come from
// another, and only at the end is it known which one was read.
func Each(ctx context.Context, layer v1.Layer, diffID v1.Hash, visit func(*tar.Header, io.Reader) error) error {
	packed, err := layer.Compressed()
	if err != nil {
		return err
	}
	defer packed.Close()
	plain, err := unpacked(packed)
	if err != nil {
		return err
	}
	defer plain.Close()
	sum := sha256.New()
	in := io.TeeReader(&bounded{ctx, plain, maxBytes}, sum)
	for files := tar.NewReader(in); ; {
		header, err := files.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		if err := visit(header, files); err != nil {
			return err
		}
	}
	if _, err := io.Copy(io.Discard, in); err != nil { // what follows the end of the archive
		return err
	}
	if hex.EncodeToString(sum.Sum(nil)) != diffID.Hex {
		return fault.Newf(fault.Denied, "read layer", diffID.String(), "its files are not those that the image's configuration names")
	}
	return nil
}

// maxBytes of a layer, unpacked: a few megabytes can unpack to any size. What reads layers
// for their packages has the same bound.
const maxBytes = 32 << 30

// bounded fails past its bytes, where io.LimitReader ends, and with its context: one file may
// be nearly all of a layer.
type bounded struct {
	ctx  context.Context //nolint:containedctx // of the one call that reads
	in   io.Reader
	left int64
}

func (b *bounded) Read(p []byte) (int, error) {
	if err := b.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := b.in.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return 0, errors.New("the layer unpacks to more than 32 GiB")
	}
	return n, err
}

// unpacked gives the tar in a layer's bytes. The standard library's gzip, by which layers
// unpack themselves, takes twice the time.
func unpacked(packed io.Reader) (io.ReadCloser, error) {
	in := bufio.NewReaderSize(packed, 1<<16)
	begin, err := in.Peek(4)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	switch {
	case bytes.HasPrefix(begin, []byte{0x1f, 0x8b}): // RFC 1952, section 2.3.1
		return gzip.NewReader(in)
	case bytes.Equal(begin, []byte{0x28, 0xb5, 0x2f, 0xfd}): // RFC 8878, section 3.1.1
		decoder, err := zstd.NewReader(in, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(128<<20))
		if err != nil {
			return nil, err
		}
		return decoder.IOReadCloser(), nil
	}
	return io.NopCloser(in), nil
}
