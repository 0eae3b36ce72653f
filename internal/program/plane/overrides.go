package plane

import (
	"context"
	"slices"
	"strings"
	"time"

	"plimsoll.dev/plimsoll/api/v1alpha1"
	"plimsoll.dev/plimsoll/internal/build/override"
	"plimsoll.dev/plimsoll/internal/controller/image"
	"plimsoll.dev/plimsoll/internal/inventory"
	"plimsoll.dev/plimsoll/internal/oci"
)

// overrides gives those that hold for the Image, and says of others than those it was made by
// whether they bear on it.
func (p *Plane) overrides(ctx context.Context, i *v1alpha1.Image, was string, all []v1alpha1.DependencyOverride) (image.Held, error) {
	var held image.Held
	holding, err := p.holding(i.Spec.Tag, all)
	if err != nil {
		return held, nil // the Image says so itself
	}
	held.Digest = holding.Digest()
	var text []string
	for _, o := range holding {
		held.Advisories = append(held.Advisories, o.Spec.Advisories...)
		text = append(text, o.Spec.Ecosystem+" "+o.Spec.Package+" from "+o.Spec.Version+" on: "+o.Spec.Reason)
	}
	held.Text = strings.Join(text, "\n")
	if held.Digest != was {
		held.Idle, err = p.idle(ctx, i, holding)
	}
	return held, err
}

// holding gives the overrides that hold for what is published under the tag now.
func (p *Plane) holding(tag string, all []v1alpha1.DependencyOverride) (override.Holding, error) {
	ref, err := p.place(tag)
	if err != nil {
		return nil, err
	}
	return sound(all).For(ref.Repository(), time.Now()), nil
}

// sound gives the overrides of the cluster, but for those that are wrong: each says so itself, and
// takes none of the others along.
func sound(all []v1alpha1.DependencyOverride) override.Set {
	var good []v1alpha1.DependencyOverride
	for _, o := range all {
		o.APIVersion, o.Kind = v1alpha1.APIVersion, v1alpha1.DependencyOverrideKind // what a cache lists has neither
		if _, err := override.New(o); err == nil {
			good = append(good, o)
		}
	}
	set, _ := override.New(good...) // it fails for too many, of which none holds then
	return set
}

// packageTypes are the package URL types of ecosystems (OSV schema, "affected[].package").
var packageTypes = map[string]string{"npm": "npm", "Go": "golang", "PyPI": "pypi"}

// idle says that the inventory knows what the Image has published, and that nothing in it is below
// the overrides.
func (p *Plane) idle(ctx context.Context, i *v1alpha1.Image, holding override.Holding) (bool, error) {
	ref, err := p.place(i.Spec.Tag)
	switch {
	case err != nil || i.Status.LatestImage == nil:
		return false, nil
	case len(holding) == 0: // the next build goes by the lock files again
		return true, nil
	}
	digest := i.Status.LatestImage.Digest
	key := digest + " " + holding.Digest() // what came of these two stays so
	if idle, known := p.idleBy.Get(key); known {
		return idle, nil
	}
	index, err := p.site.Inventory(ctx)
	if err != nil {
		return false, err
	}
	names, err := index.Names(ctx, ref.String())
	if err != nil {
		return false, err
	}
	var digests []string
	for _, n := range names {
		digests = append(digests, n.Digest)
	}
	// Of an index only the images are known.
	if several := len(i.Spec.Architectures); !slices.Contains(digests, digest) && (several < 2 || len(digests) != several) {
		return false, nil
	}
	var types []string
	for _, o := range holding {
		types = append(types, packageTypes[o.Spec.Ecosystem])
	}
	low, err := index.Chosen(ctx, inventory.Choice{Types: types, Is: holding.Below(), Images: digests})
	if err == nil {
		p.idleBy.Put(key, len(low) == 0, 1)
	}
	return len(low) == 0, err
}

// mostIdle bounds the answers of idle that are remembered: some megabytes.
const mostIdle = 50_000

// counter is dependencyoverride.Counter by the inventory.
type counter struct{ *Plane }

// Below implements dependencyoverride.Counter.
func (c counter) Below(ctx context.Context, o v1alpha1.DependencyOverride) (int, error) {
	index, err := c.site.Inventory(ctx)
	if err != nil {
		return 0, err
	}
	ask := inventory.Choice{Types: []string{packageTypes[o.Spec.Ecosystem]}, Is: override.Holding{o}.Below()}
	if o.Spec.Ecosystem == "npm" { // others have several spellings
		ask.Title = o.Spec.Package
	}
	all, err := index.Chosen(ctx, ask)
	if err != nil {
		return 0, err
	}
	in := sound([]v1alpha1.DependencyOverride{o})
	images := map[string]bool{}
	for _, n := range all {
		ref, err := oci.Parse(n.Name)
		if err == nil && len(in.For(ref.Repository(), time.Now())) > 0 {
			images[n.Name] = true
		}
	}
	return len(images), nil
}
