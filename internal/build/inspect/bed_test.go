package inspect_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"plimsoll.dev/plimsoll/internal/build"
	"plimsoll.dev/plimsoll/internal/build/cnb"
	"plimsoll.dev/plimsoll/internal/build/inspect"
	"plimsoll.dev/plimsoll/internal/oci"
	"plimsoll.dev/plimsoll/internal/registry"
)

// bed is a local store with images made by hand, as the specifications say.
type bed struct {
	testing.TB
	registries *oci.Registries

	mu    sync.Mutex
	blobs []string // digests that were read
}

func newBed(t testing.TB) *bed {
	t.Helper()
	reg, err := registry.Open(t.Context(), registry.Options{Root: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = reg.Close() })
	b := &bed{TB: t}
	watched := watcher(func(r *http.Request) (*http.Response, error) {
		if dir, digest, ok := strings.Cut(r.URL.Path, "/blobs/"); ok && dir != "" && r.Method == http.MethodGet {
			b.mu.Lock()
			b.blobs = append(b.blobs, digest)
			b.mu.Unlock()
		}
		return reg.Transport().RoundTrip(r)
	})
	b.registries = &oci.Registries{Agent: "test", Local: func(context.Context) (http.RoundTripper, error) { return watched, nil }}
	return b
}

type watcher func(*http.Request) (*http.Response, error)

func (w watcher) RoundTrip(r *http.Request) (*http.Response, error) { return w(r) }

func (b *bed) must(err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

func (b *bed) parse(ref string) oci.Reference {
	b.Helper()
	parsed, err := oci.Parse(ref)
	b.must(err)
	return parsed
}

func (b *bed) push(ref string, image v1.Image) v1.Image {
	b.Helper()
	b.must(b.registries.PutImage(b.Context(), b.parse(ref), image))
	return image
}

// inspect gives the report, and forgets what was read before.
func (b *bed) inspect(ref string, o inspect.Options) *inspect.Report {
	b.Helper()
	b.blobs = nil
	r, err := inspect.Inspect(b.Context(), b.registries, b.parse(ref), o)
	b.must(err)
	return r
}

// layerSpec is a layer to be made.
type layerSpec struct {
	files       map[string]string
	annotations map[string]string
	createdBy   string
	blob        []byte // in place of files
}

// tarball gives the files as a packed layer.
func tarball(t testing.TB, files map[string]string) []byte {
	t.Helper()
	var out bytes.Buffer
	packed := gzip.NewWriter(&out)
	archive := tar.NewWriter(packed)
	var names []string
	for name := range files {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		err := archive.WriteHeader(&tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644, Size: int64(len(files[name]))})
		if err == nil {
			_, err = io.WriteString(archive, files[name])
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := archive.Close(); err != nil {
		t.Fatal(err)
	}
	if err := packed.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// image makes an image of the layers on another one.
func (b *bed) image(on v1.Image, edit func(*v1.ConfigFile), layers ...layerSpec) v1.Image {
	b.Helper()
	for _, l := range layers {
		blob := l.blob
		if blob == nil {
			blob = tarball(b, l.files)
		}
		var err error
		on, err = mutate.Append(on, mutate.Addendum{
			Layer: static.NewLayer(blob, types.OCILayer), Annotations: l.annotations, History: v1.History{CreatedBy: l.createdBy},
		})
		b.must(err)
	}
	config, err := on.ConfigFile()
	b.must(err)
	config = config.DeepCopy()
	config.OS, config.Architecture = "linux", "amd64"
	if config.Config.Labels == nil {
		config.Config.Labels = map[string]string{}
	}
	if edit != nil {
		edit(config)
	}
	on, err = mutate.ConfigFile(on, config)
	b.must(err)
	return on
}

func oneOCI() v1.Image {
	return mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
}

// base makes an approved base, of a layer for each package such as "openssl=1".
func (b *bed) base(name string, packages ...string) v1.Image {
	b.Helper()
	var layers []layerSpec
	for _, p := range packages {
		source, _, _ := strings.Cut(p, "=")
		layers = append(layers, layerSpec{
			files:       map[string]string{"usr/lib/" + p: p},
			annotations: map[string]string{oci.LayerAnnotation: source, oci.PackagesAnnotation: p},
		})
	}
	return b.image(oneOCI(), func(c *v1.ConfigFile) {
		c.Created = v1.Time{Time: time.Date(2026, time.November, 1, 2, 3, 4, 0, time.UTC)}
		c.Config.User = "65532:65532"
		c.Config.Env = []string{"PATH=/usr/bin", "LANG=C.UTF-8"}
		c.Config.Labels["dev.plimsoll.base"] = name
		c.Config.Labels[cnb.DistroNameLabel], c.Config.Labels[cnb.DistroVersionLabel] = "debian", "13"
	}, layers...)
}

// app makes an application on the base, which ref names, with all that the account of a
// build says. materials are the files of the layer with the bills of materials; edit may be
// nil.
func (b *bed) app(on v1.Image, ref string, materials map[string]string, edit func(*v1.ConfigFile)) v1.Image {
	b.Helper()
	base, err := on.ConfigFile()
	b.must(err)
	digest, err := on.Digest()
	b.must(err)
	image := b.image(on, nil,
		layerSpec{files: map[string]string{"layers/test_go/app/bin/shop": "program"}, createdBy: "Layer: 'app', Created by buildpack: test/go@1"},
		layerSpec{files: materials},
		layerSpec{files: map[string]string{"workspace/index.html": "hello"}},
		layerSpec{files: map[string]string{"cnb/lifecycle/launcher": "launcher"}},
	)
	config, err := image.ConfigFile()
	b.must(err)
	n := len(base.RootFS.DiffIDs)
	sha := func(i int) string { return config.RootFS.DiffIDs[n+i].String() }
	metadata := cnb.LifecycleMetadata{
		App:        []cnb.LayerSHA{{SHA: sha(2)}},
		SBOM:       &cnb.LayerSHA{SHA: sha(1)},
		Buildpacks: []cnb.BuildpackData{{ID: "test/go", Version: "1", Layers: map[string]cnb.LayerData{"app": {SHA: sha(0), Launch: true}, "cache": {Cache: true}}}},
		Launcher:   cnb.LayerSHA{SHA: sha(3)},
		RunImage: cnb.UsedRunImage{
			TopLayer: base.RootFS.DiffIDs[n-1].String(), Reference: strings.Split(ref, ":")[0] + "@" + digest.String(), RunImage: cnb.RunImage{Image: ref},
		},
	}
	image = b.image(image, func(c *v1.ConfigFile) {
		c.Created = v1.Time{Time: time.Date(1980, time.January, 1, 0, 0, 1, 0, time.UTC)}
		c.Config.Entrypoint, c.Config.WorkingDir = []string{"/cnb/process/web"}, "/workspace"
		c.Config.Env = append(c.Config.Env, cnb.PlatformAPIVariable+"=0.15")
		c.Config.Labels[cnb.LifecycleMetadataLabel] = b.json(metadata)
		c.Config.Labels[cnb.BuildMetadataLabel] = `{"buildpacks":[{"id":"test/go","version":"1"}],"launcher":{"version":"0.21.17"},` +
			`"processes":[{"type":"web","command":["shop"],"args":["--port","8080"],"direct":true,"buildpackID":"test/go"},` +
			`{"type":"old","command":"shop --old","args":null,"direct":false,"buildpackID":"test/go"}]}`
		if edit != nil {
			edit(c)
		}
	})
	return mutate.Annotations(image, map[string]string{
		build.SourceAnnotation: "https://git.example/shop.git", build.RevisionAnnotation: "abc", build.SourceSubpathAnnotation: "web",
		build.SourceDigestAnnotation: "sha256:5", build.CreatedAnnotation: "2026-11-20T10:00:00Z",
		build.BaseNameAnnotation: ref, build.BaseDigestAnnotation: digest.String(), build.BuilderAnnotation: "builder:1@sha256:6", build.InputsAnnotation: "sha256:7",
	}).(v1.Image)
}

func (b *bed) json(v any) string {
	b.Helper()
	text, err := json.Marshal(v)
	b.must(err)
	return string(text)
}

// bill gives a bill of materials in CycloneDX's JSON; a package is "purl-type/name version".
func bill(packages ...string) string {
	var components []string
	for _, p := range packages {
		path, version, _ := strings.Cut(p, " ")
		kind, name, _ := strings.Cut(path, "/")
		components = append(components, fmt.Sprintf(`{"type":"library","name":%q,"version":%q,"purl":"pkg:%s/%s@%s"}`, name, version, kind, name, version))
	}
	return `{"bomFormat":"CycloneDX","specVersion":"1.6","version":1,"components":[` + strings.Join(components, ",") + `]}`
}

// appMaterials is what the buildpack of app leaves.
func appMaterials() map[string]string {
	return map[string]string{
		"layers/sbom/launch/test_go/app/sbom.cdx.json":                     bill("golang/example.com/lib v1.0.0", "golang/stdlib 1.26"),
		"layers/sbom/launch/test_go/app/sbom.spdx.json":                    "{}",
		"layers/sbom/launch/test_go/sbom.cdx.json":                         bill("npm/left-pad 1.3.0"),
		"layers/sbom/launch/buildpacksio_lifecycle/launcher/sbom.cdx.json": bill("golang/github.com/buildpacks/lifecycle 0.21.17"),
		"layers/sbom/launch/test_go/notinimage/sbom.cdx.json":              bill("npm/ghost 1"),
		"layers/sbom/build/test_go/app/sbom.cdx.json":                      bill("npm/build-only 1"),
	}
}
