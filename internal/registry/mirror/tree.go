package mirror

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/oci"
)

// Limits of what one image may consist of.
const (
	maxManifest  = 4 << 20 // bytes (OCI distribution-spec 1.1, "Pushing Manifests")
	maxDepth     = 3       // of indexes in indexes
	maxManifests = 256
	maxBlobs     = 10_000
)

// tree is a manifest with all that it names.
type tree struct {
	oci.Manifest
	children []*tree
}

// treeReader reads trees from one repository. What a registry outside says of a manifest is not
// believed: its digest is verified, its kind and size are its own.
type treeReader struct {
	session *oci.Session
	ref     oci.Reference
	known   map[v1.Hash]*tree
}

func (r *treeReader) read(ctx context.Context, digest v1.Hash, depth int) (*tree, error) {
	if known := r.known[digest]; known != nil {
		return known, nil
	}
	at := r.ref.At(digest)
	if len(r.known) >= maxManifests {
		return nil, hostile(at, fmt.Errorf("more than %d manifests belong to it", maxManifests))
	}
	m, err := r.session.Manifest(ctx, at)
	if err != nil {
		return nil, err
	}
	if len(m.Raw) > maxManifest {
		return nil, hostile(at, errors.New("the manifest is larger than 4 MiB"))
	}
	t := &tree{Manifest: m}
	if m.Index != nil {
		if depth >= maxDepth {
			return nil, hostile(at, fmt.Errorf("indexes lie in it more than %d deep", maxDepth))
		}
		for _, d := range m.Index.Manifests {
			child, err := r.read(ctx, d.Digest, depth+1)
			if err != nil {
				return nil, err
			}
			if child.Size != d.Size {
				return nil, hostile(at, fmt.Errorf("it says that %s has %d bytes, which has %d", d.Digest, d.Size, child.Size))
			}
			t.children = append(t.children, child)
		}
	}
	r.known[digest] = t
	return t, nil
}

func hostile(at oci.Reference, why error) error {
	return fault.New(fault.Failed, "read image", at.String(), why).WithHint("this image is not to be trusted, or broken")
}

// each calls do for every manifest of the tree, those that an index names before it.
func (t *tree) each(do func(*tree) error) error {
	seen := map[v1.Hash]bool{}
	var walk func(*tree) error
	walk = func(t *tree) error {
		if seen[t.Digest] {
			return nil
		}
		seen[t.Digest] = true
		for _, child := range t.children {
			if err := walk(child); err != nil {
				return err
			}
		}
		return do(t)
	}
	return walk(t)
}

// blobs gives the configuration and layers of all images of the tree, each once.
func (t *tree) blobs() ([]v1.Descriptor, error) {
	sizes := map[v1.Hash]int64{}
	var all []v1.Descriptor
	err := t.each(func(t *tree) error {
		for _, d := range parts(t.Image) {
			size, known := sizes[d.Digest]
			switch {
			case d.Size < 0 || known && size != d.Size:
				return fmt.Errorf("%s cannot have %d bytes", d.Digest, d.Size)
			case known:
				continue
			}
			sizes[d.Digest] = d.Size
			if all = append(all, d); len(all) > maxBlobs {
				return fmt.Errorf("more than %d blobs belong to it", maxBlobs)
			}
		}
		return nil
	})
	return all, err
}

// parts gives what an image's manifest names; nothing of an index.
func parts(m *v1.Manifest) []v1.Descriptor {
	if m == nil {
		return nil
	}
	return append(slices.Clone(m.Layers), m.Config)
}

// attestedImage is the annotation by which BuildKit's attestations, that lie in the index beside
// the images, say of which of them they are.
const attestedImage = "vnd.docker.reference.digest"

// narrow gives an index of the images for the platforms alone, with what lies beside them.
func (t *tree) narrow(platforms []v1.Platform) (*tree, error) {
	index := t.Index.DeepCopy()
	index.Manifests, index.Subject = nil, nil
	out := &tree{}
	kept := map[string]bool{}
	keep := func(i int) {
		kept[t.Index.Manifests[i].Digest.String()] = true
		index.Manifests = append(index.Manifests, t.Index.Manifests[i])
		out.children = append(out.children, t.children[i])
	}
	for _, wanted := range platforms {
		before := len(kept)
		for i, d := range t.Index.Manifests {
			if d.Platform != nil && d.Platform.Satisfies(wanted) && !kept[d.Digest.String()] {
				keep(i)
			}
		}
		if len(kept) == before {
			return nil, fmt.Errorf("it has no image for %s", wanted.String())
		}
	}
	for i, d := range t.Index.Manifests {
		if kept[d.Annotations[attestedImage]] && !kept[d.Digest.String()] {
			keep(i)
		}
	}
	raw, err := json.Marshal(index)
	if err != nil {
		return nil, err
	}
	out.Manifest = oci.Manifest{Descriptor: v1.Descriptor{MediaType: t.MediaType}, Raw: raw, Index: index}
	out.Digest, out.Size, err = v1.SHA256(bytes.NewReader(raw))
	return out, err
}
