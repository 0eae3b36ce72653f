package inspect_test

import (
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"plimsoll.dev/plimsoll/internal/build/cnb"
	"plimsoll.dev/plimsoll/internal/build/inspect"
	"plimsoll.dev/plimsoll/internal/build/rebase"
	"plimsoll.dev/plimsoll/internal/fault"
)

// holds is what the tests compare of a layer.
type holds struct {
	Part     inspect.Part
	Name     string
	Told     inspect.Told
	Packages string
	Removed  string
}

func layersOf(r *inspect.Report) []holds {
	var all []holds
	for _, l := range r.Image.Layers {
		var packages []string
		for _, p := range l.Packages {
			packages = append(packages, p.Type+"/"+p.Name+" "+p.Version)
		}
		all = append(all, holds{l.Part, l.Name, l.Told, strings.Join(packages, ", "), strings.Join(l.Removed, ", ")})
	}
	return all
}

func appLayers() []holds {
	return []holds{
		{inspect.PartBase, "base-files", inspect.ToldByManifest, "deb/base-files 13", ""},
		{inspect.PartBase, "openssl", inspect.ToldByManifest, "deb/openssl 1", ""},
		{inspect.PartBuildpack, "app", inspect.ToldBySBOM, "golang/example.com/lib v1.0.0, golang/stdlib 1.26", ""},
		{inspect.PartSBOM, "bills of materials", "", "", ""},
		{inspect.PartApplication, "application", inspect.ToldBySBOM, "npm/left-pad 1.3.0", ""},
		{inspect.PartLauncher, "launcher", inspect.ToldBySBOM, "golang/github.com/buildpacks/lifecycle 0.21.17", ""},
	}
}

func TestApplication(t *testing.T) {
	b := newBed(t)
	run := b.push("run:1", b.base("run", "base-files=13", "openssl=1"))
	app := b.push("shop:1", b.app(run, "run:1", appMaterials(), nil))
	r := b.inspect("shop:1", inspect.Options{})

	digest, err := app.Digest()
	b.must(err)
	on, err := run.Digest()
	b.must(err)
	want := &inspect.Report{
		Ref: "shop:1", Digest: digest.String(), MediaType: string(types.OCIManifestSchema1),
		Platforms: []inspect.Platform{{Platform: "linux/amd64", Digest: digest.String(), Layers: 6, Size: r.Image.Size}},
		Image: inspect.Image{
			Kind: inspect.KindApplication, Platform: "linux/amd64", Digest: digest.String(), Distro: "debian 13",
			Created: time.Date(2026, time.November, 20, 10, 0, 0, 0, time.UTC),
			Source:  &inspect.Source{URL: "https://git.example/shop.git", Revision: "abc", Subpath: "web", Digest: "sha256:5"},
			Build:   &inspect.Build{Builder: "builder:1@sha256:6", Buildpacks: []string{"test/go@1"}, Lifecycle: "0.21.17", Inputs: "sha256:7"},
			Runs: inspect.Runs{
				Processes: []inspect.Process{
					{Type: "web", Command: []string{"shop", "--port", "8080"}, Default: true, Buildpack: "test/go"},
					{Type: "old", Command: []string{"shop --old"}, Shell: true, Buildpack: "test/go"},
				},
				Entrypoint: []string{"/cnb/process/web"}, User: "65532:65532", WorkingDirectory: "/workspace",
				Environment: []string{"PATH=/usr/bin", "LANG=C.UTF-8", "CNB_PLATFORM_API=0.15"},
			},
			Base:     &inspect.Base{Name: "run:1", Digest: on.String(), Layers: 2, Rebasable: true},
			Rebase:   &inspect.Rebase{Status: inspect.RebaseCurrent, RunImage: "run:1", To: "run@" + on.String(), Known: true},
			Packages: []inspect.Count{{Type: "deb", Count: 2}, {Type: "golang", Count: 3}, {Type: "npm", Count: 1}},
			Facts: []inspect.Fact{
				{Name: "user", Good: true, Text: "runs as 65532:65532, not as root"},
				{Name: "shell", Good: true, Text: "no shell"},
				{Name: "packageManager", Good: true, Text: "no package manager"},
			},
		},
	}
	sizes := cmpopts.IgnoreFields(inspect.Base{}, "Size")
	if diff := cmp.Diff(want, r, sizes, cmpopts.IgnoreFields(inspect.Image{}, "Size", "Layers")); diff != "" {
		t.Errorf("report (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(appLayers(), layersOf(r)); diff != "" {
		t.Errorf("layers (-want +got):\n%s", diff)
	}
}

// TestFewBytesAreRead holds that an image which accounts for itself costs no layer but that
// of its bills of materials.
func TestFewBytesAreRead(t *testing.T) {
	b := newBed(t)
	run := b.push("run:1", b.base("run", "base-files=13", "openssl=1"))
	app := b.push("shop:1", b.app(run, "run:1", appMaterials(), nil))
	b.inspect("shop:1", inspect.Options{})
	manifest, err := app.Manifest()
	b.must(err)
	var got []string
	for _, l := range manifest.Layers {
		for _, read := range b.blobs {
			if read == l.Digest.String() {
				got = append(got, read)
			}
		}
	}
	if diff := cmp.Diff([]string{manifest.Layers[3].Digest.String()}, got); diff != "" {
		t.Errorf("layers that were read (-want +got):\n%s", diff)
	}
}

func TestRebaseIsForetold(t *testing.T) {
	b := newBed(t)
	run := b.push("run:1", b.base("run", "base-files=13", "openssl=1"))
	b.push("shop:1", b.app(run, "run:1", appMaterials(), nil))
	b.push("fixed:1", b.app(run, "run:1", appMaterials(), func(c *v1.ConfigFile) { c.Config.Labels[cnb.RebasableLabel] = "false" }))
	b.push("lost:1", b.app(run, "gone:1", appMaterials(), nil))
	fixed := b.push("run:1", b.base("run", "base-files=13", "openssl=2", "zlib=1"))
	on, err := fixed.Digest()
	b.must(err)
	manifest, err := fixed.Manifest()
	b.must(err)

	r := b.inspect("shop:1", inspect.Options{})
	want := &inspect.Rebase{
		Status: inspect.RebaseStale, RunImage: "run:1", To: "run@" + on.String(), Known: true,
		New: 2, Bytes: manifest.Layers[1].Size + manifest.Layers[2].Size,
		Packages: []inspect.PackageChange{{Name: "openssl", From: "1", To: "2"}, {Name: "zlib", To: "1"}},
	}
	if diff := cmp.Diff(want, r.Image.Rebase); diff != "" {
		t.Errorf("by tag (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(want, b.inspect("shop@"+r.Digest, inspect.Options{}).Image.Rebase); diff != "" {
		t.Errorf("by digest (-want +got):\n%s", diff)
	}

	if r := b.inspect("fixed:1", inspect.Options{}); r.Image.Rebase != nil || r.Image.Base.Rebasable || r.Image.Base.Why != "it is marked as not rebasable" {
		t.Errorf("an image that must not be rebased: %+v, %+v", r.Image.Base, r.Image.Rebase)
	}
	lost := b.inspect("lost:1", inspect.Options{}).Image.Rebase
	if lost.Status != inspect.RebaseFailed || !strings.Contains(lost.Error, "gone:1") || lost.Hint == "" {
		t.Errorf("an image whose run image is not there: %+v", lost)
	}
}

// TestRebasedApplicationKeepsItsAccount holds that layers are told by the labels: a rebase
// drops the history.
func TestRebasedApplicationKeepsItsAccount(t *testing.T) {
	b := newBed(t)
	run := b.push("run:1", b.base("run", "base-files=13", "openssl=0"))
	b.push("shop:1", b.app(run, "run:1", appMaterials(), nil))
	b.push("run:1", b.base("run", "base-files=13", "openssl=1"))
	refs := func(yield func(string, error) bool) { yield("shop:1", nil) }
	b.must(rebase.Fleet(t.Context(), b.registries, refs, rebase.FleetOptions{}, func(r rebase.Result) {
		if r.Status != rebase.StatusRebased {
			t.Fatalf("rebase: %+v", r)
		}
	}))
	r := b.inspect("shop:1", inspect.Options{})
	if diff := cmp.Diff(appLayers(), layersOf(r)); diff != "" {
		t.Errorf("layers (-want +got):\n%s", diff)
	}
	if r.Image.Source == nil || r.Image.Source.Revision != "abc" || r.Image.Rebase.Status != inspect.RebaseCurrent {
		t.Errorf("source %+v, rebase %+v", r.Image.Source, r.Image.Rebase)
	}
}

func TestBase(t *testing.T) {
	b := newBed(t)
	b.push("run:1", b.base("run", "base-files=13", "dash=1"))
	r := b.inspect("run:1", inspect.Options{})
	want := []inspect.Fact{
		{Name: "user", Good: true, Text: "runs as 65532:65532, not as root"},
		{Name: "shell", Good: false, Text: "has a shell: dash"},
		{Name: "packageManager", Good: true, Text: "no package manager"},
	}
	if diff := cmp.Diff(want, r.Image.Facts); diff != "" {
		t.Errorf("facts (-want +got):\n%s", diff)
	}
	if r.Image.Kind != inspect.KindBase || r.Image.Base.Name != "run" || r.Image.Base.Layers != 2 || r.Image.NotKnown != nil || r.Image.Rebase != nil {
		t.Errorf("got %+v", r.Image)
	}
}

func TestIndex(t *testing.T) {
	b := newBed(t)
	amd64 := b.base("run", "base-files=13")
	arm64 := b.image(amd64, func(c *v1.ConfigFile) { c.Architecture = "arm64" })
	armv7 := b.image(amd64, func(c *v1.ConfigFile) { c.Architecture, c.Variant = "arm", "v7" })
	attestation := b.image(oneOCI(), nil, layerSpec{files: map[string]string{"a": "statement"}})
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for _, m := range []struct {
		image    v1.Image
		platform v1.Platform
	}{
		{attestation, v1.Platform{OS: "unknown", Architecture: "unknown"}},
		{arm64, v1.Platform{OS: "linux", Architecture: "arm64"}},
		{amd64, v1.Platform{OS: "linux", Architecture: "amd64"}},
		{armv7, v1.Platform{OS: "linux", Architecture: "arm", Variant: "v7"}},
	} {
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: m.image, Descriptor: v1.Descriptor{Platform: &m.platform}})
	}
	b.must(b.registries.PutIndex(t.Context(), b.parse("both:1"), index))
	tests := []struct{ name, architecture, want string }{
		{"this machine's", "", "linux/" + runtime.GOARCH},
		{"another", "arm64", "linux/arm64"},
		{"without its variant", "arm", "linux/arm/v7"},
		{"with its variant", "arm/v7", "linux/arm/v7"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := b.inspect("both:1", inspect.Options{Architecture: test.architecture})
			var all []string
			shown := ""
			for _, p := range r.Platforms {
				all = append(all, p.Platform)
				if p.Shown {
					shown = p.Platform
				}
			}
			if diff := cmp.Diff([]string{"linux/arm64", "linux/amd64", "linux/arm/v7"}, all); diff != "" {
				t.Errorf("platforms (-want +got):\n%s", diff)
			}
			if r.Image.Platform != test.want || shown != test.want {
				t.Errorf("want %s, got %s (%s is marked)", test.want, r.Image.Platform, shown)
			}
		})
	}
	_, err := inspect.Inspect(t.Context(), b.registries, b.parse("both:1"), inspect.Options{Architecture: "riscv64"})
	if fault.KindOf(err) != fault.NotFound || fault.HintOf(err) == "" {
		t.Errorf("an architecture that is not there: %v", err)
	}
}

func TestBuilder(t *testing.T) {
	b := newBed(t)
	on := b.base("build", "base-files=13", "bash=5")
	image := b.image(on, nil, layerSpec{files: map[string]string{"cnb/buildpacks/test_go/1/buildpack.toml": ""}})
	config, err := image.ConfigFile()
	b.must(err)
	image = b.image(image, func(c *v1.ConfigFile) {
		c.Config.User = "1001:65532"
		c.Config.Env = append(c.Config.Env, "CNB_USER_ID=1001", "CNB_GROUP_ID=65532")
		apis := cnb.LifecycleAPIs{Buildpack: cnb.APIVersions{Supported: []string{"0.7", "0.12"}}, Platform: cnb.APIVersions{Supported: []string{"0.15"}}}
		c.Config.Labels[cnb.BuilderMetadataLabel] = b.json(cnb.BuilderMetadata{
			Description: "tests", Buildpacks: []cnb.BuildpackInfo{{ID: "test/go", Version: "1", Name: "Go"}},
			RunImages: []cnb.RunImage{{Image: "run:1", Mirrors: []string{"mirror/run:1"}}},
			Lifecycle: cnb.LifecycleInfo{Version: "0.21.17", APIs: apis},
		})
		c.Config.Labels[cnb.OrderLabel] = `[{"group":[{"id":"test/go","version":"1"},{"id":"test/more","optional":true}]}]`
		c.Config.Labels[cnb.BuildpackLayersLabel] = b.json(cnb.BuildpackLayers{"test/go": {"1": {
			API: "0.10", LayerDiffID: config.RootFS.DiffIDs[2].String(), Targets: []cnb.Target{{OS: "linux", Arch: "amd64"}},
		}}})
		c.Config.Labels[cnb.LifecycleAPIsLabel] = b.json(apis)
	})
	b.push("builder:1", image)
	r := b.inspect("builder:1", inspect.Options{})
	want := &inspect.Builder{
		Description: "tests", User: "1001:65532", Lifecycle: "0.21.17",
		APIs:       inspect.APIs{Buildpack: []string{"0.7", "0.12"}, Platform: []string{"0.15"}},
		Buildpacks: []inspect.BuilderBuildpack{{ID: "test/go", Version: "1", Name: "Go", API: "0.10", Targets: []string{"linux/amd64"}}},
		Order:      [][]string{{"test/go@1", "test/more (optional)"}},
		RunImages:  []inspect.RunImage{{Image: "run:1", Mirrors: []string{"mirror/run:1"}}},
	}
	if diff := cmp.Diff(want, r.Image.Builder); diff != "" {
		t.Errorf("builder (-want +got):\n%s", diff)
	}
	layers := []holds{
		{inspect.PartBase, "base-files", inspect.ToldByManifest, "deb/base-files 13", ""},
		{inspect.PartBase, "bash", inspect.ToldByManifest, "deb/bash 5", ""},
		{inspect.PartBuildpack, "test/go@1", "", "", ""},
	}
	if diff := cmp.Diff(layers, layersOf(r)); diff != "" {
		t.Errorf("layers (-want +got):\n%s", diff)
	}
	if r.Image.Kind != inspect.KindBuilder || r.Image.Facts[1].Text != "has a shell: bash" {
		t.Errorf("got %+v", r.Image)
	}
}
