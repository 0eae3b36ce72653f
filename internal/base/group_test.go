package base_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"plimsoll.dev/plimsoll/internal/base"
	"plimsoll.dev/plimsoll/internal/testbed/debarchive"
)

// sources gives n packages, each of a source of its own.
func sources(n int, version func(int) string) []pkg {
	var all []pkg
	for i := range n {
		all = append(all, pkg{Name: fmt.Sprintf("p%03d", i), Version: version(i), Files: []debarchive.File{
			reg(fmt.Sprintf("usr/lib/p%03d", i), strings.Repeat(version(i), 1+i%7)),
		}})
	}
	return all
}

func constant(version string) func(int) string { return func(int) string { return version } }

// layerOf gives the layer of each package by name, and the digest of each layer.
func layerOf(t *testing.T, result *base.Result) (of, digest map[string]string) {
	t.Helper()
	of, digest = map[string]string{}, map[string]string{}
	for _, l := range result.Images[0].Layers {
		if digest[l.Name] != "" {
			t.Errorf("two layers have the name %s", l.Name)
		}
		digest[l.Name] = l.Digest
		for _, p := range l.Packages {
			name, _, _ := strings.Cut(p, "=")
			of[name] = l.Name
		}
	}
	return of, digest
}

func TestOnlyNamesGroup(t *testing.T) {
	for _, n := range []int{5, 120} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			b := newBed(t, sources(n, constant("1"))...)
			// Nothing but the last is wanted by name; it depends on all others.
			depends := sources(n, constant("1"))
			var names []string
			for _, p := range depends {
				names = append(names, p.Name)
			}
			top := func(version string) pkg {
				return pkg{Name: "top", Version: version, Fields: map[string]string{"Depends": strings.Join(names, ", ")}, Files: []debarchive.File{reg("usr/lib/top", version)}}
			}
			b.rewrite(append(depends, top("1"))...)
			b.image.Spec.Packages = []string{"base-files", "top"}
			b.image.Spec.Layering.Own = []string{"p003"}
			before, digests := layerOf(t, b.build())
			if len(digests) > b.image.Spec.Layering.MaxLayers {
				t.Errorf("%d layers, more than %d", len(digests), b.image.Spec.Layering.MaxLayers)
			}
			if before["p003"] != "p003" || before["top"] != "top" {
				t.Errorf("p003 is named, top requested: each has a layer of its own, not %s and %s", before["p003"], before["top"])
			}

			all := sources(n, func(i int) string { return fmt.Sprint(2 + i*i) })
			slices.Reverse(all)
			b.rewrite(append(all, top("7"))...)
			after, _ := layerOf(t, b.build())
			if diff := cmp.Diff(before, after); diff != "" {
				t.Errorf("other versions and sizes moved packages:\n%s", diff)
			}

			b.rewrite(append(sources(n, func(i int) string {
				if i == 4 {
					return "1+fix"
				}
				return "1"
			}), top("1"))...)
			_, fixed := layerOf(t, b.build())
			for layer, digest := range digests {
				if changed := fixed[layer] != digest; changed != (layer == before["p004"]) {
					t.Errorf("p004 is in layer %s; layer %s changed: %v", before["p004"], layer, changed)
				}
			}
		})
	}
}

func TestLayerBound(t *testing.T) {
	for _, bound := range []int{3, 4, 10, 30, 60} {
		for _, n := range []int{1, 2, 8, 58, 59, 60, 61, 90} {
			b := newBed(t, sources(n, constant("1"))...)
			b.image.Spec.Layering.MaxLayers = bound
			result := b.build()
			of, digests := layerOf(t, result)
			if len(digests) > bound || len(result.Images[0].Layers) > bound {
				t.Errorf("%d sources, at most %d layers: got %d", n, bound, len(digests))
			}
			if len(of) != n+1 {
				t.Errorf("%d sources, at most %d layers: %d packages are in a layer", n, bound, len(of))
			}
		}
	}
}

func TestOneSourceOneLayer(t *testing.T) {
	from := map[string]string{"Source": "openssl (3.0-1)"}
	b := newBed(t, pkg{Name: "openssl", Version: "3.0-1", Files: []debarchive.File{reg("usr/bin/openssl", "o")}}, pkg{Name: "libssl3", Version: "3.0-1+b1", Fields: from, Files: []debarchive.File{reg("usr/lib/libssl.so.3", "l")}})
	of, _ := layerOf(t, b.build())
	if of["openssl"] != "openssl" || of["libssl3"] != "openssl" {
		t.Errorf("want one layer of the source, got %v", of)
	}
}

func TestCompare(t *testing.T) {
	b := newBed(t, append(sources(3, constant("1")), pkg{Name: "gone"})...)
	b.image.Spec.Packages = []string{"base-files", "p000", "p001", "p002", "gone"}
	from := b.build()
	b.rewrite(append(sources(2, constant("1")), pkg{Name: "p002", Version: "1.1", Files: []debarchive.File{reg("usr/lib/p002", "fixed")}}, pkg{Name: "new"})...)
	b.image.Spec.Packages = []string{"base-files", "p000", "p001", "p002", "new"}
	to := b.build()
	got, err := base.Compare("amd64", from.Images[0].Image, to.Images[0].Image)
	if err != nil {
		t.Fatal(err)
	}
	want := []base.PackageChange{{Name: "gone", From: "1.0-1"}, {Name: "new", To: "1.0-1"}, {Name: "p002", From: "1", To: "1.1"}}
	if diff := cmp.Diff(want, got.Packages); diff != "" {
		t.Error(diff)
	}
	var fresh []string
	size := int64(0)
	for _, l := range got.Layers {
		if l.New {
			fresh = append(fresh, l.Name)
			size += l.Size
		}
	}
	if diff := cmp.Diff([]string{"new", "p002"}, fresh); diff != "" {
		t.Error(diff)
	}
	if got.NewLayers != 2 || got.SharedLayers != len(got.Layers)-2 || got.BytesToShip != size || got.BytesShared+size != to.Images[0].Size {
		t.Errorf("the sums are wrong: %+v", got)
	}
}
