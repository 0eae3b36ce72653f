package inspect

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

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

// component is what is read of one in a bill of materials (CycloneDX 1.6, "components").
type component struct {
	Type    string          `json:"type"`
	Group   string          `json:"group"`
	Name    string          `json:"name"`
	Version string          `json:"version"`
	PURL    string          `json:"purl"`
	Parts   json.RawMessage `json:"components"`
}

// maxDepth is how deep components may lie in each other.
const maxDepth = 8

// components gives the packages of a bill of materials. They are read one by one: decoded
// at once, a file of empty ones would take a hundred times its size in memory.
func (rd *reader) components(file io.Reader) ([]Package, error) {
	left := int64(maxFile)
	text, err := io.ReadAll(&bounded{file, &left})
	if err != nil {
		return nil, err
	}
	// The decoder is given all at once: between small reads it looks at spaces again and
	// again.
	in := json.NewDecoder(bytes.NewReader(text))
	if err := expect(in, '{'); err != nil {
		return nil, err
	}
	var all []Package
	for in.More() {
		key, err := in.Token()
		if err != nil {
			return nil, err
		}
		if key == "components" {
			err = rd.list(in, 1, &all)
		} else {
			var other json.RawMessage
			err = in.Decode(&other)
		}
		if err != nil {
			return nil, err
		}
	}
	return all, expect(in, '}')
}

// list reads a list of components, and those in them.
func (rd *reader) list(in *json.Decoder, depth int, into *[]Package) error {
	if depth > maxDepth {
		return errTooMuch
	}
	if err := expect(in, '['); err != nil {
		return err
	}
	for in.More() {
		var c component
		if err := in.Decode(&c); err != nil {
			return err
		}
		if err := rd.found(); err != nil { // also for those that have no name, or are files
			return err
		}
		if c.Name != "" && c.Type != "file" {
			*into = append(*into, packageOf(c))
		}
		if len(c.Parts) > 0 && string(c.Parts) != "null" {
			if err := rd.list(json.NewDecoder(bytes.NewReader(c.Parts)), depth+1, into); err != nil {
				return err
			}
		}
	}
	return expect(in, ']')
}

// expect reads one delimiter.
func expect(in *json.Decoder, want json.Delim) error {
	got, err := in.Token()
	if err == nil && got != want {
		err = fmt.Errorf("want %s, got %q", want, fmt.Sprint(got))
	}
	return err
}

func packageOf(c component) Package {
	kind, _, _ := strings.Cut(strings.TrimPrefix(c.PURL, "pkg:"), "/")
	name := c.Name
	if c.Group != "" {
		name = c.Group + "/" + c.Name
	}
	return Package{Type: cut(cmp.Or(kind, "other"), maxName), Name: cut(name, maxName), Version: cut(c.Version, maxName)}
}

func comparePackages(a, b Package) int {
	return cmp.Or(cmp.Compare(a.Type, b.Type), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Version, b.Version))
}
