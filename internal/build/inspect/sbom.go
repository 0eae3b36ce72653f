package inspect

import (
	"cmp"
	"context"
	"errors"
	"io"
	"path"
	"slices"
	"strings"

	"github.com/CycloneDX/cyclonedx-go"

	"plimsoll.dev/plimsoll/internal/build/cnb"
)

// materialsFile is how bills of materials in CycloneDX's JSON are called in the layer of
// all of them, below sbom/launch/BUILDPACK/LAYER, or sbom/launch/BUILDPACK for what is in
// no layer of the buildpack (CNB buildpack.md, "Software Bill of Materials").
const materialsFile = "sbom.cdx.json"

// materials reads the buildpacks' bills of materials.
func (rd *reader) materials(ctx context.Context, r *Image) error {
	at := slices.IndexFunc(r.Layers, func(l Layer) bool { return l.Part == PartSBOM })
	if at < 0 {
		if r.Kind == KindApplication {
			r.unknown("packages of the application", "its buildpacks left no bill of materials")
		}
		return nil
	}
	err := rd.walk(ctx, at, func(name string, file io.Reader) error {
		_, below, found := strings.Cut("/"+name, "/sbom/launch/")
		dir, last := path.Split(below)
		if !found || last != materialsFile {
			return nil
		}
		buildpack, layer, _ := strings.Cut(strings.Trim(dir, "/"), "/")
		l := r.layerOf(buildpack, layer)
		if l == nil {
			return nil
		}
		packages, err := rd.components(file)
		if errors.Is(err, errTooMuch) || errors.Is(err, errMany) {
			return err
		}
		if err != nil {
			r.note("the bill of materials %s cannot be read: %v", cut(below, 200), err)
			return nil
		}
		l.Told = ToldBySBOM
		l.Packages = append(l.Packages, packages...)
		return nil
	})
	if err != nil && ctx.Err() == nil {
		r.unknown("packages of the application", "the layer of its bills of materials cannot be read: %v", err)
	}
	for i := range r.Layers {
		if r.Layers[i].Told == ToldBySBOM {
			slices.SortFunc(r.Layers[i].Packages, comparePackages)
			r.Layers[i].Packages = slices.Compact(r.Layers[i].Packages)
		}
	}
	return ctx.Err()
}

// layerOf gives the layer that a bill is about, by the names of its folders; nil when it
// is not in the image.
func (r *Image) layerOf(buildpack, layer string) *Layer {
	for i := range r.Layers {
		l := &r.Layers[i]
		id, _, _ := strings.Cut(l.Buildpack, "@")
		switch {
		case layer == "" && l.Part == PartApplication,
			buildpack == "buildpacksio_lifecycle" && l.Part == PartLauncher && l.Name == layer,
			l.Part == PartBuildpack && l.Name == layer && cnb.EscapeID(id) == buildpack:
			return l
		}
	}
	return nil
}

// components gives the packages of a bill of materials.
func (rd *reader) components(file io.Reader) ([]Package, error) {
	left := int64(maxFile)
	var bom cyclonedx.BOM
	if err := cyclonedx.NewBOMDecoder(&bounded{file, &left}, cyclonedx.BOMFileFormatJSON).Decode(&bom); err != nil {
		return nil, err
	}
	var all []Package
	if bom.Components == nil {
		return nil, nil
	}
	open := slices.Clone(*bom.Components)
	for len(open) > 0 {
		c := open[0]
		open = open[1:]
		if c.Components != nil {
			open = append(open, *c.Components...)
		}
		if c.Type == cyclonedx.ComponentTypeFile || c.Name == "" {
			continue
		}
		if rd.packages++; rd.packages > maxPackages {
			return nil, errMany
		}
		all = append(all, packageOf(c))
	}
	return all, nil
}

func packageOf(c cyclonedx.Component) Package {
	kind, _, _ := strings.Cut(strings.TrimPrefix(c.PackageURL, "pkg:"), "/")
	name := c.Name
	if c.Group != "" {
		name = c.Group + "/" + c.Name
	}
	return Package{Type: cmp.Or(kind, "other"), Name: name, Version: c.Version}
}

func comparePackages(a, b Package) int {
	return cmp.Or(cmp.Compare(a.Type, b.Type), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Version, b.Version))
}
