package rebase

import (
	"context"
	"slices"
	"sync"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"plimsoll.dev/plimsoll/internal/build/cnb"
	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/oci"
)

// bases finds run images, each name once: a fleet is rebased on one digest, even if a tag
// moves meanwhile.
type bases struct {
	session *oci.Session

	mu    sync.Mutex
	found map[string]*resolution // by name
}

// resolution is what a name means in this run.
type resolution struct {
	once sync.Once
	ref  oci.Reference
	top  oci.Manifest
	err  error

	mu     sync.Mutex
	images map[v1.Hash]Image // those read of an index, or the one
}

// at gives the run image of that name for the platform of an app's configuration.
func (b *bases) at(ctx context.Context, name string, app *v1.ConfigFile) (Base, oci.Reference, error) {
	r := b.resolve(ctx, name)
	if r.err != nil {
		return Base{}, r.ref, r.err
	}
	digest := r.top.Digest
	if r.top.Index != nil {
		var ok bool
		if digest, ok = matching(r.top.Index, app); !ok {
			return Base{}, r.ref, fault.Newf(fault.NotFound, "read run image", name, "it has no image for "+targetOf(app).platform())
		}
	}
	image, err := r.image(ctx, b.session, digest)
	return Base{Image: image, Name: name, Repository: r.ref.Repository(), Digest: digest}, r.ref, err
}

func (b *bases) resolve(ctx context.Context, name string) *resolution {
	b.mu.Lock()
	r := b.found[name]
	if r == nil {
		r = &resolution{images: map[v1.Hash]Image{}}
		b.found[name] = r
	}
	b.mu.Unlock()
	r.once.Do(func() {
		if r.ref, r.err = oci.Parse(name); r.err == nil {
			r.top, r.err = b.session.Manifest(ctx, r.ref)
		}
	})
	return r
}

// image reads an image of the name, once.
func (r *resolution) image(ctx context.Context, session *oci.Session, digest v1.Hash) (Image, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if image, ok := r.images[digest]; ok {
		return image, nil
	}
	m := r.top
	if digest != m.Digest {
		var err error
		if m, err = session.Manifest(ctx, r.ref.At(digest)); err != nil {
			return Image{}, err
		}
	}
	image, err := readImage(ctx, session, r.ref, m)
	if err == nil {
		r.images[digest] = image
	}
	return image, err
}

// readImage reads what belongs to the manifest.
func readImage(ctx context.Context, session *oci.Session, ref oci.Reference, m oci.Manifest) (Image, error) {
	if m.Image == nil {
		return Image{}, fault.Newf(fault.Failed, "read image", ref.String(), "it is an index within an index")
	}
	config, err := session.Config(ctx, ref, m.Image)
	return Image{m.Image, config}, err
}

// matching gives the image of an index that is for the app's platform.
func matching(index *v1.IndexManifest, app *v1.ConfigFile) (v1.Hash, bool) {
	for _, m := range index.Manifests {
		p := m.Platform
		if m.MediaType.IsImage() && p != nil && p.OS == app.OS && p.Architecture == app.Architecture && alike(p.Variant, app.Variant) {
			return m.Digest, true
		}
	}
	return v1.Hash{}, false
}

// choose gives the run image that the app's metadata names, of its mirrors the first that
// can be read: those in the app's own registry are asked first (platform.md, "Run Image
// Resolution").
func (b *bases) choose(ctx context.Context, app oci.Reference, metadata cnb.LifecycleMetadata) (string, error) {
	names := metadata.NamedRunImage().Names()
	if len(names) == 0 {
		return "", refuse("name it with --run-image", "its metadata names no run image")
	}
	slices.SortStableFunc(names, func(x, y string) int { return distance(app, x) - distance(app, y) })
	var first error
	for _, name := range names {
		r := b.resolve(ctx, name)
		if r.err == nil {
			return name, nil
		}
		if first == nil {
			first = r.err
		}
	}
	return "", &fault.Error{
		Kind: fault.KindOf(first), What: "its run image cannot be read", Why: first,
		Hint: "say where the run image is with --run-image; a name without a host is in the local store",
	}
}

// distance is 0 for an image in the app's own registry.
func distance(app oci.Reference, image string) int {
	ref, err := oci.Parse(image)
	if err == nil && ref.Context().RegistryStr() == app.Context().RegistryStr() {
		return 0
	}
	return 1
}
