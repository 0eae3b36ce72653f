package build

import (
	"context"
	"errors"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/oci"
)

// cacheLabel holds the lifecycle's own account of a cache; in a folder it is a file of
// that name. The images are the lifecycle's: pack and kpack may share them.
const cacheLabel = "io.buildpacks.lifecycle.cache.metadata"

// openCacheImage fills the build's cache from a registry and has it sent there at the end.
func (p *Platform) openCacheImage(ctx context.Context, j *job, c *cache) error {
	ref, err := cacheRef(j.request.Cache.Image, j.architecture, len(j.request.Architectures) > 1)
	if err != nil {
		return err
	}
	if ref.Name() == j.request.Tag.Name() {
		return fault.Newf(fault.Usage, "open build cache", ref.String(), "the image itself will be there").
			WithHint("name another repository or tag with --cache-image")
	}
	var old v1.Image
	if !j.request.Cache.Clear {
		old, err = p.Registries.Image(ctx, ref, j.architecture)
		if err != nil && fault.KindOf(err) != fault.NotFound {
			return err
		}
	}
	committed := filepath.Join(c.dir, "committed")
	kept := map[string]v1.Layer{}
	if old != nil {
		kept, err = unpackCache(committed, old, c.bound)
		if errors.Is(err, errNoCache) {
			return fault.New(fault.Usage, "read build cache", ref.String(), err).
				WithHint("name another image with --cache-image, or put a new cache in its place with --clear-cache")
		}
		if err != nil {
			return fault.New(fault.Failed, "read build cache", ref.String(), err).WithHint("put a new one in its place: --clear-cache")
		}
	}
	c.publish = func() error {
		image, err := packCache(committed, j.architecture, kept)
		if err != nil {
			return fault.New(fault.Failed, "write build cache", ref.String(), err)
		}
		return p.Registries.PutImage(ctx, ref, image)
	}
	return nil
}

// cacheRef gives every architecture of a build a cache of its own.
func cacheRef(ref oci.Reference, architecture string, several bool) (oci.Reference, error) {
	if !several {
		return ref, nil
	}
	return oci.Parse(ref.String() + "-" + architecture)
}

var errNoCache = errors.New("it is no cache: it lacks the label " + cacheLabel)

// unpackCache writes the image's layers as the lifecycle wants them, at most so many bytes
// in all, and gives them by diffID.
func unpackCache(dir string, image v1.Image, most int64) (map[string]v1.Layer, error) {
	config, err := image.ConfigFile()
	if err != nil {
		return nil, err
	}
	label := config.Config.Labels[cacheLabel]
	if label == "" {
		return nil, errNoCache
	}
	layers, err := image.Layers()
	if err != nil {
		return nil, err
	}
	kept := map[string]v1.Layer{}
	for _, layer := range layers {
		diffID, err := layer.DiffID()
		if err != nil {
			return nil, err
		}
		n, err := unpackLayer(filepath.Join(dir, diffID.String()+".tar"), layer, most)
		if err != nil {
			return nil, err
		}
		most -= n
		kept[diffID.String()] = layer
	}
	return kept, os.WriteFile(filepath.Join(dir, cacheLabel), []byte(label), 0o644)
}

func unpackLayer(path string, layer v1.Layer, most int64) (int64, error) {
	r, err := layer.Uncompressed()
	if err != nil {
		return 0, err
	}
	defer r.Close()
	f, err := os.Create(path)
	if err != nil {
		return 0, err
	}
	n, err := io.Copy(f, io.LimitReader(r, most+1))
	if n > most {
		err = errors.New("it is larger than caches may be")
	}
	return n, errors.Join(err, f.Close())
}

// packCache makes an image of the lifecycle's folder. Layers that were in the last one
// are not compressed again.
func packCache(dir, architecture string, kept map[string]v1.Layer) (v1.Image, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	layers := map[string]v1.Layer{}
	for _, e := range entries {
		diffID, ok := strings.CutSuffix(e.Name(), ".tar")
		if !ok {
			continue
		}
		if layers[diffID] = kept[diffID]; layers[diffID] != nil {
			continue
		}
		if layers[diffID], err = tarball.LayerFromFile(filepath.Join(dir, e.Name()), tarball.WithMediaType(types.OCILayer)); err != nil {
			return nil, err
		}
	}
	image := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	for _, diffID := range slices.Sorted(maps.Keys(layers)) {
		if image, err = mutate.AppendLayers(image, layers[diffID]); err != nil {
			return nil, err
		}
	}
	label, err := os.ReadFile(filepath.Join(dir, cacheLabel))
	if err != nil {
		return nil, err
	}
	config, err := image.ConfigFile()
	if err != nil {
		return nil, err
	}
	config = config.DeepCopy()
	config.OS, config.Architecture = "linux", architecture
	config.Config.Labels = map[string]string{cacheLabel: string(label)}
	return mutate.ConfigFile(image, config)
}
