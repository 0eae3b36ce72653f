package known

import (
	"cmp"
	"slices"
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
		Labels: labels(config.Config.Labels),
	}
	for _, l := range manifest.Layers {
		out.Size += l.Size
	}
	return out, nil
}

// Bounds of an image's labels: whoever builds it writes them.
const (
	mostLabels  = 64
	longestText = 256 // bytes of a name or a value: what is longer is for machines
)

// labels gives those of a configuration that people ask for. Of too many, ours and the standard's stay
// (OCI image specification v1.1, "Pre-Defined Annotation Keys"), then the first by name.
func labels(all map[string]string) map[string]string {
	var names []string
	for name, value := range all {
		machines := strings.HasPrefix(name, "io.buildpacks.")
		if name != "" && !machines && len(name) <= longestText && len(value) <= longestText {
			names = append(names, name)
		}
	}
	rank := func(name string) int {
		return slices.IndexFunc([]string{"plimsoll.dev/", "org.opencontainers.image.", ""}, func(prefix string) bool { return strings.HasPrefix(name, prefix) })
	}
	slices.SortFunc(names, func(a, b string) int { return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(a, b)) })
	kept := map[string]string{}
	for _, name := range names[:min(len(names), mostLabels)] {
		kept[name] = all[name]
	}
	return kept
}
