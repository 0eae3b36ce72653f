package rebase

import (
	"cmp"
	"context"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"plimsoll.dev/plimsoll/internal/oci"
)

// subjectAnnotation is how BuildKit's attestations name the image of the same index that
// they are about.
const subjectAnnotation = "vnd.docker.reference.digest"

// draftIndex rebases every image of an index, each on the run image of its platform.
func (f *fleet) draftIndex(ctx context.Context, ref oci.Reference, old oci.Manifest) (*draft, error) {
	d := &draft{Manifest: old, ref: ref}
	replaced := map[v1.Hash]v1.Descriptor{}
	for _, m := range old.Index.Manifests {
		if m.MediaType.IsIndex() {
			return nil, refuse("", "it holds an index within an index")
		}
		if !isApp(m) {
			continue
		}
		was, err := f.session.Manifest(ctx, ref.At(m.Digest))
		if err != nil {
			return nil, err
		}
		p, err := f.part(ctx, ref, was)
		if err != nil {
			return nil, err
		}
		d.parts = append(d.parts, *p)
		if !p.Unchanged {
			replaced[m.Digest] = p.Descriptor
		}
	}
	if len(d.parts) == 0 {
		return nil, refuse("", "it is an index without an image to run")
	}
	index := reindex(old.Index, replaced)
	index.MediaType = cmp.Or(index.MediaType, old.MediaType) // which may stand in the registry's answer alone
	for _, m := range index.Manifests {
		if !isApp(m) {
			d.kept = append(d.kept, m)
		}
	}
	if len(replaced) == 0 {
		return d, nil
	}
	on := d.parts[0]
	nameBase(index, on.on.Name, f.bases.resolve(ctx, on.on.Name).top.Digest)
	var err error
	d.Index = index
	d.Descriptor, d.Raw, err = encode(index.MediaType, index)
	return d, err
}

// isApp tells the images to run from attestations and other artifacts.
func isApp(d v1.Descriptor) bool {
	artifact := d.ArtifactType != "" && !types.MediaType(d.ArtifactType).IsConfig() // some tools say it of images
	unknown := d.Platform != nil && d.Platform.OS == "unknown"
	return d.MediaType.IsImage() && !artifact && !unknown && d.Annotations[subjectAnnotation] == ""
}

// reindex gives the index with images replaced, and all else kept, but for attestations
// about what was replaced: they speak of digests that are no longer here. They stay with
// the old index.
func reindex(old *v1.IndexManifest, replaced map[v1.Hash]v1.Descriptor) *v1.IndexManifest {
	index := old.DeepCopy()
	index.Manifests = nil
	for _, m := range old.DeepCopy().Manifests {
		about, _ := v1.NewHash(m.Annotations[subjectAnnotation])
		if _, gone := replaced[about]; gone {
			continue
		}
		if now, ok := replaced[m.Digest]; ok {
			m.MediaType, m.Digest, m.Size, m.Data = now.MediaType, now.Digest, now.Size, nil
			if m.MediaType == types.OCIManifestSchema1 {
				index.MediaType = types.OCIImageIndex // Docker's lists have Docker's images only
				if m.ArtifactType != "" {
					m.ArtifactType = string(types.OCIConfigJSON)
				}
			}
		}
		index.Manifests = append(index.Manifests, m)
	}
	return index
}

// nameBase brings the index's own word of its base up to date, if it has one.
func nameBase(index *v1.IndexManifest, name string, digest v1.Hash) {
	if index.Annotations[baseNameAnnotation] != "" || index.Annotations[baseDigestAnnotation] != "" {
		index.Annotations = onBase(index.Annotations, name, digest)
	}
}
