package sbom

import (
	"context"
	"fmt"
	"io"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"plimsoll.dev/plimsoll/internal/fault"
)

// ImageOf gives a v1.Image for scanning. Its layers are fetched only when they are opened.
func ImageOf(image v1.Image) (Image, error) {
	digest, err := image.Digest()
	if err != nil {
		return Image{}, err
	}
	config, err := image.ConfigFile()
	if err != nil {
		return Image{}, err
	}
	layers, err := image.Layers()
	if err != nil {
		return Image{}, err
	}
	out := Image{Digest: digest.String(), Platform: platformOf(config), Labels: config.Config.Labels}
	if len(layers) != len(config.RootFS.DiffIDs) {
		return Image{}, fault.Newf(fault.Denied, "read image", out.Digest,
			fmt.Sprintf("its manifest has %d layers, its configuration %d", len(layers), len(config.RootFS.DiffIDs)))
	}
	for i, l := range layers {
		blob, err := l.Digest()
		if err != nil {
			return Image{}, err
		}
		out.Layers = append(out.Layers, Layer{DiffID: config.RootFS.DiffIDs[i].String(), Blob: blob.String(), Open: opener(l)})
	}
	return out, nil
}

func platformOf(config *v1.ConfigFile) string {
	p := v1.Platform{OS: config.OS, Architecture: config.Architecture, Variant: config.Variant}
	return p.String()
}

// opener opens the layer's compressed bytes. A layer that its maker does not let registries
// hold is seldom there; that must be said, as the account would have a hole.
func opener(l v1.Layer) func(context.Context) (io.ReadCloser, error) {
	return func(context.Context) (io.ReadCloser, error) {
		packed, err := l.Compressed()
		if err == nil {
			return packed, nil
		}
		if kind, kindErr := l.MediaType(); kindErr == nil && kind.IsLayer() && !kind.IsDistributable() {
			return nil, fault.New(fault.NotFound, "open layer", string(kind), err).
				WithHint("its maker does not let registries hold it: scan the image where the layer is at hand")
		}
		return nil, err
	}
}
