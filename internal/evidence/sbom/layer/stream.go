package layer

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"sync"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

const (
	blockSize = 256 << 10
	blocks    = 8
	zstdMost  = 128 << 20 // bytes of a zstd window: the largest that its command line makes
)

var errTooLarge = errors.New("it is larger than is read of a layer")

// stream gives the uncompressed bytes of a layer. One goroutine unpacks, one hashes, the
// reader has the third part of the work: each at its own pace, a few blocks apart.
type stream struct {
	unpacked, hashed chan block
	free             chan []byte
	stop             chan struct{}
	work             sync.WaitGroup

	sum  hash.Hash
	at   block
	rest []byte
}

type block struct {
	buf []byte
	n   int
	err error
}

// open begins to read the layer, at most most bytes of it.
func open(packed io.Reader, most int64) (*stream, error) {
	plain, done, err := unpack(packed)
	if err != nil {
		return nil, err
	}
	s := &stream{
		unpacked: make(chan block, blocks), hashed: make(chan block, blocks),
		free: make(chan []byte, blocks), stop: make(chan struct{}), sum: sha256.New(),
	}
	for range blocks {
		s.free <- nil // made when it is needed: most layers are small
	}
	s.work.Go(func() {
		defer close(s.unpacked)
		defer done()
		s.fill(plain, most)
	})
	s.work.Go(func() {
		defer close(s.hashed)
		for b := range s.unpacked {
			s.sum.Write(b.buf[:b.n])
			s.hashed <- b // never waits: there are no more blocks than places
		}
	})
	return s, nil
}

// unpack gives the tar in a layer that is compressed in any of the ways the image
// specification has, or not at all (image-spec, layer.md).
func unpack(packed io.Reader) (plain io.Reader, done func(), err error) {
	in := bufio.NewReaderSize(packed, blockSize)
	head, err := in.Peek(4)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, nil, err
	}
	switch {
	case bytes.HasPrefix(head, []byte{0x1f, 0x8b}):
		z, err := gzip.NewReader(in)
		return z, func() {}, err
	case bytes.HasPrefix(head, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		z, err := zstd.NewReader(in, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(zstdMost), zstd.WithDecoderLowmem(true))
		if err != nil {
			return nil, nil, err
		}
		return z, z.Close, nil
	}
	return in, func() {}, nil
}

func (s *stream) fill(plain io.Reader, most int64) {
	for {
		var buf []byte
		select {
		case buf = <-s.free:
		case <-s.stop:
			return
		}
		if buf == nil {
			buf = make([]byte, blockSize)
		}
		n, err := io.ReadFull(plain, buf)
		if errors.Is(err, io.ErrUnexpectedEOF) {
			// Both the end of the tar and of the compressed bytes before it look like this;
			// only the former says so again.
			if _, err = plain.Read(make([]byte, 1)); err == nil {
				err = errors.New("it goes on behind its end")
			}
		}
		if most -= int64(n); most < 0 {
			err = errTooLarge
		}
		s.unpacked <- block{buf, n, err} // never waits: there are no more blocks than places
		if err != nil {
			return
		}
	}
}

// Read gives bytes that have been hashed.
func (s *stream) Read(p []byte) (int, error) {
	for len(s.rest) == 0 {
		if s.at.err != nil {
			return 0, s.at.err
		}
		if s.at.buf != nil {
			s.free <- s.at.buf
		}
		s.at = <-s.hashed
		s.rest = s.at.buf[:s.at.n]
	}
	n := copy(p, s.rest)
	s.rest = s.rest[n:]
	return n, nil
}

// finish reads what follows the tar's end and gives the diffID.
func (s *stream) finish() (string, error) {
	if _, err := io.Copy(io.Discard, s); err != nil {
		return "", fmt.Errorf("read to its end: %w", err)
	}
	s.work.Wait()
	return "sha256:" + hex.EncodeToString(s.sum.Sum(nil)), nil
}

// close ends the work and waits for it.
func (s *stream) close() {
	close(s.stop)
	for range s.hashed { // the sender may be on its way to the end
	}
	s.work.Wait()
}
