package inspect

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"plimsoll.dev/plimsoll/internal/build/builder"
	"plimsoll.dev/plimsoll/internal/build/cnb"
	"plimsoll.dev/plimsoll/internal/oci"
)

// layers lists the layers and says what each one is: by the labels, which outlive a rebase,
// then by the manifest's annotations, then by the history.
func layers(_ context.Context, s *subject, r *Image) error {
	diffIDs := s.config.RootFS.DiffIDs
	if len(diffIDs) != len(s.Image.Layers) {
		r.note("it is malformed: %d layers in the manifest, %d in the configuration", len(s.Image.Layers), len(diffIDs))
		diffIDs = nil
	}
	history := slices.DeleteFunc(slices.Clone(s.config.History), func(h v1.History) bool { return h.EmptyLayer })
	known := map[string]Layer{}
	switch r.Kind {
	case KindApplication:
		known = s.ofApplication()
	case KindBuilder:
		known = s.ofBuilder(r)
	}
	for i, d := range s.Image.Layers {
		l := Layer{Part: PartOther}
		if i < len(diffIDs) {
			if about, ok := known[diffIDs[i].String()]; ok {
				l = about
			}
			l.DiffID = diffIDs[i].String()
		}
		if i < len(history) {
			l.CreatedBy = history[i].CreatedBy
		}
		l.Digest, l.Size = d.Digest.String(), max(0, d.Size)
		l.Name = cmp.Or(l.Name, d.Annotations[builder.LayerAnnotation], d.Annotations[oci.LayerAnnotation], command(l.CreatedBy), fmt.Sprintf("layer %d", i+1))
		r.Layers = append(r.Layers, l)
	}
	for i := range s.baseLayers(r) {
		r.Layers[i].Part = PartBase
	}
	return nil
}

// command gives what ran to make a layer, without the words that Docker's builders put
// around it.
func command(createdBy string) string {
	text := strings.TrimPrefix(createdBy, "/bin/sh -c ")
	text = strings.TrimPrefix(strings.TrimSpace(text), "#(nop) ")
	return strings.TrimSuffix(strings.Join(strings.Fields(text), " "), " # buildkit")
}

// baseLayers gives how many of the lowest layers are the base's; 0 when that is not known.
func (s *subject) baseLayers(r *Image) int {
	switch r.Kind {
	case KindBase:
		return len(r.Layers)
	case KindApplication:
		if s.exported == nil || s.exported.RunImage.TopLayer == "" {
			return 0
		}
		return 1 + slices.IndexFunc(r.Layers, func(l Layer) bool { return l.DiffID == s.exported.RunImage.TopLayer })
	case KindBuilder:
		n := 0
		for n < len(s.Image.Layers) && s.Image.Layers[n].Annotations[oci.LayerAnnotation] != "" {
			n++
		}
		return n
	}
	return 0
}

// ofApplication gives what the exporter noted of its layers, by diffID.
func (s *subject) ofApplication() map[string]Layer {
	known := map[string]Layer{}
	if s.exported == nil {
		return known
	}
	for diffID, layer := range s.exported.Layers() {
		known[diffID] = Layer{Part: layer.Part, Name: layer.Name, Buildpack: layer.Buildpack}
	}
	return known
}

// ofBuilder gives the layers of a builder's buildpacks, by diffID.
func (s *subject) ofBuilder(r *Image) map[string]Layer {
	known := map[string]Layer{}
	var all cnb.BuildpackLayers
	if !s.decode(r, cnb.BuildpackLayersLabel, &all) {
		return known
	}
	for _, id := range sortedKeys(all) {
		for _, version := range sortedKeys(all[id]) {
			full := cnb.FullName(id, version)
			sha := all[id][version].LayerDiffID
			if shared, ok := known[sha]; ok {
				full = shared.Buildpack + ", " + full
			}
			known[sha] = Layer{Part: PartBuildpack, Name: full, Buildpack: full}
		}
	}
	delete(known, "")
	return known
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
