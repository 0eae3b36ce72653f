// Package tag takes resources that publish images and gives which of them a tag belongs to: the
// oldest that may publish there, whatever its kind.
package tag

import (
	"cmp"
	"context"
	"fmt"
	"strings"

	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"plimsoll.dev/plimsoll/api/v1alpha1"
	"plimsoll.dev/plimsoll/internal/oci"
)

// Registry is the one that tags without a registry are in: "registry.example.com", or a folder of
// it; "" is the home's own. The controllers write there by themselves, whoever asks.
type Registry string

// index is the field by which the watch cache finds what claims a tag, by its name. What only moves
// it along has along before the name.
const (
	index = "plimsoll.tag"
	along = "+"
)

// Setup has the manager's cache find BaseImages, Builders and Images by the tags they publish. It
// must be called once, before anything asks.
func (r Registry) Setup(mgr ctrl.Manager) error {
	for _, kind := range []client.Object{&v1alpha1.BaseImage{}, &v1alpha1.Builder{}, &v1alpha1.Image{}} {
		if err := mgr.GetFieldIndexer().IndexField(context.Background(), kind, index, r.keys); err != nil {
			return fmt.Errorf("index tags: %w", err)
		}
	}
	return nil
}

// keys gives the tags that a resource publishes as the index has them, its own first. What is no tag
// is left out: the resource says so itself.
func (r Registry) keys(o client.Object) (out []string) {
	for i, text := range texts(o) {
		name, _, err := r.Name(text)
		switch {
		case err != nil:
		case i == 0:
			out = append(out, name)
		default:
			out = append(out, along+name)
		}
	}
	return out
}

// texts gives the tags that a resource publishes as it has them, its own first.
func texts(o client.Object) []string {
	switch o := o.(type) {
	case *v1alpha1.BaseImage:
		return []string{cmp.Or(o.Spec.Tag, o.Name+":1")}
	case *v1alpha1.Builder:
		return []string{cmp.Or(o.Spec.Tag, o.Name+":1")}
	case *v1alpha1.Image:
		return append([]string{o.Spec.Tag}, o.Spec.AdditionalTags...)
	}
	return nil
}

// Name gives a tag in one spelling, without its registry where that is this one, which own says.
func (r Registry) Name(text string) (name string, own bool, err error) {
	ref, err := oci.ParseTag(text)
	if err != nil {
		return "", false, err
	}
	name = ref.Repository() + ":" + ref.Identifier()
	if ref.IsLocal() || r == "" {
		return name, ref.IsLocal(), nil
	}
	below, err := oci.ParseTag(string(r) + "/x")
	if err != nil {
		return name, false, nil // whoever publishes there says so
	}
	short, own := strings.CutPrefix(name, strings.TrimSuffix(below.Repository(), "x"))
	return short, own, nil
}

// Of gives the tag that a BaseImage or Builder publishes.
func Of(o client.Object) (string, error) {
	ref, err := oci.ParseTag(texts(o)[0])
	if err != nil {
		return "", err
	}
	return ref.String(), nil
}
