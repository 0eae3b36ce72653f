// Package inspect takes the reference of any image and gives a Report of it: what it is,
// from which source, on which base, with what in each layer, and what a rebase would change.
//
// It reads manifests, configurations and the layer with the buildpacks' bills of materials;
// layers of a base only where nothing else says what is in them. Images may come from
// anybody: all that is read into memory is bounded, and what cannot be understood is a note
// in the report.
package inspect

import (
	"context"
	"fmt"
	"io"
	"runtime"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"plimsoll.dev/plimsoll/internal/build/cnb"
	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/oci"
)

// Options says what is looked at.
type Options struct {
	// Architecture of the image that is shown in detail, "arm64" or "arm/v7". "" is this
	// machine's, or the first of an index that has none for it.
	Architecture string
}

// Inspect reports on what the reference names.
func Inspect(ctx context.Context, registries *oci.Registries, ref oci.Reference, o Options) (*Report, error) {
	i := &inspection{registries: registries, session: registries.Session(), ref: ref}
	top, err := i.session.Manifest(ctx, ref)
	if err != nil {
		return nil, err
	}
	r := &Report{Ref: ref.String(), Digest: top.Digest.String(), MediaType: string(top.MediaType)}
	var images []*subject
	if top.Index != nil {
		images, err = i.images(ctx, top.Index)
	} else {
		images = []*subject{{Manifest: top}}
	}
	if err != nil {
		return nil, err
	}
	shown, err := i.choose(ctx, images, o.Architecture)
	if err != nil {
		return nil, err
	}
	for _, s := range images {
		r.Platforms = append(r.Platforms, Platform{
			Platform: s.platform(), Digest: s.Digest.String(), Layers: len(s.Image.Layers), Size: size(s.Image.Layers), Shown: s == shown && len(images) > 1,
		})
	}
	r.Image, err = describe(ctx, shown)
	if err == nil && top.Index != nil && len(images) == maxImages {
		r.Image.note("only the first %d images of the index were read", maxImages)
	}
	return r, err
}

// inspection is one call of Inspect.
type inspection struct {
	registries *oci.Registries
	session    *oci.Session
	ref        oci.Reference
}

// subject is an image that is looked at. describe asks the world outside only through its
// functions.
type subject struct {
	oci.Manifest
	declared *v1.Platform // by the index; nil without one
	config   *v1.ConfigFile
	exported *cnb.LifecycleMetadata // its label's; nil when it has none that can be read

	open   func(ctx context.Context, layer v1.Descriptor) (io.ReadCloser, error) // its compressed bytes, checked at their end
	rebase func(ctx context.Context) *Rebase                                     // what a rebase would do
}

// maxImages bounds how many images of an index are read.
const maxImages = 64

// images gives those of the index that can be run. The others, such as attestations, are
// about these.
func (i *inspection) images(ctx context.Context, index *v1.IndexManifest) ([]*subject, error) {
	var images []*subject
	for _, d := range index.Manifests {
		if !runnable(d) || len(images) == maxImages {
			continue
		}
		m, err := i.session.Manifest(ctx, i.ref.At(d.Digest))
		if err != nil {
			return nil, err
		}
		if m.Image != nil {
			images = append(images, &subject{Manifest: m, declared: d.Platform})
		}
	}
	if len(images) == 0 {
		return nil, fault.Newf(fault.Failed, "inspect", i.ref.String(), "it is an index without an image to run")
	}
	return images, nil
}

// runnable tells images from attestations and other artifacts. An image's configuration
// may stand as its artifact type (OCI image-spec, descriptor.md).
func runnable(d v1.Descriptor) bool {
	kind := types.MediaType(d.ArtifactType)
	unknown := d.Platform != nil && d.Platform.OS == "unknown"
	return d.MediaType.IsImage() && (kind == "" || kind.IsConfig()) && !unknown
}

// choose gives the image of the architecture, ready to be described.
func (i *inspection) choose(ctx context.Context, images []*subject, architecture string) (*subject, error) {
	if len(images) == 1 {
		if err := i.read(ctx, images[0]); err != nil {
			return nil, err
		}
	}
	wanted := architecture
	if wanted == "" {
		wanted = runtime.GOARCH
	}
	var names []string
	for _, s := range images {
		os, rest, _ := strings.Cut(s.platform(), "/")
		bare, _, _ := strings.Cut(rest, "/")
		if (os == "linux" || len(images) == 1) && (rest == wanted || bare == wanted) {
			return s, i.read(ctx, s)
		}
		names = append(names, s.platform())
	}
	if architecture == "" {
		return images[0], i.read(ctx, images[0])
	}
	return nil, fault.Newf(fault.NotFound, "inspect", i.ref.String(), "it has no image for "+architecture).
		WithHint("it has " + strings.Join(names, ", "))
}

// read gets what belongs to the image's manifest.
func (i *inspection) read(ctx context.Context, s *subject) (err error) {
	if s.config != nil {
		return nil
	}
	at := i.ref.At(s.Digest)
	if s.config, err = i.session.Config(ctx, at, s.Image); err != nil {
		return err
	}
	var image v1.Image // got when the first layer is
	s.open = func(ctx context.Context, layer v1.Descriptor) (io.ReadCloser, error) {
		if image == nil {
			found, err := i.registries.Get(ctx, at)
			if err != nil {
				return nil, err
			}
			if image, err = found.Image(); err != nil {
				return nil, err
			}
		}
		blob, err := image.LayerByDigest(layer.Digest)
		if err != nil {
			return nil, err
		}
		return blob.Compressed()
	}
	s.rebase = func(ctx context.Context) *Rebase { return dryRun(ctx, i.registries, at) }
	return nil
}

// platform gives "linux/arm/v7": by the configuration, once that is read.
func (s *subject) platform() string {
	p := s.declared
	if s.config != nil && s.config.OS != "" {
		p = &v1.Platform{OS: s.config.OS, Architecture: s.config.Architecture, Variant: s.config.Variant}
	}
	if p == nil {
		return "not said"
	}
	return strings.TrimSuffix(fmt.Sprintf("%s/%s/%s", p.OS, p.Architecture, p.Variant), "/")
}

// size gives the bytes of the layers, compressed.
func size(layers []v1.Descriptor) (total int64) {
	for _, l := range layers {
		total += max(0, l.Size)
	}
	return total
}
