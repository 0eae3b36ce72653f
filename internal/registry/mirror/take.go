package mirror

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sync/errgroup"

	"plimsoll.dev/plimsoll/api/v1alpha1"
	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/oci"
	"plimsoll.dev/plimsoll/internal/registry/mirror/upstream"
)

// take is the way of images from one repository outside to one here.
type take struct {
	mirror   *Mirror
	from, to *oci.Session

	source, target oci.Reference
	platforms      []v1.Platform
	verify         *v1alpha1.UpstreamVerification // nil: nothing
	evidence       bool
	limit          int64           // bytes of one image
	tags           map[string]bool // that the source has; nil where they were not listed

	sent atomic.Int64 // bytes
}

// taken is an image that is here, and has no name yet.
type taken struct {
	oci.Manifest
	notes []string // for people
}

// have says whether the repository here has the manifest. It has all that belongs to it then.
func (t *take) have(ctx context.Context, digest v1.Hash) (bool, error) {
	_, err := t.to.Head(ctx, t.target.At(digest))
	if fault.KindOf(err) == fault.NotFound {
		return false, nil
	}
	return err == nil, err
}

// check verifies what the digest names outside, where that is wanted.
func (t *take) check(ctx context.Context, digest v1.Hash) error {
	if t.verify == nil {
		return nil
	}
	return upstream.Plain(t.mirror.o.Verify(ctx, t.from, t.source.At(digest), *t.verify))
}

// read gives all manifests of what the digest names, for the platforms that are wanted, and how
// many bytes belong to it. One that is here is read here.
func (t *take) read(ctx context.Context, digest v1.Hash) (*tree, []v1.Descriptor, error) {
	reader := treeReader{session: t.from, ref: t.source, known: map[v1.Hash]*tree{}}
	there, err := t.have(ctx, digest)
	if err != nil {
		return nil, nil, err
	}
	if there {
		reader.session, reader.ref = t.to, t.target
	}
	whole, err := reader.read(ctx, digest, 1)
	if err != nil {
		return nil, nil, upstream.Plain(err)
	}
	wanted := whole
	if len(t.platforms) > 0 && whole.Index != nil {
		if wanted, err = whole.narrow(t.platforms); err != nil {
			return nil, nil, fault.New(fault.Failed, "choose platforms", t.source.At(digest).String(), err)
		}
	}
	blobs, err := wanted.blobs()
	if err != nil {
		return nil, nil, hostile(t.source.At(digest), err)
	}
	if size := total(blobs); size > t.limit {
		return nil, nil, tooLarge(t.source.At(digest), size, t.limit)
	}
	return wanted, blobs, nil
}

func total(blobs []v1.Descriptor) int64 {
	var sum int64
	for _, d := range blobs {
		if sum += d.Size; sum < 0 {
			return 1<<63 - 1
		}
	}
	return sum
}

func tooLarge(at oci.Reference, size, limit int64) error {
	return fault.Newf(fault.Failed, "take in", at.String(), fmt.Sprintf("it has %d bytes, and at most %d are taken in", size, limit)).
		WithHint("raise the limit on bytes if that is meant")
}

// image brings what the digest names, with what is attached to it, and lets the site account for
// it. Whatever happens on the way, no tag names it.
func (t *take) image(ctx context.Context, digest v1.Hash) (taken, error) {
	if err := t.check(ctx, digest); err != nil {
		return taken{}, err
	}
	wanted, blobs, err := t.read(ctx, digest)
	if err != nil {
		return taken{}, err
	}
	out := taken{Manifest: wanted.Manifest}
	if wanted.Digest != digest {
		out.notes = append(out.notes, "not all platforms are taken: what was signed of the whole index does not speak of this one")
	}
	there, err := t.have(ctx, wanted.Digest)
	if err != nil {
		return out, err
	}
	if !there {
		if err := t.copy(ctx, wanted, blobs); err != nil {
			return out, err
		}
	}
	if t.evidence {
		a := attachments{take: t, left: t.limit - total(blobs), seen: map[v1.Hash]bool{}}
		if err := wanted.each(func(m *tree) error { return a.bring(ctx, m.Digest, 1) }); err != nil {
			return out, upstream.Plain(err)
		}
		out.notes = append(out.notes, a.notes...)
	}
	if t.mirror.o.Account == nil {
		return out, nil
	}
	return out, t.mirror.o.Account(ctx, t.target.At(wanted.Digest))
}

// name lets a tag here name what was taken.
func (t *take) name(ctx context.Context, m oci.Manifest, tag string) error {
	_, err := t.to.PutManifest(ctx, t.target.Tag(tag), m.MediaType, m.Raw)
	if err == nil {
		t.mirror.o.Named(t.target.Repository(), tag, m.Digest.String())
	}
	return err
}

// blobsAtOnce is how many blobs of one image are on their way at once.
const blobsAtOnce = 3

// copy brings blobs, then the manifests that name them.
func (t *take) copy(ctx context.Context, wanted *tree, blobs []v1.Descriptor) error {
	group, all := errgroup.WithContext(ctx)
	group.SetLimit(blobsAtOnce)
	for _, d := range blobs {
		group.Go(func() error { return t.blob(all, d) })
	}
	if err := group.Wait(); err != nil {
		return err
	}
	return wanted.each(func(m *tree) error {
		_, err := t.to.PutManifest(ctx, t.target.At(m.Digest), m.MediaType, m.Raw)
		return err
	})
}

// blob brings one blob. All who want it at once share one download; who waits for one that its
// owner gave up begins it himself.
func (t *take) blob(ctx context.Context, d v1.Descriptor) error {
	for {
		done := t.mirror.blobs.DoChan(t.target.Repository()+"@"+d.Digest.String(), func() (any, error) { return nil, t.download(ctx, d) })
		select {
		case <-ctx.Done():
			return ctx.Err()
		case result := <-done:
			if result.Shared && errors.Is(result.Err, context.Canceled) && ctx.Err() == nil {
				continue
			}
			return result.Err
		}
	}
}

// download streams one blob into the store. An error says what was wrong at the other end, where
// it was: the store only knows that the upload broke off.
func (t *take) download(ctx context.Context, d v1.Descriptor) error {
	var broken failure
	sent, err := t.to.PutStream(ctx, t.target, d, func() (io.ReadCloser, error) {
		if err := broken.get(); err != nil {
			return nil, err // what was tried as often as it helps is not tried again
		}
		in, err := t.from.Open(ctx, t.source, d)
		if err != nil {
			broken.set(err)
			return nil, err
		}
		return &watched{in, &broken}, nil
	})
	t.sent.Add(sent)
	if cause := broken.get(); err != nil && cause != nil && ctx.Err() == nil {
		return fault.New(fault.KindOf(cause), "read blob", t.source.At(d.Digest).String(), upstream.Plain(cause)).WithHint(fault.HintOf(cause))
	}
	return err
}

// failure is the first of several.
type failure struct {
	mu  sync.Mutex
	err error
}

func (f *failure) set(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err == nil {
		f.err = err
	}
}

func (f *failure) get() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.err
}

// watched notes why reading failed.
type watched struct {
	io.ReadCloser
	failure *failure
}

func (w *watched) Read(p []byte) (int, error) {
	n, err := w.ReadCloser.Read(p)
	if err != nil && err != io.EOF {
		w.failure.set(err)
	}
	return n, err
}
