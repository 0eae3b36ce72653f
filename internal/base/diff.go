package base

import (
	"maps"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/oci"
)

// Diff is what changes from one base to another, for one architecture.
type Diff struct {
	Architecture string          `json:"architecture"`
	OnlyIn       string          `json:"onlyIn,omitempty"` // the one base that has this architecture; nothing was compared
	Packages     []PackageChange `json:"packages"`         // by name
	Layers       []LayerChange   `json:"layers"`           // of the second base, in its order
	SharedLayers int             `json:"sharedLayers"`
	NewLayers    int             `json:"newLayers"`
	BytesShared  int64           `json:"bytesShared"`
	BytesToShip  int64           `json:"bytesToShip"` // compressed layers that the first base does not have
}

// PackageChange is a package that is in one base only, or in both with two versions.
type PackageChange struct {
	Name string `json:"name"`
	From string `json:"from,omitempty"` // version; "" when added
	To   string `json:"to,omitempty"`   // version; "" when removed
}

// LayerChange is one layer of the second base.
type LayerChange struct {
	Name   string `json:"name"`
	Digest string `json:"digest"`
	Size   int64  `json:"size"` // compressed bytes
	New    bool   `json:"new"`
}

// Compare gives the difference of two images of one architecture. It reads their
// manifests alone, and so refuses images that were not made by Build.
func Compare(architecture string, from, to v1.Image) (Diff, error) {
	d := Diff{Architecture: architecture, Packages: []PackageChange{}}
	before, old, err := facts(from)
	if err != nil {
		return d, err
	}
	after, layers, err := facts(to)
	if err != nil {
		return d, err
	}
	has := map[v1.Hash]bool{}
	for _, l := range old {
		has[l.Digest] = true
	}
	for _, l := range layers {
		d.Layers = append(d.Layers, LayerChange{Name: l.Annotations[oci.LayerAnnotation], Digest: l.Digest.String(), Size: l.Size, New: !has[l.Digest]})
		if has[l.Digest] {
			d.SharedLayers++
			d.BytesShared += l.Size
			continue
		}
		d.NewLayers++
		d.BytesToShip += l.Size
	}
	names := maps.Clone(before)
	maps.Copy(names, after)
	for _, name := range slices.Sorted(maps.Keys(names)) {
		if before[name] != after[name] {
			d.Packages = append(d.Packages, PackageChange{Name: name, From: before[name], To: after[name]})
		}
	}
	return d, nil
}

// facts gives the versions of an image's packages and its layers.
func facts(image v1.Image) (map[string]string, []v1.Descriptor, error) {
	manifest, err := image.Manifest()
	if err != nil {
		return nil, nil, err
	}
	versions, ours := map[string]string{}, false
	for _, l := range manifest.Layers {
		ours = ours || l.Annotations[oci.LayerAnnotation] != ""
		for _, p := range strings.Fields(l.Annotations[oci.PackagesAnnotation]) {
			name, version, _ := strings.Cut(p, "=")
			versions[name] = version
		}
	}
	if !ours {
		digest, _ := image.Digest()
		return nil, nil, fault.Newf(fault.Failed, "compare bases", digest.String(), "it is no base made by plimsoll: its layers name no packages")
	}
	return versions, manifest.Layers, nil
}
