package known

import (
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/build"
	"plimsoll.dev/plimsoll/internal/inventory"
	"plimsoll.dev/plimsoll/internal/oci"
)

// Of gives what the inventory is to know of an image.
func Of(ref oci.Reference, image v1.Image, contents artifact.Contents) (inventory.Image, error) {
	manifest, err := image.Manifest()
	if err != nil {
		return inventory.Image{}, err
	}
	config, err := image.ConfigFile()
	if err != nil {
		return inventory.Image{}, err
	}
	out := inventory.Image{
		Reference: ref.String(), Contents: contents, Created: config.Created.Time, Size: manifest.Config.Size,
		Base:   inventory.Base{Name: manifest.Annotations[build.BaseNameAnnotation], Digest: manifest.Annotations[build.BaseDigestAnnotation]},
		Source: inventory.Source{URL: manifest.Annotations[build.SourceAnnotation], Revision: manifest.Annotations[build.RevisionAnnotation]},
		Labels: map[string]string{},
	}
	for _, l := range manifest.Layers {
		out.Size += l.Size
	}
	for name, value := range config.Config.Labels {
		const worth = 256 // bytes: what is longer is for machines
		if strings.HasPrefix(name, "org.opencontainers.image.") && len(value) <= worth {
			out.Labels[name] = value
		}
	}
	return out, nil
}
