package build_test

import (
	"archive/tar"
	"bytes"
	"context"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/build"
	"plimsoll.dev/plimsoll/internal/build/builder"
	"plimsoll.dev/plimsoll/internal/executor/sandbox"
	"plimsoll.dev/plimsoll/internal/oci"
	"plimsoll.dev/plimsoll/internal/registry"
	"plimsoll.dev/plimsoll/internal/testbed"
)

// bed is a platform with the real lifecycle and sandbox, a store, and a builder of a few
// megabytes, whose only buildpack runs the source's own build.sh.
type bed struct {
	t        testing.TB
	platform *build.Platform
	store    *registry.Registry
	log      bytes.Buffer
}

// script is the buildpack: the source says itself what the build does.
const (
	scriptDetect = `#!/bin/sh
if [ -f detect.sh ]; then exec sh detect.sh; fi
if [ ! -f build.sh ]; then echo "no build.sh"; exit 100; fi
`
	scriptBuild = `#!/bin/sh
exec sh build.sh "$CNB_LAYERS_DIR"
`
	scriptTOML = `api = "0.11"
[buildpack]
id = "test/script"
version = "1.0.0"
[[targets]]
os = "linux"
`
)

const bedSpec = `apiVersion: plimsoll.dev/v1alpha1
kind: Builder
metadata: {name: bed}
spec:
  build: {image: build:1}
  run:
    - image: run:1
  lifecycle: {path: LIFECYCLE}
  buildpacks: [{path: script}]
  order: [{group: [{id: test/script}]}]
`

func newBed(t testing.TB) *bed { return newBedAt(t, t.TempDir()) }

// newBedAt makes the bed with its home in the folder.
func newBedAt(t testing.TB, home string) *bed {
	t.Helper()
	busybox, err := os.ReadFile(testbed.Tool(t, "busybox"))
	if err != nil {
		t.Fatal(err)
	}
	lifecycle, err := filepath.Abs("../../bin/lifecycle")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(lifecycle, "lifecycle.toml")); err != nil {
		t.Fatalf("%v: run `make`", err)
	}
	b := &bed{t: t}
	if b.store, err = registry.Open(t.Context(), registry.Options{Root: filepath.Join(home, "registry")}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.store.Close() })
	steps, err := sandbox.New(filepath.Join(t.TempDir(), "roots"), sandbox.Options{})
	if err != nil {
		t.Fatal(err)
	}
	registries := &oci.Registries{Local: func(context.Context) (http.RoundTripper, error) { return b.store.Transport(), nil }}
	b.platform = &build.Platform{Home: home, Executor: steps, Registries: registries, Log: &b.log}
	b.base("build:1", busybox, v1.Config{Env: []string{"PATH=/bin", "CNB_USER_ID=1001", "CNB_GROUP_ID=65532"}, User: "1001:65532"})
	b.base("run:1", busybox, v1.Config{Env: []string{"PATH=/bin"}, User: "65532:65532"})
	dir := t.TempDir()
	writeFiles(t, dir, map[string]string{
		"builder.yaml":          strings.Replace(bedSpec, "LIFECYCLE", lifecycle, 1),
		"script/buildpack.toml": scriptTOML, "script/bin/detect": scriptDetect, "script/bin/build": scriptBuild,
	})
	spec, err := builder.Load(filepath.Join(dir, "builder.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	made, err := (&builder.Maker{Home: t.TempDir(), Registries: registries}).Make(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	if err := registries.PutImage(t.Context(), b.ref("builder:1"), made.Images[0].Image); err != nil {
		t.Fatal(err)
	}
	return b
}

// base puts an image with a busybox, and what makes it differ, into the store.
func (b *bed) base(name string, busybox []byte, config v1.Config) {
	b.t.Helper()
	config.Labels = map[string]string{"dev.plimsoll.base": name}
	layer := static.NewLayer(busyboxTar(b.t, name, busybox), types.OCIUncompressedLayer)
	image := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	image, err := mutate.Append(image, mutate.Addendum{Layer: layer, Annotations: map[string]string{"dev.plimsoll.base.layer": name}})
	if err != nil {
		b.t.Fatal(err)
	}
	file, err := image.ConfigFile()
	if err != nil {
		b.t.Fatal(err)
	}
	file = file.DeepCopy()
	file.OS, file.Architecture, file.Config = "linux", runtime.GOARCH, config
	if image, err = mutate.ConfigFile(image, file); err != nil {
		b.t.Fatal(err)
	}
	if err := b.platform.Registries.PutImage(b.t.Context(), b.ref(name), image); err != nil {
		b.t.Fatal(err)
	}
}

func busyboxTar(t testing.TB, name string, busybox []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	put := func(h tar.Header, data []byte) {
		h.Size = int64(len(data))
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(data); err != nil {
			t.Fatal(err)
		}
	}
	put(tar.Header{Name: "bin/", Typeflag: tar.TypeDir, Mode: 0o755}, nil)
	put(tar.Header{Name: "bin/busybox", Typeflag: tar.TypeReg, Mode: 0o755}, busybox)
	for _, applet := range strings.Fields("sh cat ls mkdir cp ln rm echo sleep id env touch head wget chmod kill test printf") {
		put(tar.Header{Name: "bin/" + applet, Typeflag: tar.TypeSymlink, Linkname: "busybox", Mode: 0o777}, nil)
	}
	put(tar.Header{Name: "etc/", Typeflag: tar.TypeDir, Mode: 0o755}, nil)
	passwd := "root:x:0:0::/root:/bin/sh\ncnb:x:1001:65532::/home/cnb:/bin/sh\n"
	put(tar.Header{Name: "etc/passwd", Typeflag: tar.TypeReg, Mode: 0o644}, []byte(passwd))
	put(tar.Header{Name: "etc/base", Typeflag: tar.TypeReg, Mode: 0o644}, []byte(name))
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func (b *bed) ref(name string) oci.Reference {
	b.t.Helper()
	ref, err := oci.Parse(name)
	if err != nil {
		b.t.Fatal(err)
	}
	return ref
}

// request asks for the tag to be built from the files.
func (b *bed) request(tag string, files map[string]string) build.Request {
	return build.Request{
		Tag: b.ref(tag), Builder: b.ref("builder:1"),
		Fetch: func(_ context.Context, dir string) (artifact.Source, error) {
			writeFiles(b.t, dir, files)
			return artifact.Source{Kind: artifact.DirectorySource, Location: "/src", Digest: "sha256:" + digestOf(files)}, nil
		},
	}
}

// build builds and pushes; it must succeed.
func (b *bed) build(request build.Request) *build.Result {
	b.t.Helper()
	result, err := b.platform.Build(b.t.Context(), request)
	if err != nil {
		b.t.Fatalf("%v\n%s", err, b.log.String())
	}
	b.t.Cleanup(result.Close)
	if !result.Unchanged {
		if err := b.platform.Registries.PutImage(b.t.Context(), request.Tag, result.Images[0].Image); err != nil {
			b.t.Fatal(err)
		}
	}
	return result
}

// file gives the content of a file in the image's own layers; "" when there is none.
func file(t testing.TB, image v1.Image, name string) string {
	t.Helper()
	layers, err := image.Layers()
	if err != nil {
		t.Fatal(err)
	}
	for _, layer := range layers {
		r, err := layer.Uncompressed()
		if err != nil {
			t.Fatal(err)
		}
		entries := tar.NewReader(r)
		for {
			h, err := entries.Next()
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			if strings.TrimPrefix(h.Name, "/") == name {
				data, err := io.ReadAll(entries)
				if err != nil {
					t.Fatal(err)
				}
				return string(data)
			}
		}
	}
	return ""
}

func writeFiles(t testing.TB, dir string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
}

// left gives the work folders that builds have left.
func (b *bed) left() []string {
	b.t.Helper()
	left, err := filepath.Glob(filepath.Join(b.platform.Home, "cache", "work", "*"))
	if err != nil {
		b.t.Fatal(err)
	}
	return left
}
