package base

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"

	"plimsoll.dev/plimsoll/api/v1alpha1"
	"plimsoll.dev/plimsoll/internal/base/spec"
)

// layerPlan is one layer to be: a name that does not change with versions, and its nodes.
type layerPlan struct {
	name    string
	members []*member // by name; none for the layer of what the spec makes
	nodes   []*node   // made ones
}

// group sorts the packages into layers and puts those that hold no package on top.
//
// Packages of one source are fixed together, so they share a layer. Where there are more
// sources than layers, those the spec names (layering.own) and, while they fit, those of
// requested packages keep a layer of their own; a hash of its name sends every other
// source to one of the layers left. Only names decide: a new version never moves a package
// to another layer.
func group(t *tree, l v1alpha1.Layering) []layerPlan {
	sources := map[string][]*member{}
	var requested []string
	for _, m := range t.members {
		sources[m.pkg.Source] = append(sources[m.pkg.Source], m)
		if m.pkg.Requested {
			requested = append(requested, m.pkg.Source)
		}
	}
	name := func(source string) string { return source }
	if budget := spec.PackageLayers(l.MaxLayers); len(sources) > budget {
		own := ownLayers(sources, l.Own, requested, spec.OwnLayers(l.MaxLayers))
		buckets := budget - len(own)
		name = func(source string) string {
			if own[source] {
				return source
			}
			sum := sha256.Sum256([]byte(source))
			return fmt.Sprintf("shared-%02d", binary.BigEndian.Uint32(sum[:4])%uint32(buckets))
		}
	}
	layers := map[string][]*member{}
	for _, m := range t.members { // by name, so each layer's members are too
		layers[name(m.pkg.Source)] = append(layers[name(m.pkg.Source)], m)
	}
	var plans []layerPlan
	for _, layer := range slices.Sorted(maps.Keys(layers)) {
		plans = append(plans, layerPlan{name: layer, members: layers[layer]})
	}
	for _, layer := range []string{trustLayer, baseLayer} {
		made := slices.DeleteFunc(slices.Clone(t.made), func(n *node) bool { return n.layer != layer })
		if len(made) > 0 {
			plans = append(plans, layerPlan{name: layer, nodes: made})
		}
	}
	return plans
}

// ownLayers gives the sources that keep a layer of their own: the named ones, for which
// the spec's check has left room, and the requested ones if there is room for them all.
func ownLayers(sources map[string][]*member, named, requested []string, room int) map[string]bool {
	own := map[string]bool{}
	for _, source := range named {
		if sources[source] != nil {
			own[source] = true
		}
	}
	more := map[string]bool{}
	for _, source := range requested {
		if !own[source] {
			more[source] = true
		}
	}
	if len(own)+len(more) <= room {
		maps.Copy(own, more)
	}
	return own
}
