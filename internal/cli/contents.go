package cli

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
)

// looked is an image of one platform and what is in it.
type looked struct {
	ref      oci.Reference
	digest   v1.Hash // of what the reference names: the image, or its index
	image    v1.Image
	contents artifact.Contents
}

// look reads what is in the image of the reference for a platform; "" is this machine's,
// or the only one there is.
func (env *Env) look(ctx context.Context, text, platform string) (*looked, error) {
	ref, err := oci.Parse(text)
	if err != nil {
		return nil, err
	}
	session := env.Registries.Session()
	top, err := session.Manifest(ctx, ref)
	if err != nil {
		return nil, err
	}
	images, err := env.Registries.Images(ctx, ref.At(top.Digest))
	if err != nil {
		return nil, err
	}
	image, err := ofPlatform(images, text, platform)
	if err != nil {
		return nil, err
	}
	subject, err := sbom.ImageOf(image)
	if err != nil {
		return nil, err
	}
	contents, err := env.contents().Contents(ctx, subject)
	return &looked{ref: ref, digest: top.Digest, image: image, contents: contents}, err
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
