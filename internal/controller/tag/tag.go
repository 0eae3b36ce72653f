// Package tag takes resources that publish images and gives which of them a tag belongs to: the
// oldest, whatever its kind.
package tag

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/handler"

	"plimsoll.dev/plimsoll/api/v1alpha1"
	"plimsoll.dev/plimsoll/internal/oci"
)

// Index is the field by which the watch cache finds BaseImages and Builders: the tag they publish.
const Index = "tag"

// Setup has the manager's cache find BaseImages and Builders by their tag. It must be called once,
// before anything asks.
func Setup(mgr ctrl.Manager) error {
	for _, kind := range []client.Object{&v1alpha1.BaseImage{}, &v1alpha1.Builder{}} {
		err := mgr.GetFieldIndexer().IndexField(context.Background(), kind, Index, func(o client.Object) []string {
			if text, err := Of(o); err == nil {
				return []string{text}
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("index tags: %w", err)
		}
	}
	return nil
}

// Of gives the tag that a BaseImage or Builder publishes, in one spelling.
func Of(o client.Object) (string, error) {
	text := ""
	switch o := o.(type) {
	case *v1alpha1.BaseImage:
		text = string(o.Spec.Tag)
	case *v1alpha1.Builder:
		text = string(o.Spec.Tag)
	}
	ref, err := oci.ParseTag(cmp.Or(text, o.GetName()+":1"))
	if err != nil {
		return "", err
	}
	return ref.String(), nil
}

// Taken gives the tag that a BaseImage or Builder publishes, and "KIND/NAME" of an older one that
// publishes it; "" where it may itself.
func Taken(ctx context.Context, c client.Reader, o client.Object) (name, by string, err error) {
	if name, err = Of(o); err != nil {
		return "", "", err
	}
	claims, err := Claims(ctx, c, name)
	if err != nil || len(claims) == 0 || claims[0].GetUID() == o.GetUID() {
		return name, "", err
	}
	return name, KindOf(claims[0]) + "/" + claims[0].GetName(), nil
}

// Rivals gives a map function from a BaseImage or Builder to those of the kind that publish its tag.
func Rivals(c client.Reader, kind string) handler.MapFunc {
	return func(ctx context.Context, o client.Object) []ctrl.Request {
		name, err := Of(o)
		if err != nil {
			return nil
		}
		claims, err := Claims(ctx, c, name)
		if err != nil {
			return nil
		}
		var all []ctrl.Request
		for _, claim := range claims {
			if KindOf(claim) == kind && claim.GetUID() != o.GetUID() {
				all = append(all, ctrl.Request{NamespacedName: client.ObjectKeyFromObject(claim)})
			}
		}
		return all
	}
}

// Claims gives all that would publish the tag, the one that may first.
func Claims(ctx context.Context, c client.Reader, name string) ([]client.Object, error) {
	var bases v1alpha1.BaseImageList
	var builders v1alpha1.BuilderList
	var all []client.Object
	for _, list := range []client.ObjectList{&bases, &builders} {
		if err := c.List(ctx, list, client.MatchingFields{Index: name}); err != nil {
			return nil, err
		}
	}
	for i := range bases.Items {
		all = append(all, &bases.Items[i])
	}
	for i := range builders.Items {
		all = append(all, &builders.Items[i])
	}
	slices.SortStableFunc(all, func(x, y client.Object) int {
		a, b := x.GetCreationTimestamp(), y.GetCreationTimestamp()
		return cmp.Or(a.Compare(b.Time), cmp.Compare(x.GetName(), y.GetName()))
	})
	return all, nil
}

// KindOf names the kind of a claim, which the cache does not.
func KindOf(o client.Object) string {
	if _, ok := o.(*v1alpha1.Builder); ok {
		return v1alpha1.BuilderKind
	}
	return v1alpha1.BaseImageKind
}
