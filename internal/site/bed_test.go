package site

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/build"
	"plimsoll.dev/plimsoll/internal/build/builder"
	"plimsoll.dev/plimsoll/internal/executor"
	"plimsoll.dev/plimsoll/internal/executor/sandbox"
	"plimsoll.dev/plimsoll/internal/oci"
	"plimsoll.dev/plimsoll/internal/registry"
	"plimsoll.dev/plimsoll/internal/site/home"
	"plimsoll.dev/plimsoll/internal/testbed"
)

// bed is a site with the real lifecycle and sandbox, in whose store are bases of busybox, and a
// builder whose only buildpack runs the source's own build.sh.
type bed struct {
	testing.TB
	*Site

	mu     sync.Mutex
	warned []string
}

// open opens the site of a home that is there or not.
func open(t testing.TB, folder string) *bed {
	t.Helper()
	store, err := registry.Open(t.Context(), registry.Options{Root: filepath.Join(folder, "registry")})
	if err != nil {
		t.Fatal(err)
	}
	steps, err := sandbox.New(filepath.Join(folder, "cache", "roots"), sandbox.Options{})
	if err != nil {
		t.Fatal(err)
	}
	b := &bed{TB: t}
	registries := &oci.Registries{Agent: "test", Local: func(context.Context) (http.RoundTripper, error) { return store.Transport(), nil }}
	b.Site = New(folder, registries, Options{
		Options:  home.Options{Version: "test", Warn: b.hear},
		Executor: func() (executor.Executor, error) { return steps, nil },
	})
	t.Cleanup(func() {
		if err := errors.Join(b.Close(), store.Close()); err != nil {
			t.Error(err)
		}
	})
	return b
}

func (b *bed) hear(warning, _ string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.warned = append(b.warned, warning)
}

// newBed gives a new site with bases and a builder.
func newBed(t testing.TB) *bed {
	t.Helper()
	lifecycle, err := filepath.Abs("../../bin/lifecycle")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(lifecycle, "lifecycle.toml")); err != nil {
		t.Fatalf("%v: run `make`", err)
	}
	b := open(t, t.TempDir())
	b.base("build:1", "1", v1.Config{Env: []string{"PATH=/bin", "CNB_USER_ID=1001", "CNB_GROUP_ID=65532"}, User: "1001:65532"})
	b.run("1")
	dir := t.TempDir()
	files := map[string]string{
		"script/buildpack.toml": "api = \"0.11\"\n[buildpack]\nid = \"test/script\"\nversion = \"1.0.0\"\n[[targets]]\nos = \"linux\"\n",
		"script/bin/detect":     "#!/bin/sh\ntest -f build.sh\n",
		"script/bin/build":      "#!/bin/sh\nexec sh build.sh \"$CNB_LAYERS_DIR\"\n",
	}
	for name, text := range files {
		write(t, filepath.Join(dir, name), text)
	}
	spec, err := builder.Parse(filepath.Join(dir, "builder.yaml"), []byte(`apiVersion: plimsoll.dev/v1alpha1
kind: Builder
metadata: {name: bed}
spec:
  build: {image: build:1}
  run: [{image: run:1}]
  lifecycle: {path: `+lifecycle+`}
  buildpacks: [{path: script}]
  order: [{group: [{id: test/script}]}]
`))
	if err != nil {
		t.Fatal(err)
	}
	request := BuilderRequest{Spec: spec, Publication: Publication{Tag: b.tag("builder:1"), IfChanged: true}}
	for _, unchanged := range []bool{false, true} {
		made, err := b.BuildBuilder(t.Context(), request)
		if err != nil {
			t.Fatal(err)
		}
		if made.Unchanged != unchanged {
			t.Errorf("the builder is unchanged: %t, want %t", made.Unchanged, unchanged)
		}
	}
	return b
}

func write(t testing.TB, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
}

func (b *bed) tag(text string) oci.Reference {
	b.Helper()
	tag, err := oci.ParseTag(text)
	if err != nil {
		b.Fatal(err)
	}
	return tag
}

// run moves the run image to another version.
func (b *bed) run(version string) {
	b.Helper()
	b.base("run:1", version, v1.Config{Env: []string{"PATH=/bin"}, User: "65532:65532"})
}

// base puts an image of busybox, and a layer that names its version, into the store.
func (b *bed) base(name, version string, config v1.Config) {
	b.Helper()
	busybox, err := os.ReadFile(testbed.Tool(b, "busybox"))
	if err != nil {
		b.Fatal(err)
	}
	config.Labels = map[string]string{"dev.plimsoll.base": name}
	files := map[string]string{"etc/passwd": "root:x:0:0::/root:/bin/sh\ncnb:x:1001:65532::/home/cnb:/bin/sh\n", "bin/sh": string(busybox)}
	for _, applet := range []string{"cat", "cp", "env", "mkdir", "echo", "test"} {
		files["bin/"+applet] = "" // a link
	}
	image, err := mutate.Append(mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON),
		mutate.Addendum{Layer: layer(b, files), Annotations: map[string]string{oci.LayerAnnotation: "busybox"}},
		mutate.Addendum{Layer: layer(b, map[string]string{"etc/version": version}), Annotations: map[string]string{oci.LayerAnnotation: "version"}})
	if err != nil {
		b.Fatal(err)
	}
	file, err := image.ConfigFile()
	if err != nil {
		b.Fatal(err)
	}
	file = file.DeepCopy()
	file.OS, file.Architecture, file.Config = "linux", runtime.GOARCH, config
	if image, err = mutate.ConfigFile(image, file); err != nil {
		b.Fatal(err)
	}
	if err := b.Registries.PutImage(b.Context(), b.tag(name), image); err != nil {
		b.Fatal(err)
	}
}

// layer gives a layer with the files; an empty one in bin is a link to the shell.
func layer(t testing.TB, files map[string]string) v1.Layer {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for name, text := range files {
		h := &tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o755, Size: int64(len(text))}
		if text == "" {
			h.Typeflag, h.Linkname = tar.TypeSymlink, "sh"
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, text); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return static.NewLayer(out.Bytes(), types.OCIUncompressedLayer)
}

// request asks for an image whose application says the text.
func (b *bed) request(tag, text string) BuildRequest {
	script := "mkdir -p \"$1/app\" && echo '" + text + "' > \"$1/app/text\" && echo '[types]\nlaunch = true' > \"$1/app.toml\"\n" +
		"echo '[[processes]]\ntype = \"web\"\ncommand = [\"/bin/cat\"]\ndefault = true' > \"$1/launch.toml\"\n"
	return BuildRequest{Request: build.Request{
		Tag: b.tag(tag), Builder: b.tag("builder:1"),
		Fetch: func(_ context.Context, dir string) (artifact.Source, error) {
			write(b, filepath.Join(dir, "build.sh"), script)
			return artifact.Source{Kind: artifact.DirectorySource, Location: "/src", Digest: fmt.Sprintf("sha256:%064x", []byte(text))}, nil
		},
	}}
}

// built builds what must succeed.
func (b *bed) built(r BuildRequest) *Built {
	b.Helper()
	var log strings.Builder
	r.Log = &log
	built, err := b.Build(b.Context(), r)
	if err != nil {
		b.Fatalf("%v\n%s", err, log.String())
	}
	return built
}

// head gives the digest that a tag names; "" where it names nothing.
func (b *bed) head(tag string) string {
	b.Helper()
	one := b.Resolve(b.Context(), tag)[0]
	if one.Err != nil {
		return ""
	}
	return one.Digest.String()
}
