package builder_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"plimsoll.dev/plimsoll/internal/build/builder"
	"plimsoll.dev/plimsoll/internal/build/cnb"
)

func TestMake(t *testing.T) {
	b := newBed(t)
	result := b.made(good)
	if len(result.Images) != 2 || result.Index == nil {
		t.Fatalf("want an index of two, got %d images", len(result.Images))
	}
	for _, built := range result.Images {
		t.Run(built.Architecture, func(t *testing.T) {
			var names []string
			for _, l := range built.Layers {
				names = append(names, l.Name)
			}
			if diff := cmp.Diff([]string{"lifecycle", "test/go@0.1.0", "test/node@2.0.0", "config"}, names); diff != "" {
				t.Error(diff)
			}
			got := entries(t, built.Image, built.BaseLayers)
			for _, name := range []string{"workspace/", "layers/"} {
				if e := got[name]; e.UID != 1001 || e.GID != 65532 || e.Mode != 0o755 {
					t.Errorf("%s is %o of %d:%d, want 755 of 1001:65532", name, e.Mode, e.UID, e.GID)
				}
			}
			want := map[string]entry{
				"cnb/lifecycle/detector":                        {Mode: 0o777, Link: "lifecycle"},
				"cnb/buildpacks/":                               {Mode: 0o755},
				"cnb/buildpacks/test_go/0.1.0/bin/build":        {Mode: 0o755, Text: "#!/bin/sh\necho test/go\n"},
				"cnb/buildpacks/test_node/2.0.0/buildpack.toml": {Mode: 0o644, Text: descriptor("test/node", "2.0.0", "")},
				"cnb/build-config/env/BP_LEVEL":                 {Mode: 0o644, Text: "1"},
				"cnb/order.toml": {Mode: 0o644, Text: `[[order]]

[[order.group]]
id = "test/node"
version = "2.0.0"

[[order.group]]
id = "test/go"
version = "0.1.0"
optional = true

[[order]]

[[order.group]]
id = "test/go"
version = "0.1.0"
`},
				"cnb/run.toml": {Mode: 0o644, Text: `[[images]]
image = "run:1"
mirrors = ["mirror.example.com/run:1"]

[[images]]
image = "node:1"
`},
				"cnb/stack.toml": {Mode: 0o644, Text: `[run-image]
image = "run:1"
mirrors = ["mirror.example.com/run:1"]
`},
			}
			for name, e := range want {
				if diff := cmp.Diff(e, got[name]); diff != "" {
					t.Errorf("%s: %s", name, diff)
				}
			}
			if program := got["cnb/lifecycle/launcher"].Text; !strings.HasSuffix(program, "launcher") {
				t.Errorf("the launcher is %q", program)
			}
			if _, ok := got["cnb/buildpacks/test_node/2.0.0/linux/amd64/bin/build"]; ok {
				t.Error("a buildpack has the programs of every architecture")
			}
		})
	}
}

// TestMakeConfig compares what a platform reads.
func TestMakeConfig(t *testing.T) {
	b := newBed(t)
	image := b.made(good).Images[0].Image
	config, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	if got, want := config.Config.User+" "+config.Config.WorkingDir, "1001:65532 /layers"; got != want {
		t.Errorf("want %s, got %s", want, got)
	}
	env := []string{"PATH=/usr/bin:/bin", "CNB_USER_ID=1001", "CNB_GROUP_ID=65532", "CNB_APP_DIR=/workspace", "CNB_LAYERS_DIR=/layers", "CNB_PLATFORM_DIR=/platform"}
	if diff := cmp.Diff(env, config.Config.Env); diff != "" {
		t.Error(diff)
	}
	labels := config.Config.Labels
	for label, want := range map[string]string{
		cnb.BuilderAPILabel:       "0.1",
		cnb.LifecycleVersionLabel: "0.21.17",
		cnb.LifecycleAPIsLabel:    `{"buildpack":{"deprecated":[],"supported":["0.10","0.11","0.12"]},"platform":{"deprecated":[],"supported":["0.9","0.14","0.15"]}}`,
		cnb.OrderLabel:            `[{"group":[{"id":"test/node","version":"2.0.0"},{"id":"test/go","version":"0.1.0","optional":true}]},{"group":[{"id":"test/go","version":"0.1.0"}]}]`,
		cnb.DistroNameLabel:       "debian",
		"dev.plimsoll.base":       "",
	} {
		if labels[label] != want {
			t.Errorf("label %s: want %s, got %s", label, want, labels[label])
		}
	}
	manifest, err := image.Manifest()
	if err != nil {
		t.Fatal(err)
	}
	base, err := b.maker.Registries.Image(t.Context(), b.ref("build:1"), "amd64")
	if err != nil {
		t.Fatal(err)
	}
	digest, err := base.Digest()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]string{
		"org.opencontainers.image.base.name": "build:1", "org.opencontainers.image.base.digest": digest.String(),
	}, manifest.Annotations); diff != "" {
		t.Error(diff)
	}
	if got := manifest.Layers[0].Annotations["dev.plimsoll.base.layer"]; got != "base-files" {
		t.Errorf("the base's layer lost its annotation: %q", got)
	}
}

// TestSameInputsSameDigest makes the same twice, with other times, modes and caches.
func TestSameInputsSameDigest(t *testing.T) {
	digest := func(prepare func(*bed)) string {
		b := newBed(t)
		prepare(b)
		result := b.made(good)
		d, err := result.Index.Digest()
		if err != nil {
			t.Fatal(err)
		}
		again, err := b.made(good).Index.Digest()
		if err != nil {
			t.Fatal(err)
		}
		if again != d {
			t.Errorf("from the cache it is %s, before it was %s", again, d)
		}
		return d.String()
	}
	first := digest(func(*bed) {})
	if second := digest(func(b *bed) {
		for _, name := range []string{"go/bin/build", "lifecycle/linux/amd64/lifecycle"} {
			if err := os.Chmod(filepath.Join(b.dir, name), 0o700); err != nil {
				t.Fatal(err)
			}
		}
	}); second != first {
		t.Errorf("want %s, got %s", first, second)
	}
	if moved := digest(func(b *bed) {
		b.base("run:1", v1.Config{User: "65532:65532", Labels: debian("13"), Env: []string{"FIXED=1"}})
	}); moved != first {
		t.Error("another run image makes another builder, which all that it built would be built again for")
	}
	if third := digest(func(b *bed) { b.write("go/bin/build", "#!/bin/sh\n: other\n") }); third == first {
		t.Error("another buildpack makes the same builder")
	}
}

// TestPushAndRead reads back what was pushed.
func TestPushAndRead(t *testing.T) {
	b := newBed(t)
	if err := b.maker.Registries.PutIndex(t.Context(), b.ref("builder:1"), b.made(good).Index); err != nil {
		t.Fatal(err)
	}
	image, err := b.maker.Registries.Image(t.Context(), b.ref("builder:1"), "arm64")
	if err != nil {
		t.Fatal(err)
	}
	got, err := builder.Read("builder:1", image)
	if err != nil {
		t.Fatal(err)
	}
	if got.UID != 1001 || got.GID != 65532 || got.Architecture != "arm64" || got.Description != "For tests" || got.Lifecycle.Version != "0.21.17" {
		t.Errorf("got %+v", got)
	}
	if diff := cmp.Diff([]cnb.BuildpackInfo{
		{ID: "test/go", Version: "0.1.0", Name: "The test/go"}, {ID: "test/node", Version: "2.0.0", Name: "The test/node"},
	}, got.Buildpacks); diff != "" {
		t.Error(diff)
	}
	for _, tt := range []struct {
		ids  []string
		want string
	}{{[]string{"test/go"}, "run:1"}, {[]string{"test/go", "test/node"}, "node:1"}, {nil, "run:1"}} {
		run, err := got.RunImageFor(tt.ids)
		if err != nil || run.Image != tt.want {
			t.Errorf("%v: want %s, got %+v, %v", tt.ids, tt.want, run, err)
		}
	}
}

// TestPackaged takes buildpacks out of an image, and out of a file, as they are.
func TestPackaged(t *testing.T) {
	b := newBed(t)
	layers := cnb.BuildpackLayers{}
	files := map[string]string{}
	for _, id := range []string{"test/all", "test/part"} {
		at := "cnb/buildpacks/" + strings.ReplaceAll(id, "/", "_") + "/1.0.0/"
		files[at+"buildpack.toml"], files[at+"bin/detect"], files[at+"bin/build"] = descriptor(id, "1.0.0", ""), "#!", "#!"
	}
	image := packageOf(t, tarOf(t, files), func(diffID v1.Hash) map[string]string {
		layers["test/part"] = map[string]cnb.BuildpackLayer{"1.0.0": {API: "0.11", LayerDiffID: diffID.String()}}
		layers["test/all"] = map[string]cnb.BuildpackLayer{"1.0.0": {API: "0.11", LayerDiffID: diffID.String(), Order: cnb.Order{
			{Group: []cnb.GroupEntry{{ID: "test/part", Version: "1.0.0"}}},
		}}}
		text, err := json.Marshal(layers)
		if err != nil {
			t.Fatal(err)
		}
		return map[string]string{cnb.BuildpackLayersLabel: string(text), cnb.BuildpackageLabel: `{"id":"test/all","version":"1.0.0"}`}
	})
	if err := b.maker.Registries.PutImage(t.Context(), b.ref("package:1"), image); err != nil {
		t.Fatal(err)
	}
	b.cnbFile("all.cnb", image)
	for _, source := range []string{"image: package:1", "path: all.cnb"} {
		t.Run(source, func(t *testing.T) {
			text := strings.Replace(good, "    - path: go\n", "    - path: go\n    - "+source+"\n", 1)
			text = strings.Replace(text, "{id: test/go, version: 0.1.0}", "{id: test/all}", 1)
			text = strings.Replace(text, "[amd64, arm64]", "[amd64]", 1)
			built := b.made(text).Images[0]
			got, err := builder.Read("x", built.Image)
			if err != nil {
				t.Fatal(err)
			}
			if part, all := got.Layers["test/part"]["1.0.0"], got.Layers["test/all"]["1.0.0"]; part.LayerDiffID != all.LayerDiffID || len(all.Order) != 1 {
				t.Errorf("want both in one layer, got %+v and %+v", part, all)
			}
			if n := len(built.Layers); n != 5 {
				t.Errorf("want five layers, got %d", n)
			}
			if _, ok := entries(t, built.Image, built.BaseLayers)["cnb/buildpacks/test_part/1.0.0/bin/build"]; !ok {
				t.Error("it lacks the packaged buildpack")
			}
		})
	}
}

// TestArchives takes the lifecycle and a buildpack from archives.
func TestArchives(t *testing.T) {
	b := newBed(t)
	b.archive("go.tgz", filepath.Join(b.dir, "go"))
	b.write("upstream/lifecycle.toml", lifecycleTOML)
	for _, program := range []string{"lifecycle", "launcher"} {
		text, err := os.ReadFile(filepath.Join(b.dir, "lifecycle/linux/amd64", program))
		if err != nil {
			t.Fatal(err)
		}
		b.write("upstream/lifecycle/"+program, string(text))
	}
	if err := os.Symlink("lifecycle", filepath.Join(b.dir, "upstream/lifecycle/detector")); err != nil {
		t.Fatal(err)
	}
	b.archive("lifecycle.tgz", filepath.Join(b.dir, "upstream"))
	one := strings.Replace(good, "[amd64, arm64]", "[amd64]", 1)
	archived := strings.NewReplacer("path: lifecycle", "path: lifecycle.tgz", "path: go", "path: go.tgz").Replace(one)
	want, got := b.made(one).Images[0].Digest, b.made(archived).Images[0].Digest
	if want != got {
		t.Errorf("of folders it is %s, of the same in archives %s", want, got)
	}
	_, err := b.make(strings.Replace(archived, "[amd64]", "[amd64, arm64]", 1))
	if err == nil || !strings.Contains(err.Error(), "it is for EM_X86_64, not for arm64") {
		t.Errorf("want the wrong program refused, got %v", err)
	}
}

// TestLifecycleImage takes the lifecycle out of another builder.
func TestLifecycleImage(t *testing.T) {
	b := newBed(t)
	result := b.made(good)
	if err := b.maker.Registries.PutIndex(t.Context(), b.ref("other:1"), result.Index); err != nil {
		t.Fatal(err)
	}
	again := b.made(strings.Replace(good, "{path: lifecycle}", "{image: other:1}", 1))
	if again.Images[0].Digest != result.Images[0].Digest {
		t.Errorf("want %s, got %s", result.Images[0].Digest, again.Images[0].Digest)
	}
	layers := again.Images[0].Layers
	if !slices.ContainsFunc(layers, func(l builder.Layer) bool { return l.Name == "lifecycle" && l.Cached }) {
		t.Error("the same lifecycle was compressed again")
	}
}
