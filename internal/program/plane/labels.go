package plane

import (
	"cmp"
	"context"
	"maps"
	"slices"

	"plimsoll.dev/plimsoll/api/v1alpha1"
	"plimsoll.dev/plimsoll/internal/controller/image"
	"plimsoll.dev/plimsoll/internal/inventory"
)

// labelsOf gives the labels that an Image puts upon those of what it publishes.
func labelsOf(i *v1alpha1.Image) map[string]string {
	all := map[string]string{}
	maps.Copy(all, i.Labels)
	all[v1alpha1.LabelTeam], all[v1alpha1.LabelNamespace] = image.Team(i), i.Namespace
	return all
}

// labels gives those that are put upon the labels of the image of a reference.
func (c *campaigns) labels(reference string) map[string]string {
	i, err := c.imageOf(context.Background(), reference) // it is in memory
	if err != nil || i == nil {
		return nil
	}
	return labelsOf(i)
}

// mostConfigured bounds the images whose configured labels are remembered: some megabytes.
const mostConfigured = 20_000

// configured gives the labels of the configuration of what the Image has published; none where nobody
// knows them.
func (c *campaigns) configured(ctx context.Context, i *v1alpha1.Image) map[string]string {
	if i.Status.LatestImage == nil {
		return nil
	}
	digest := i.Status.LatestImage.Digest
	if labels, known := c.known.Get(digest); known {
		return labels
	}
	labels, err := c.readLabels(ctx, i)
	if err != nil {
		c.log.Warn("the labels of an image are not known", "image", i.Namespace+"/"+i.Name, "error", err)
	}
	if len(labels) == 0 {
		return nil // the inventory may hear of it still
	}
	c.known.Put(digest, labels, 1)
	return labels
}

// readLabels asks the inventory; of an index for those of the image that a plan would take.
func (c *campaigns) readLabels(ctx context.Context, i *v1alpha1.Image) (map[string]string, error) {
	ref, err := c.place(i.Spec.Tag)
	if err != nil {
		return nil, err
	}
	index, err := c.site.Inventory(ctx)
	if err != nil {
		return nil, err
	}
	names, err := index.Names(ctx, ref.String())
	if err != nil || len(names) == 0 {
		return nil, err
	}
	first := slices.MinFunc(names, func(a, b inventory.Named) int { return cmp.Compare(a.Digest, b.Digest) })
	return index.Labels(ctx, first.Digest)
}
