package source_test

import (
	"archive/tar"
	"io"
	"log"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/oci"
	"plimsoll.dev/plimsoll/internal/source"
)

func TestImage(t *testing.T) {
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	defer server.Close()
	host := strings.TrimPrefix(server.URL, "http://")
	images := &oci.Registries{}
	b := newBed(t)
	push := func(name string, image v1.Image) string {
		ref, err := oci.Parse(host + "/" + name)
		if err != nil {
			t.Fatal(err)
		}
		if err := images.PutImage(t.Context(), ref, image); err != nil {
			t.Fatal(err)
		}
		digest, err := image.Digest()
		if err != nil {
			t.Fatal(err)
		}
		return digest.String()
	}
	add := func(image v1.Image, kind types.MediaType, annotations map[string]string, raw []byte) v1.Image {
		image, err := mutate.Append(image, mutate.Addendum{Layer: static.NewLayer(raw, kind), Annotations: annotations})
		if err != nil {
			t.Fatal(err)
		}
		return image
	}
	f := b.fetcher()
	f.Images = images
	oneTop := gzipOf(t, tarOf(t, member{tar.TypeReg, "deploy/a", "#!"}))

	// As flux push artifact makes it: a media type of its own, the tree at the layer's top.
	flux := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), "application/vnd.cncf.flux.config.v1+json")
	flux = add(flux, "application/vnd.cncf.flux.content.v1.tar+gzip", nil, oneTop)
	digest := push("flux:v1", flux)
	for _, name := range []string{"flux:v1", "flux@" + digest} {
		s, files := b.fetch(f, "oci://"+host+"/"+name, source.Options{})
		if diff := cmp.Diff(map[string]string{"deploy/a": "#!"}, files); diff != "" {
			t.Error(diff)
		}
		if s.Location != "oci://"+host+"/flux" || s.Revision != digest || (s.Ref == "v1") != (name == "flux:v1") {
			t.Errorf("got %+v", s)
		}
	}
	// As oras push makes it of a folder: the folder is the layer's top, and it says so.
	push("oras:v1", add(empty.Image, types.OCILayer, map[string]string{"io.deis.oras.content.unpack": "true"}, oneTop))
	if _, files := b.fetch(f, "oci://"+host+"/oras:v1", source.Options{}); cmp.Diff(map[string]string{"a": "#!"}, files) != "" {
		t.Errorf("got %v", files)
	}
	two := add(add(empty.Image, types.OCILayer, nil, oneTop), types.OCIUncompressedLayer, nil, tarOf(t, member{tar.TypeReg, "deploy/b", "#!"}))
	push("two:v1", two)
	if _, files := b.fetch(f, "oci://"+host+"/two:v1", source.Options{Subpath: "deploy"}); cmp.Diff(map[string]string{"a": "#!", "b": "#!"}, files) != "" {
		t.Errorf("got %v", files)
	}

	push("twice:v1", add(two, types.OCILayer, nil, oneTop))
	b.refused(f, "oci://"+host+"/twice:v1", source.Options{}, fault.Denied, "deploy/a")
	push("whiteout:v1", add(empty.Image, types.OCILayer, nil, tarOf(t, member{tar.TypeReg, "d/.wh.a", ""})))
	b.refused(f, "oci://"+host+"/whiteout:v1", source.Options{}, fault.Denied, ".wh.a")
	push("text:v1", add(empty.Image, "text/plain", nil, []byte("hello")))
	b.refused(f, "oci://"+host+"/text:v1", source.Options{}, fault.Usage, "neither a tar")
	b.refused(f, "oci://"+host+"/none:v1", source.Options{}, fault.NotFound, "none:v1")
	b.refused(f, "oci://"+host+"/UPPER", source.Options{}, fault.Usage, "UPPER")
	b.refused(b.fetcher(), "oci://"+host+"/flux:v1", source.Options{}, fault.Usage, "no registry")
	index, err := oci.Parse(host + "/index:v1")
	if err != nil {
		t.Fatal(err)
	}
	if err := images.PutIndex(t.Context(), index, mutate.AppendManifests(empty.Index, mutate.IndexAddendum{Add: flux})); err != nil {
		t.Fatal(err)
	}
	b.refused(f, "oci://"+host+"/index:v1", source.Options{}, fault.Usage, "index")
}
