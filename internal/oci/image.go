package oci

import (
	"context"
	"io"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// Image gives the image of a manifest that was read or is about to be written, with its
// configuration. Its layers are read from the reference's repository when they are opened,
// which may be never: most of what is asked of an image is in those two.
func (s *Session) Image(ctx context.Context, ref Reference, mediaType types.MediaType, rawManifest, rawConfig []byte) (v1.Image, error) {
	return partial.CompressedToImage(&lazyImage{ctx: ctx, session: s, ref: ref, mediaType: mediaType, manifest: rawManifest, config: rawConfig})
}

// lazyImage is what go-containerregistry makes an image of. Its interfaces have no room for
// a context, so it is kept: an image lives no longer than the command that reads it.
type lazyImage struct {
	ctx              context.Context //nolint:containedctx
	session          *Session
	ref              Reference
	mediaType        types.MediaType
	manifest, config []byte
}

func (i *lazyImage) RawConfigFile() ([]byte, error)      { return i.config, nil }
func (i *lazyImage) RawManifest() ([]byte, error)        { return i.manifest, nil }
func (i *lazyImage) MediaType() (types.MediaType, error) { return i.mediaType, nil }

func (i *lazyImage) LayerByDigest(digest v1.Hash) (partial.CompressedLayer, error) {
	m, err := partial.Manifest(i)
	if err != nil {
		return nil, err
	}
	for _, l := range append(m.Layers, m.Config) {
		if l.Digest == digest {
			return &lazyLayer{i, l}, nil
		}
	}
	return nil, bad("the manifest names no layer %s", digest)
}

type lazyLayer struct {
	image *lazyImage
	blob  v1.Descriptor
}

func (l *lazyLayer) Digest() (v1.Hash, error)            { return l.blob.Digest, nil }
func (l *lazyLayer) Size() (int64, error)                { return l.blob.Size, nil }
func (l *lazyLayer) MediaType() (types.MediaType, error) { return l.blob.MediaType, nil }
func (l *lazyLayer) Compressed() (io.ReadCloser, error) {
	return l.image.session.Open(l.image.ctx, l.image.ref, l.blob)
}
