// Package known takes a home and a reference and gives what is known of the images that the
// reference names: what they hold, what is attached to them, and which advisories concern them.
package known

import (
	"context"
	"maps"
	"runtime"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/evidence/sbom"
	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/oci"
	"plimsoll.dev/plimsoll/internal/site/home"
)

// Looked is an image of one platform and what is in it.
type Looked struct {
	Ref      oci.Reference
	Digest   v1.Hash // of what the reference names: the image, or its index
	Image    v1.Image
	Contents artifact.Contents
}

// Look reads what is in the image of the reference for a platform; "" is this machine's,
// or the only one there is.
func Look(ctx context.Context, h *home.Home, text, platform string) (*Looked, error) {
	ref, err := oci.Parse(text)
	if err != nil {
		return nil, err
	}
	session := h.Registries.Session()
	top, err := session.Manifest(ctx, ref)
	if err != nil {
		return nil, err
	}
	images, err := h.Registries.Images(ctx, ref.At(top.Digest))
	if err != nil {
		return nil, err
	}
	image, err := ofPlatform(images, text, platform)
	if err != nil {
		return nil, err
	}
	contents, err := Contents(ctx, h, image)
	return &Looked{Ref: ref, Digest: top.Digest, Image: image, Contents: contents}, err
}

// Contents gives what is in an image.
func Contents(ctx context.Context, h *home.Home, image v1.Image) (artifact.Contents, error) {
	subject, err := sbom.ImageOf(image)
	if err != nil {
		return artifact.Contents{}, err
	}
	return h.Contents().Contents(ctx, subject)
}

// ofPlatform chooses among images by their architecture.
func ofPlatform(images map[string]v1.Image, text, platform string) (v1.Image, error) {
	known := slices.Sorted(maps.Keys(images))
	want := strings.TrimPrefix(platform, "linux/")
	if want == "" {
		want = runtime.GOARCH
		if len(known) == 1 {
			want = known[0]
		}
	}
	image, ok := images[want]
	if !ok {
		return nil, fault.Newf(fault.NotFound, "read image", text, "it has no image for linux/"+want).
			WithHint("name one with --platform: linux/" + strings.Join(known, ", linux/"))
	}
	return image, nil
}
