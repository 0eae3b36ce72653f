package oci

import (
	"bytes"
	"context"
	"io"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// Image gives the image of a manifest that was read or is about to be written, with its
// configuration. Its layers are read from the reference's repository when they are opened,
// which may be never: most of what is asked of an image is in those two. All who ask get the
// same Manifest and ConfigFile, which are not to be changed.
func (s *Session) Image(ctx context.Context, ref Reference, mediaType types.MediaType, rawManifest, rawConfig []byte) (v1.Image, error) {
	i := &lazyImage{ctx: ctx, session: s, ref: ref, mediaType: mediaType, rawManifest: rawManifest, rawConfig: rawConfig}
	var err error
	if i.digest, _, err = v1.SHA256(bytes.NewReader(rawManifest)); err != nil {
		return nil, err
	}
	if i.manifest, err = v1.ParseManifest(bytes.NewReader(rawManifest)); err != nil {
		return nil, wrap("read image", ref, bad("the manifest is not valid: %v", err))
	}
	if i.config, err = v1.ParseConfigFile(bytes.NewReader(rawConfig)); err != nil {
		return nil, wrap("read image", ref, bad("the configuration is not valid: %v", err))
	}
	return i, nil
}

// lazyImage is a v1.Image that is parsed once: go-containerregistry's own does it again for
// each layer. A v1.Image has no room for a context, so it is kept: an image lives no longer
// than the command that reads it.
type lazyImage struct {
	ctx                    context.Context //nolint:containedctx
	session                *Session
	ref                    Reference
	mediaType              types.MediaType
	rawManifest, rawConfig []byte
	digest                 v1.Hash
	manifest               *v1.Manifest
	config                 *v1.ConfigFile
}

func (i *lazyImage) MediaType() (types.MediaType, error) { return i.mediaType, nil }
func (i *lazyImage) Size() (int64, error)                { return int64(len(i.rawManifest)), nil }
func (i *lazyImage) Digest() (v1.Hash, error)            { return i.digest, nil }
func (i *lazyImage) Manifest() (*v1.Manifest, error)     { return i.manifest, nil }
func (i *lazyImage) RawManifest() ([]byte, error)        { return i.rawManifest, nil }
func (i *lazyImage) ConfigName() (v1.Hash, error)        { return partial.ConfigName(i) }
func (i *lazyImage) ConfigFile() (*v1.ConfigFile, error) { return i.config, nil }
func (i *lazyImage) RawConfigFile() ([]byte, error)      { return i.rawConfig, nil }

func (i *lazyImage) Layers() ([]v1.Layer, error) {
	layers := make([]v1.Layer, len(i.manifest.Layers))
	for n, blob := range i.manifest.Layers {
		var err error
		if layers[n], err = partial.CompressedToLayer(&lazyLayer{i, blob}); err != nil {
			return nil, err
		}
	}
	return layers, nil
}

func (i *lazyImage) LayerByDigest(digest v1.Hash) (v1.Layer, error) {
	if digest == i.manifest.Config.Digest {
		return partial.ConfigLayer(i)
	}
	for _, blob := range i.manifest.Layers {
		if blob.Digest == digest {
			return partial.CompressedToLayer(&lazyLayer{i, blob})
		}
	}
	return nil, bad("the manifest names no layer %s", digest)
}

func (i *lazyImage) LayerByDiffID(diffID v1.Hash) (v1.Layer, error) {
	digest, err := partial.DiffIDToBlob(i, diffID)
	if err != nil {
		return nil, err
	}
	return i.LayerByDigest(digest)
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
