package plane

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"plimsoll.dev/plimsoll/api/v1alpha1"
	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/update"
)

// raise declares the floors that the order needs, for the repository of its Image, and waits until the
// watch cache has them: else the Build would be made without.
func (c *campaigns) raise(ctx context.Context, o order) error {
	ref, err := c.place(o.image.Spec.Tag)
	if err != nil {
		return err
	}
	for _, floor := range o.item.Overrides {
		name, err := c.raiseOne(ctx, o.Patch, floor, ref.Repository())
		if err == nil {
			err = c.cached(ctx, name, ref.Repository())
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Bounds of the resource.
const (
	mostAdvisories   = 256
	mostRepositories = 1000
)

// raiseOne declares one floor for one more repository, in the first override of it that has room, and
// gives its name.
func (c *campaigns) raiseOne(ctx context.Context, campaign string, floor update.Override, repository string) (string, error) {
	for part := 1; ; {
		var d v1alpha1.DependencyOverride
		d.Name = floorName(floor, part)
		err := c.api.Get(ctx, client.ObjectKeyFromObject(&d), &d)
		switch {
		case apierrors.IsNotFound(err):
			d.Spec = v1alpha1.DependencyOverrideSpec{
				Ecosystem: floor.Ecosystem, Package: floor.Package, Version: floor.Version,
				Reason: fmt.Sprintf("the campaign %s: %s", campaign, cmp.Or(strings.Join(floor.Advisories[:min(len(floor.Advisories), 20)], ", "), "an advisory")),
				Scope:  v1alpha1.OverrideScope{Repositories: []string{repository}},
			}
			d.Spec.Advisories = floor.Advisories[:min(len(floor.Advisories), mostAdvisories)]
			err = c.client.Create(ctx, &d)
		case err != nil:
		case slices.Contains(d.Spec.Scope.Repositories, repository):
			return d.Name, nil
		case len(d.Spec.Scope.Repositories) >= mostRepositories:
			part++
			continue
		default:
			before := d.DeepCopy()
			d.Spec.Scope.Repositories = append(d.Spec.Scope.Repositories, repository)
			for _, id := range floor.Advisories {
				if !slices.Contains(d.Spec.Advisories, id) && len(d.Spec.Advisories) < mostAdvisories {
					d.Spec.Advisories = append(d.Spec.Advisories, id)
				}
			}
			err = c.client.Patch(ctx, &d, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{}))
		}
		switch {
		case err == nil:
			return d.Name, nil
		case ctx.Err() != nil:
			return "", ctx.Err()
		case !apierrors.IsAlreadyExists(err) && !apierrors.IsConflict(err): // else somebody was faster: look again
			return "", unreachable("declare an override for", floor.Package, err)
		}
	}
}

var notOfNames = regexp.MustCompile(`[^a-z0-9]+`)

// floorName gives the name of an override, which follows from the floor: campaigns with the same
// share it.
func floorName(floor update.Override, part int) string {
	sum := sha256.Sum256([]byte(floor.Ecosystem + "\x00" + floor.Package + "\x00" + floor.Version))
	text := notOfNames.ReplaceAllString(strings.ToLower(floor.Ecosystem+"-"+floor.Package+"-"+floor.Version), "-")
	name := strings.Trim(text[:min(len(text), 48)], "-") + "-" + hex.EncodeToString(sum[:4])
	if part > 1 {
		name += fmt.Sprintf("-%d", part)
	}
	return name
}

// cached waits until the watch cache has the override for the repository.
func (c *campaigns) cached(ctx context.Context, name, repository string) error {
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	for began := time.Now(); ; {
		var d v1alpha1.DependencyOverride
		err := c.client.Get(ctx, client.ObjectKey{Name: name}, &d)
		switch {
		case err == nil && slices.Contains(d.Spec.Scope.Repositories, repository):
			return nil
		case err != nil && !apierrors.IsNotFound(err):
			return unreachable("read override", name, err)
		case time.Since(began) > seenWithin:
			return fault.Newf(fault.Unavailable, "read override", name, "the cluster has not told of it yet")
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
	}
}

// overridesFor gives the digest of the overrides that hold for a tag.
func (c *campaigns) overridesFor(ctx context.Context, tag string) (string, error) {
	var list v1alpha1.DependencyOverrideList
	if err := c.client.List(ctx, &list, client.UnsafeDisableDeepCopy); err != nil {
		return "", unreachable("list overrides for", tag, err)
	}
	holding, err := c.holding(tag, list.Items)
	return holding.Digest(), err
}
