package bundle

import (
	"context"
	"errors"
	"io"
	"runtime"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sync/errgroup"

	"plimsoll.dev/plimsoll/internal/fault"
)

// Check reads every blob of the named images and of all that is attached to them, so that
// nothing is written anywhere of a bundle that was damaged or changed. Its errors are
// *fault.Error of kind Denied.
func (b *Bundle) Check(ctx context.Context) error {
	c := checker{bundle: b, seen: map[v1.Hash]bool{}}
	for _, image := range b.named {
		if err := c.image(image.Descriptor); err != nil {
			return err
		}
	}
	readers, ctx := errgroup.WithContext(ctx)
	readers.SetLimit(runtime.GOMAXPROCS(0))
	for _, blob := range c.blobs {
		readers.Go(func() error { return b.check(ctx, blob) })
	}
	return readers.Wait()
}

type checker struct {
	bundle *Bundle
	seen   map[v1.Hash]bool
	blobs  []v1.Descriptor
}

// image lists the blobs of a manifest and of what is attached to it. Manifests are checked
// when they are read.
func (c *checker) image(d v1.Descriptor) error {
	if c.seen[d.Digest] {
		return nil
	}
	c.seen[d.Digest] = true
	m, err := c.bundle.Manifest(d)
	if err != nil {
		return denied(err)
	}
	if m.Index != nil {
		for _, child := range m.Index.Manifests {
			if err := c.image(child); err != nil {
				return err
			}
		}
	} else {
		for _, blob := range layers(m.Image) {
			if !c.seen[blob.Digest] {
				c.seen[blob.Digest] = true
				c.blobs = append(c.blobs, blob)
			}
		}
	}
	for _, a := range c.bundle.Attached(d.Digest) {
		if err := c.image(a.Descriptor); err != nil {
			return err
		}
	}
	return nil
}

// check reads one blob to its end.
func (b *Bundle) check(ctx context.Context, blob v1.Descriptor) error {
	in, err := b.Stream(blob)
	if err != nil {
		return denied(err)
	}
	if _, err := io.Copy(io.Discard, reader{ctx, in}); err != nil {
		return denied(b.bad("%v", err))
	}
	return nil
}

// denied gives the failure as one of verification.
func denied(err error) error {
	if failure, ok := errors.AsType[*fault.Error](err); ok {
		refused := *failure
		refused.Kind = fault.Denied
		return &refused
	}
	return err
}

// reader ends with its context.
type reader struct {
	ctx context.Context
	in  io.Reader
}

func (r reader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.in.Read(p)
}
