package tag

import (
	"cmp"
	"context"
	"slices"
	"strings"

	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/handler"

	"plimsoll.dev/plimsoll/api/v1alpha1"
)

// Taken gives the tag that a BaseImage or Builder publishes, and who else has the right to it as
// KIND/NAME; "" where it may itself.
func Taken(ctx context.Context, c client.Reader, o client.Object) (name, by string, err error) {
	if name, err = Of(o); err != nil {
		return "", "", err
	}
	if reserved(name) {
		return name, "Plimsoll itself", nil
	}
	claims, err := Claims(ctx, c, name)
	if err != nil || len(claims) == 0 || claims[0].GetUID() == o.GetUID() {
		return name, "", err
	}
	return name, called(claims[0]), nil
}

// Claims gives all that would publish the tag and may, the one that it belongs to first. They are
// not to be changed.
func Claims(ctx context.Context, c client.Reader, tag string) ([]client.Object, error) {
	return claimsSeen(ctx, c, tag, "")
}

// claimsSeen is Claims as a namespace sees it. Only what may publish the tag counts: else whoever
// names a tag that is not his would keep it from those whose it is. In the control plane's own
// registry that is by the namespace; of another, whose guards are its own, an Image of another
// namespace counts once that registry has taken something of it.
func claimsSeen(ctx context.Context, c client.Reader, tag, namespace string) ([]client.Object, error) {
	name, own, err := Registry("").Name(tag)
	if err != nil {
		return nil, err
	}
	first, moved, err := claimants(ctx, c, name)
	if err != nil {
		return nil, err
	}
	var out []client.Object
	for i, claim := range append(first, moved...) {
		image, ok := claim.(*v1alpha1.Image)
		counts := !ok || image.Namespace == namespace || i < len(first) && image.Status.LatestImage != nil
		if ok && own {
			if counts, err = may(ctx, c, image.Namespace, name); err != nil {
				return nil, err
			}
		}
		if counts {
			out = append(out, claim)
		}
	}
	return out, nil
}

// claimants gives all that would publish what has that name, may they or not, the oldest first:
// those whose own tag it is, and those that would move it along, which is no claim against the
// former.
func claimants(ctx context.Context, c client.Reader, name string) (first, moved []client.Object, err error) {
	if first, err = list(ctx, c, name); err != nil {
		return nil, nil, err
	}
	moved, err = list(ctx, c, along+name)
	return first, moved, err
}

func list(ctx context.Context, c client.Reader, key string) (all []client.Object, err error) {
	var bases v1alpha1.BaseImageList
	var builders v1alpha1.BuilderList
	var images v1alpha1.ImageList
	for _, list := range []client.ObjectList{&bases, &builders, &images} {
		if err := c.List(ctx, list, client.MatchingFields{index: key}, client.UnsafeDisableDeepCopy); err != nil {
			return nil, err
		}
	}
	for i := range bases.Items {
		all = append(all, &bases.Items[i])
	}
	for i := range builders.Items {
		all = append(all, &builders.Items[i])
	}
	for i := range images.Items {
		all = append(all, &images.Items[i])
	}
	slices.SortFunc(all, func(x, y client.Object) int {
		a, b := x.GetCreationTimestamp(), y.GetCreationTimestamp()
		return cmp.Or(a.Compare(b.Time), cmp.Compare(called(x), called(y)))
	})
	return all, nil
}

// Rivals gives a map function from what publishes an image to those of the kind that claim a tag of
// its, where it says that without the registry.
func Rivals(c client.Reader, kind string) handler.MapFunc { return Registry("").Rivals(c, kind) }

// Rivals gives a map function from what publishes an image to those of the kind that claim a tag of
// its.
func (r Registry) Rivals(c client.Reader, kind string) handler.MapFunc {
	return func(ctx context.Context, o client.Object) (out []ctrl.Request) {
		for _, key := range r.keys(o) {
			first, moved, err := claimants(ctx, c, strings.TrimPrefix(key, along))
			if err != nil {
				return nil // the cache is ending
			}
			for _, claim := range append(first, moved...) {
				if kindOf(claim) == kind && claim.GetUID() != o.GetUID() {
					out = append(out, ctrl.Request{NamespacedName: client.ObjectKeyFromObject(claim)})
				}
			}
		}
		return out
	}
}

// called gives a claim as people name it: "BaseImage/run", "Image/shop/web".
func called(o client.Object) string {
	if o.GetNamespace() == "" {
		return kindOf(o) + "/" + o.GetName()
	}
	return kindOf(o) + "/" + o.GetNamespace() + "/" + o.GetName()
}

// kindOf names the kind of a claim, which the cache does not.
func kindOf(o client.Object) string {
	switch o.(type) {
	case *v1alpha1.Builder:
		return v1alpha1.BuilderKind
	case *v1alpha1.Image:
		return v1alpha1.ImageKind
	}
	return v1alpha1.BaseImageKind
}
