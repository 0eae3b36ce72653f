package builder_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"plimsoll.dev/plimsoll/internal/build/builder"
	"plimsoll.dev/plimsoll/internal/oci"
	"plimsoll.dev/plimsoll/internal/registry"
)

// bed is a folder with a lifecycle, buildpacks and a spec, and a store with bases.
type bed struct {
	t     testing.TB
	dir   string
	maker *builder.Maker
}

// good is a spec that every bed can build.
const good = `apiVersion: plimsoll.dev/v1alpha1
kind: Builder
metadata:
  name: main
spec:
  description: For tests
  build: {image: build:1}
  run:
    - image: run:1
      mirrors: [mirror.example.com/run:1]
    - {image: node:1, buildpacks: [test/node]}
  lifecycle: {path: lifecycle}
  buildpacks:
    - path: go
    - path: node
  order:
    - group: [{id: test/node}, {id: test/go, optional: true}]
    - group: [{id: test/go, version: 0.1.0}]
  architectures: [amd64, arm64]
  environment: {BP_LEVEL: "1"}
`

func newBed(t testing.TB) *bed {
	t.Helper()
	home := t.TempDir()
	store, err := registry.Open(t.Context(), registry.Options{Root: filepath.Join(home, "registry")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	b := &bed{t: t, dir: t.TempDir(), maker: &builder.Maker{
		Home: home, Registries: &oci.Registries{Local: func(context.Context) (http.RoundTripper, error) {
			return store.Transport(), nil
		}},
	}}
	b.write("lifecycle/lifecycle.toml", lifecycleTOML)
	for machine, architecture := range map[elf.Machine]string{elf.EM_X86_64: "amd64", elf.EM_AARCH64: "arm64"} {
		for _, program := range []string{"lifecycle", "launcher"} {
			b.write("lifecycle/linux/"+architecture+"/"+program, elfHeader(machine)+program)
		}
	}
	b.buildpack("go", "test/go", "0.1.0", "")
	b.buildpack("node/linux/amd64", "test/node", "2.0.0", "")
	b.buildpack("node/linux/arm64", "test/node", "2.0.0", "")
	b.write("node/buildpack.toml", descriptor("test/node", "2.0.0", ""))
	user := []string{"PATH=/usr/bin:/bin", "CNB_USER_ID=1001", "CNB_GROUP_ID=65532"}
	b.base("build:1", v1.Config{Env: user, User: "1001:65532", Labels: debian("13")})
	b.base("run:1", v1.Config{User: "65532:65532", Labels: debian("13")})
	b.base("node:1", v1.Config{User: "65532:65532", Labels: debian("13")})
	return b
}

const lifecycleTOML = `[apis]
[apis.buildpack]
  deprecated = []
  supported = ["0.10", "0.11", "0.12"]
[apis.platform]
  deprecated = []
  supported = ["0.9", "0.14", "0.15"]
[lifecycle]
  version = "0.21.17"
`

func descriptor(id, version, more string) string {
	return fmt.Sprintf("api = \"0.12\"\n[buildpack]\nid = %q\nversion = %q\nname = %q\n%s", id, version, "The "+id, more)
}

// debian are the labels of a base that plimsoll composed.
func debian(version string) map[string]string {
	return map[string]string{
		"dev.plimsoll.base":                 "base",
		"io.buildpacks.base.distro.name":    "debian",
		"io.buildpacks.base.distro.version": version,
	}
}

// elfHeader gives the smallest program that says which machine it is for.
func elfHeader(machine elf.Machine) string {
	h := elf.Header64{Type: uint16(elf.ET_EXEC), Machine: uint16(machine), Version: uint32(elf.EV_CURRENT), Ehsize: 64}
	copy(h.Ident[:], []byte{0x7f, 'E', 'L', 'F', byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT)})
	var out bytes.Buffer
	_ = binary.Write(&out, binary.LittleEndian, h)
	return out.String()
}

// write makes a file of the bed, executable.
func (b *bed) write(name, text string) {
	b.t.Helper()
	name = filepath.Join(b.dir, name)
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		b.t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o755); err != nil {
		b.t.Fatal(err)
	}
}

// buildpack makes a folder with a buildpack.
func (b *bed) buildpack(folder, id, version, more string) {
	b.write(folder+"/buildpack.toml", descriptor(id, version, more))
	b.write(folder+"/bin/detect", "#!/bin/sh\n")
	b.write(folder+"/bin/build", "#!/bin/sh\necho "+id+"\n")
}

// base puts an index of one small image per architecture into the store.
func (b *bed) base(name string, config v1.Config, architectures ...string) {
	b.t.Helper()
	if len(architectures) == 0 {
		architectures = []string{"amd64", "arm64"}
	}
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for _, architecture := range architectures {
		image := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
		image, err := mutate.Append(image, mutate.Addendum{
			Layer:       static.NewLayer([]byte(tarOf(b.t, map[string]string{"etc/base": name + architecture})), types.OCIUncompressedLayer),
			Annotations: map[string]string{"dev.plimsoll.base.layer": "base-files"},
		})
		if err != nil {
			b.t.Fatal(err)
		}
		if image, err = mutate.ConfigFile(image, configFile(b.t, image, architecture, config)); err != nil {
			b.t.Fatal(err)
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{
			Add: image, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: architecture}},
		})
	}
	if err := b.maker.Registries.PutIndex(b.t.Context(), b.ref(name), index); err != nil {
		b.t.Fatal(err)
	}
}

func configFile(t testing.TB, image v1.Image, architecture string, config v1.Config) *v1.ConfigFile {
	t.Helper()
	file, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	file = file.DeepCopy()
	file.OS, file.Architecture, file.Config = "linux", architecture, config
	return file
}

func (b *bed) ref(name string) oci.Reference {
	b.t.Helper()
	ref, err := oci.Parse(name)
	if err != nil {
		b.t.Fatal(err)
	}
	return ref
}

// make builds the spec in the text.
func (b *bed) make(text string) (*builder.Result, error) {
	b.t.Helper()
	b.write("builder.yaml", text)
	spec, err := builder.Load(filepath.Join(b.dir, "builder.yaml"))
	if err != nil {
		return nil, err
	}
	return b.maker.Make(b.t.Context(), spec)
}

// made is make for a spec that has no faults.
func (b *bed) made(text string) *builder.Result {
	b.t.Helper()
	result, err := b.make(text)
	if err != nil {
		b.t.Fatal(err)
	}
	return result
}

// tarOf gives a tar of the files.
func tarOf(t testing.TB, files map[string]string) string {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for name, text := range files {
		mode := int64(0o644)
		if strings.Contains(name, "bin/") {
			mode = 0o755
		}
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: mode, Size: int64(len(text)), Typeflag: tar.TypeReg, ModTime: time.Unix(315532801, 0)}); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, text); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// entry is what a test wants to know of a path in an image.
type entry struct {
	Mode     int64
	UID, GID int
	Link     string
	Text     string
}

// entries gives the paths of the image's layers from the one at the place on.
func entries(t testing.TB, image v1.Image, from int) map[string]entry {
	t.Helper()
	layers, err := image.Layers()
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]entry{}
	for _, l := range layers[from:] {
		r, err := l.Uncompressed()
		if err != nil {
			t.Fatal(err)
		}
		for in := tar.NewReader(r); ; {
			h, err := in.Next()
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			if want := "1980-01-01T00:00:01Z"; h.ModTime.UTC().Format("2006-01-02T15:04:05Z") != want {
				t.Errorf("%s is of %s, want %s", h.Name, h.ModTime, want)
			}
			text, err := io.ReadAll(in)
			if err != nil {
				t.Fatal(err)
			}
			all[h.Name] = entry{h.Mode, h.Uid, h.Gid, h.Linkname, string(text)}
		}
		_ = r.Close()
	}
	return all
}

// packageOf gives an image for amd64 of one layer, with labels made of the layer's diffID.
func packageOf(t testing.TB, content string, labels func(v1.Hash) map[string]string) v1.Image {
	t.Helper()
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(content)), nil })
	if err != nil {
		t.Fatal(err)
	}
	diffID, err := layer.DiffID()
	if err != nil {
		t.Fatal(err)
	}
	image, err := mutate.AppendLayers(empty.Image, layer)
	if err != nil {
		t.Fatal(err)
	}
	if image, err = mutate.ConfigFile(image, configFile(t, image, "amd64", v1.Config{Labels: labels(diffID)})); err != nil {
		t.Fatal(err)
	}
	return image
}

// cnbFile writes the image as a .cnb file.
func (b *bed) cnbFile(name string, image v1.Image) {
	b.t.Helper()
	folder := b.t.TempDir()
	path, err := layout.Write(folder, empty.Index)
	if err != nil {
		b.t.Fatal(err)
	}
	if err := path.AppendImage(image); err != nil {
		b.t.Fatal(err)
	}
	b.archive(name, folder)
}

// archive packs the folder; one named .tgz is compressed.
func (b *bed) archive(name, folder string) {
	b.t.Helper()
	var out bytes.Buffer
	var w io.WriteCloser = nopCloser{&out}
	if strings.HasSuffix(name, ".tgz") {
		w = gzip.NewWriter(&out)
	}
	packed := tar.NewWriter(w)
	if err := packed.AddFS(os.DirFS(folder)); err != nil {
		b.t.Fatal(err)
	}
	if err := errors.Join(packed.Close(), w.Close()); err != nil {
		b.t.Fatal(err)
	}
	b.write(name, out.String())
}

type nopCloser struct{ io.Writer }

func (nopCloser) Close() error { return nil }
