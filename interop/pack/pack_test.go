package pack

import (
	"archive/tar"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"testing"

	"github.com/BurntSushi/toml"
	pubbldr "github.com/buildpacks/pack/builder"
	"github.com/buildpacks/pack/buildpackage"
	"github.com/buildpacks/pack/pkg/client"
	"github.com/buildpacks/pack/pkg/dist"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// spec is a Builder whose images are in the registry.
const spec = `apiVersion: plimsoll.dev/v1alpha1
kind: Builder
metadata: {name: main}
spec:
  description: Says hello
  build: {image: "REGISTRY/build:1"}
  run:
    - {image: "REGISTRY/run:1", mirrors: ["REGISTRY/mirror:1"]}
  lifecycle: {path: lifecycle}
  buildpacks: [{path: hello}, {path: bye}]
  order:
    - group: [{id: test/hello}, {id: test/bye, optional: true}]
    - group: [{id: test/bye, version: 1.2.3}]
  environment: {BP_LEVEL: "1"}
  architectures: [ARCHITECTURES]
`

// config is the same for pack.
const config = `description = "Says hello"
[build]
image = "REGISTRY/build:1"
[[run.images]]
image = "REGISTRY/run:1"
mirrors = ["REGISTRY/mirror:1"]
[lifecycle]
uri = "lifecycle.tgz"
[[buildpacks]]
uri = "hello"
[[buildpacks]]
uri = "bye"
[[order]]
[[order.group]]
id = "test/hello"
version = "1.2.3"
[[order.group]]
id = "test/bye"
version = "1.2.3"
optional = true
[[order]]
[[order.group]]
id = "test/bye"
version = "1.2.3"
`

// build makes the builder of the spec, as REGISTRY/NAME.
func (b *bed) build(tag, architectures string, changes ...string) string {
	b.t.Helper()
	text := strings.NewReplacer("ARCHITECTURES", architectures, "REGISTRY", b.registry).Replace(spec)
	b.write("builder.yaml", strings.NewReplacer(changes...).Replace(text))
	ref := b.registry + "/" + tag
	b.plimsoll("builder", "build", "-f", "builder.yaml", "-t", ref)
	return ref
}

// TestPackInspects has `pack builder inspect`'s own code read a builder of plimsoll's.
func TestPackInspects(t *testing.T) {
	b := newBed(t)
	ref := b.build("builder:1", "amd64, arm64")
	info, err := b.pack.InspectBuilder(ref, false, client.WithDetectionOrderDepth(pubbldr.OrderDetectionMaxDepth))
	if err != nil {
		t.Fatal(err)
	}
	if info == nil {
		t.Fatal("pack does not find it")
	}
	if info.Description != "Says hello" || info.CreatedBy.Name != "plimsoll" || info.Lifecycle.Info.Version.String() != "0.21.17" {
		t.Errorf("pack reads %q by %q with lifecycle %s", info.Description, info.CreatedBy.Name, info.Lifecycle.Info.Version)
	}
	if got := info.Lifecycle.APIs.Platform.Supported.Latest().String(); got != "0.15" {
		t.Errorf("pack reads Platform API %s", got)
	}
	hello := dist.ModuleInfo{ID: "test/hello", Version: "1.2.3", Name: "hello", Homepage: "https://example.com/hello"}
	bye := dist.ModuleInfo{ID: "test/bye", Version: "1.2.3", Name: "bye", Homepage: "https://example.com/bye"}
	if diff := cmp.Diff([]dist.ModuleInfo{bye, hello}, info.Buildpacks); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]pubbldr.RunImageConfig{{Image: b.registry + "/run:1", Mirrors: []string{b.registry + "/mirror:1"}}}, info.RunImages); diff != "" {
		t.Error(diff)
	}
	module := func(id string, optional bool) dist.ModuleRef {
		return dist.ModuleRef{ModuleInfo: dist.ModuleInfo{ID: id, Version: "1.2.3"}, Optional: optional}
	}
	want := pubbldr.DetectionOrder{
		{GroupDetectionOrder: pubbldr.DetectionOrder{{ModuleRef: module("test/hello", false)}, {ModuleRef: module("test/bye", true)}}},
		{GroupDetectionOrder: pubbldr.DetectionOrder{{ModuleRef: module("test/bye", false)}}},
	}
	if diff := cmp.Diff(want, info.Order); diff != "" {
		t.Error(diff)
	}
	if _, ok := info.BuildpackLayers.Get("test/hello", "1.2.3"); !ok {
		t.Error("pack finds no layer of test/hello")
	}
}

// TestSameAsPack makes a builder of the same parts with pack, and compares both.
func TestSameAsPack(t *testing.T) {
	b := newBed(t)
	ours := b.build("ours:1", "amd64")
	b.write("builder.toml", strings.ReplaceAll(config, "REGISTRY", b.registry))
	read, _, err := pubbldr.ReadConfig(filepath.Join(b.dir, "builder.toml"))
	if err != nil {
		t.Fatal(err)
	}
	theirs := b.registry + "/theirs:1"
	err = b.pack.CreateBuilder(t.Context(), client.CreateBuilderOptions{
		RelativeBaseDir: b.dir, BuilderName: theirs, Config: read, Publish: true,
		BuildConfigEnv: map[string]string{"BP_LEVEL": "1"},
		Targets:        []dist.Target{{OS: "linux", Arch: "amd64"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	a, z := image(t, ours), image(t, theirs)
	// Both name themselves and have their own layers; what pack leaves empty, we leave out;
	// and we name the run image where platforms before 0.12 look, too.
	ignore := cmpopts.IgnoreMapEntries(func(key string, value any) bool {
		return key == "createdBy" || key == "layerDiffID" || key == "stack" || value == nil
	})
	for _, name := range []string{
		"io.buildpacks.builder.metadata", "io.buildpacks.buildpack.order", "io.buildpacks.buildpack.layers",
		"io.buildpacks.base.distro.name", "io.buildpacks.base.distro.version",
	} {
		if diff := cmp.Diff(label(z, name), label(a, name), ignore); diff != "" {
			t.Errorf("label %s: pack's, then ours: %s", name, diff)
		}
	}
	if a.Config.WorkingDir != z.Config.WorkingDir {
		t.Errorf("pack works in %s, we in %s", z.Config.WorkingDir, a.Config.WorkingDir)
	}
	// Ours have the phases of newer lifecycles and no link from before 2020.
	only := cmpopts.IgnoreMapEntries(func(name, _ string) bool { return name == "lifecycle" || name == "cnb/extensions" })
	if diff := cmp.Diff(files(t, theirs), files(t, ours), only); diff != "" {
		t.Errorf("files: pack's, then ours: %s", diff)
	}
	readOurs, readTheirs := b.inspect(ours), b.inspect(theirs)
	delete(readOurs[0].RunImages[0], "digest")
	if diff := cmp.Diff(readTheirs, readOurs); diff != "" {
		t.Errorf("plimsoll reads pack's, then its own: %s", diff)
	}
}

// TestPackagesOfPack has plimsoll take a composite buildpack that pack packaged, from a
// registry and from a file.
func TestPackagesOfPack(t *testing.T) {
	b := newBed(t)
	b.write("all/buildpack.toml", `api = "0.10"
[buildpack]
id = "test/all"
version = "1.2.3"
[[order]]
[[order.group]]
id = "test/hello"
version = "1.2.3"
`)
	options := client.PackageBuildpackOptions{
		RelativeBaseDir: b.dir, Name: b.registry + "/package:1", Format: client.FormatImage, Publish: true,
		Config: buildpackage.Config{
			Buildpack:    dist.BuildpackURI{URI: "all"},
			Dependencies: []dist.ImageOrURI{{BuildpackURI: dist.BuildpackURI{URI: "hello"}}},
		},
		Targets: []dist.Target{{OS: "linux", Arch: "amd64"}},
	}
	if err := b.pack.PackageBuildpack(t.Context(), options); err != nil {
		t.Fatal(err)
	}
	options.Name, options.Format, options.Publish = filepath.Join(b.dir, "all.cnb"), client.FormatFile, false
	if err := b.pack.PackageBuildpack(t.Context(), options); err != nil {
		t.Fatal(err)
	}
	options.Name, options.Flatten = filepath.Join(b.dir, "flat.cnb"), true
	if err := b.pack.PackageBuildpack(t.Context(), options); err != nil {
		t.Fatal(err)
	}
	for name, source := range map[string]string{
		"image": "{image: " + b.registry + "/package:1}", "file": "{path: all.cnb}", "flattened": "{path: flat.cnb}",
	} {
		t.Run(name, func(t *testing.T) {
			ref := b.build("of-"+name+":1", "amd64", "{path: hello}", source, "[{id: test/hello}, ", "[{id: test/all}, ")
			info, err := b.pack.InspectBuilder(ref, false, client.WithDetectionOrderDepth(pubbldr.OrderDetectionMaxDepth))
			if err != nil {
				t.Fatal(err)
			}
			if parts := info.Order[0].GroupDetectionOrder[0].GroupDetectionOrder; len(parts) != 1 {
				t.Errorf("pack finds no parts in %+v", info.Order[0])
			}
			got := files(t, ref)
			for _, want := range []string{"cnb/buildpacks/test_all/1.2.3/buildpack.toml", "cnb/buildpacks/test_hello/1.2.3/bin/build"} {
				if _, ok := got[want]; !ok {
					t.Errorf("it lacks %s", want)
				}
			}
		})
	}
}

// image gives the configuration of the image for amd64.
func image(t *testing.T, ref string) *v1.ConfigFile {
	t.Helper()
	config, err := fetch(t, ref).ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	return config
}

func fetch(t *testing.T, ref string) v1.Image {
	t.Helper()
	parsed, err := name.ParseReference(ref)
	if err != nil {
		t.Fatal(err)
	}
	image, err := remote.Image(parsed, remote.WithPlatform(v1.Platform{OS: "linux", Architecture: "amd64"}))
	if err != nil {
		t.Fatal(err)
	}
	return image
}

// label gives the label as JSON, or as its text.
func label(config *v1.ConfigFile, name string) any {
	var value any
	if json.Unmarshal([]byte(config.Config.Labels[name]), &value) != nil {
		return config.Config.Labels[name]
	}
	return value
}

// files gives what a builder's file system holds besides its base: owner, mode and content
// or target by path.
func files(t *testing.T, ref string) map[string]string {
	t.Helper()
	r := mutate.Extract(fetch(t, ref))
	defer r.Close()
	found := map[string]string{}
	for in := tar.NewReader(r); ; {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			return found
		}
		if err != nil {
			t.Fatal(err)
		}
		at := strings.Trim(h.Name, "/")
		if first, _, _ := strings.Cut(at, "/"); !strings.Contains(" cnb lifecycle layers workspace platform ", " "+first+" ") {
			continue
		}
		found[at] = summary(t, h, in)
	}
}

func summary(t *testing.T, h *tar.Header, r io.Reader) string {
	t.Helper()
	mode := h.Mode & 0o777
	if h.Typeflag == tar.TypeSymlink {
		return "-> " + h.Linkname
	}
	text, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	content := fmt.Sprintf("%x", sha256.Sum256(text))
	if strings.HasSuffix(h.Name, ".toml") {
		var value any
		if _, err := toml.Decode(string(text), &value); err != nil {
			t.Fatalf("%s: %v", h.Name, err)
		}
		content = fmt.Sprint(value)
	}
	return fmt.Sprintf("%c %o %d:%d %s", h.Typeflag, mode, h.Uid, h.Gid, content)
}
