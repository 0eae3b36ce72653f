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
