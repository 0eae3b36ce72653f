package base

import (
	"cmp"
	"context"
	"io"
	"maps"
	"runtime"
	"slices"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/sync/errgroup"

	"plimsoll.dev/plimsoll/api/v1alpha1"
	"plimsoll.dev/plimsoll/internal/base/content"
	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/oci"
	"plimsoll.dev/plimsoll/internal/oci/layer"
)

// image composes, checks and layers one architecture.
func (b *Builder) image(ctx context.Context, image *v1alpha1.BaseImage, set LockedImage, contents map[string]*content.Content, warnings []Warning, strict bool) (Built, error) {
	spec := &image.Spec
	c, err := compose(spec, set, contents, b.bytes)
	if err != nil {
		return Built{}, err
	}
	if bad := failed(c.checks); len(bad) > 0 {
		return Built{}, fault.Newf(fault.Denied, "harden "+set.Architecture, image.Name, describe(bad)).
			WithHint("docs/base.md, \"Hardening\", says how each check is met or opened")
	}
	warnings = append(warnings, c.warnings...)
	if open := Unaccepted(warnings); strict && len(open) > 0 {
		return Built{}, fault.Newf(fault.Failed, "compose "+set.Architecture, image.Name, joinWarnings(open)).
			WithHint("do what is missing in the spec (accounts, paths), or build without --strict")
	}
	plans := group(c.tree, spec.Layering)
	blobs, cached, err := b.layers(ctx, set.Architecture, plans, spec.Layering.Compression)
	if err != nil {
		return Built{}, err
	}
	built := Built{Architecture: set.Architecture, Hardening: c.checks, Warnings: warnings}
	additions := make([]mutate.Addendum, len(plans))
	for i, plan := range plans {
		about := Layer{Name: plan.name, Digest: blobs[i].Sum.String(), Size: blobs[i].Bytes, Cached: cached[i], Packages: plan.packages()}
		built.Layers = append(built.Layers, about)
		built.Size += about.Size
		additions[i] = addendum(plan, blobs[i])
	}
	if built.Image, err = assemble(image, set.Architecture, additions, c.distro); err != nil {
		return Built{}, err
	}
	digest, err := built.Image.Digest()
	built.Digest = digest.String()
	return built, err
}

// bytes gives a packaged file's bytes.
func (b *Builder) bytes(n *node) ([]byte, error) {
	if n.entry.Text != nil {
		return n.entry.Text, nil
	}
	var data []byte
	err := b.contentCache().Walk(n.owner.pkg.SHA256, n.owner.content, func(file string, r io.Reader) (err error) {
		if file == n.entry.Path {
			data, err = io.ReadAll(r)
		}
		return err
	})
	return data, err
}

// layers gets the bytes of every layer, some from the cache.
func (b *Builder) layers(ctx context.Context, architecture string, plans []layerPlan, compression string) ([]*layer.Blob, []bool, error) {
	kept, content := layer.NewCache(b.cache("layers"), compression), b.contentCache()
	blobs, cached := make([]*layer.Blob, len(plans)), make([]bool, len(plans))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(runtime.GOMAXPROCS(0))
	done := b.stage("writing layers for "+architecture, len(plans))
	for _, i := range largestFirst(plans) {
		group.Go(func() error {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			defer done()
			blob, fresh, err := kept.Get(plans[i].key(kept.Recipe()), func(w io.Writer) error { return plans[i].write(w, content) })
			if err != nil {
				return fault.New(fault.Failed, "write layer", plans[i].name, err)
			}
			blobs[i], cached[i] = blob, !fresh
			return nil
		})
	}
	return blobs, cached, group.Wait()
}

// largestFirst gives the plans' places by falling size, so that no large one is left for
// last.
func largestFirst(plans []layerPlan) []int {
	sizes, order := make([]int64, len(plans)), make([]int, len(plans))
	for i, p := range plans {
		order[i] = i
		for n := range p.all() {
			sizes[i] += n.size
		}
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(sizes[b], sizes[a]) })
	return order
}

// packages gives "name=version" of each package of the layer.
func (p layerPlan) packages() []string {
	var names []string
	for _, m := range p.members {
		names = append(names, m.pkg.Name+"="+m.pkg.Version)
	}
	return names
}

// newest gives the time of the layer's newest node. Images are dated by it, for the
// clock of the build would make each one different.
func (p layerPlan) newest() time.Time {
	newest := int64(epoch)
	for n := range p.all() {
		newest = max(newest, n.mtime)
	}
	return time.Unix(newest, 0).UTC()
}

func addendum(plan layerPlan, b *layer.Blob) mutate.Addendum {
	packages := strings.Join(plan.packages(), " ")
	made := "plimsoll base: " + plan.name
	if packages != "" {
		made = "plimsoll base: " + packages
	}
	a := mutate.Addendum{
		Layer:       b,
		History:     v1.History{CreatedBy: made, Created: v1.Time{Time: plan.newest()}},
		Annotations: map[string]string{oci.LayerAnnotation: plan.name},
	}
	if packages != "" {
		a.Annotations[oci.PackagesAnnotation] = packages
	}
	return a
}

// assemble makes the image of its layers (OCI image-spec, config.md).
func assemble(image *v1alpha1.BaseImage, architecture string, additions []mutate.Addendum, distro map[string]string) (v1.Image, error) {
	out := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	out, err := mutate.Append(out, additions...)
	if err != nil {
		return nil, err
	}
	file, err := out.ConfigFile()
	if err != nil {
		return nil, err
	}
	file = file.DeepCopy()
	file.OS, file.Architecture = "linux", architecture
	for _, a := range additions {
		if a.History.Created.After(file.Created.Time) {
			file.Created = a.History.Created
		}
	}
	file.Config = config(image, distro)
	return mutate.ConfigFile(out, file)
}

func config(image *v1alpha1.BaseImage, distro map[string]string) v1.Config {
	spec := &image.Spec
	c := v1.Config{
		User:       spec.RunAs.String(),
		Entrypoint: spec.Entrypoint, Cmd: spec.Command, WorkingDir: spec.WorkingDirectory,
		Labels: map[string]string{"dev.plimsoll.base": image.Name},
	}
	maps.Copy(c.Labels, distro)
	maps.Copy(c.Labels, spec.Labels)
	env := map[string]string{"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
	maps.Copy(env, spec.Environment)
	for _, name := range slices.Sorted(maps.Keys(env)) {
		c.Env = append(c.Env, name+"="+env[name])
	}
	return c
}

// indexOf gives the OCI index of the images (image-spec, image-index.md).
func indexOf(images []Built) (v1.ImageIndex, error) {
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for _, b := range images {
		index = mutate.AppendManifests(index, mutate.IndexAddendum{
			Add:        b.Image,
			Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: b.Architecture}},
		})
	}
	return index, nil
}
