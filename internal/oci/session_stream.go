package oci

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// Open streams a blob of the reference's repository. Reading to its end fails if it is not
// what the descriptor says.
func (s *Session) Open(ctx context.Context, ref Reference, blob v1.Descriptor) (io.ReadCloser, error) {
	repo, err := s.repository(ctx, ref)
	if err != nil {
		return nil, wrap("read layer", ref, err)
	}
	body, err := repo.open(ctx, blob.Digest)
	if err != nil {
		return nil, wrap("read layer", ref, err)
	}
	return Verified(body, blob), nil
}

// PutStream writes a blob of any size to the reference's repository, unless it is there.
// open is called again when an upload must begin again. It gives the bytes that were sent.
func (s *Session) PutStream(ctx context.Context, to Reference, blob v1.Descriptor, open func() (io.ReadCloser, error)) (int64, error) {
	repo, err := s.repository(ctx, to)
	if err != nil {
		return 0, wrap("push blob", to, err)
	}
	if repo.knows(blob.Digest) {
		return 0, nil
	}
	there, err := repo.has(ctx, blob.Digest)
	if err != nil {
		return 0, wrap("push blob", to, err)
	}
	if !there {
		err = repo.upload(ctx, blob, open)
	}
	if err != nil {
		return 0, wrap("push blob", to, err)
	}
	repo.learn(blob)
	if there {
		return 0, nil
	}
	return blob.Size, nil
}

// Verified gives a reader whose end is an error unless it read just the blob.
func Verified(in io.ReadCloser, blob v1.Descriptor) io.ReadCloser {
	return &verified{in: in, blob: blob, hash: sha256.New()}
}

type verified struct {
	in   io.ReadCloser
	blob v1.Descriptor
	hash hash.Hash
	read int64
}

func (v *verified) Read(p []byte) (int, error) {
	n, err := v.in.Read(p)
	v.hash.Write(p[:n])
	v.read += int64(n)
	switch {
	case v.read > v.blob.Size:
		return n, bad("%s is longer than its %d bytes", v.blob.Digest, v.blob.Size)
	case err == io.EOF && v.read < v.blob.Size:
		return n, fmt.Errorf("%s ends after %d of %d bytes: %w", v.blob.Digest, v.read, v.blob.Size, io.ErrUnexpectedEOF)
	case err == io.EOF && hex.EncodeToString(v.hash.Sum(nil)) != v.blob.Digest.Hex:
		return n, bad("what came for %s is something else", v.blob.Digest)
	}
	return n, err
}

func (v *verified) Close() error { return v.in.Close() }

// HasBlob says whether the reference's repository holds the blob now.
func (s *Session) HasBlob(ctx context.Context, ref Reference, digest v1.Hash) (bool, error) {
	repo, err := s.repository(ctx, ref)
	if err != nil {
		return false, wrap("find blob", ref, err)
	}
	there, err := repo.has(ctx, digest)
	return there, wrap("find blob", ref, err)
}
