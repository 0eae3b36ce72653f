package rebase_test

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"plimsoll.dev/plimsoll/internal/build/cnb"
	"plimsoll.dev/plimsoll/internal/build/rebase"
)

func hash(digit string) v1.Hash {
	return v1.Hash{Algorithm: "sha256", Hex: strings.Repeat(digit, 64)}
}

// made gives an image with a layer for each digit, whose manifest and layers are of the
// media types.
func made(manifest, layer types.MediaType, digits string) rebase.Image {
	i := rebase.Image{
		Manifest: &v1.Manifest{SchemaVersion: 2, MediaType: manifest},
		Config:   &v1.ConfigFile{OS: "linux", Architecture: "amd64", Config: v1.Config{Labels: map[string]string{}, Env: []string{"CNB_PLATFORM_API=0.15"}}},
	}
	for _, d := range digits {
		i.Manifest.Layers = append(i.Manifest.Layers, v1.Descriptor{MediaType: layer, Digest: hash(string(d)), Size: 1})
		i.Config.RootFS.DiffIDs = append(i.Config.RootFS.DiffIDs, hash(string(d)))
	}
	return i
}

// onBase gives an app image of two base layers, and a base to move it to.
func onBase(app, base rebase.Image) (rebase.Image, rebase.Base) {
	label, _ := json.Marshal(cnb.LifecycleMetadata{RunImage: cnb.UsedRunImage{TopLayer: hash("2").String(), RunImage: cnb.RunImage{Image: "run"}}})
	app.Config.Config.Labels[cnb.LifecycleMetadataLabel] = string(label)
	return app, rebase.Base{Image: base, Name: "run", Repository: "run", Digest: hash("f")}
}

// TestMediaTypes has the manifest stay what it is, but for what Docker's cannot hold.
func TestMediaTypes(t *testing.T) {
	const docker, oci = types.DockerManifestSchema2, types.OCIManifestSchema1
	tests := []struct {
		name              string
		app, base         types.MediaType
		appLayer, onLayer types.MediaType
		want              types.MediaType
		layers            []types.MediaType
	}{
		{"OCI on OCI", oci, oci, types.OCILayerZStd, types.OCILayer, oci, []types.MediaType{types.OCILayer, types.OCILayerZStd}},
		{"without its media type", "", oci, types.OCILayer, types.OCILayer, oci, []types.MediaType{types.OCILayer, types.OCILayer}},
		{"Docker on Docker", docker, docker, types.DockerLayer, types.DockerLayer, docker, []types.MediaType{types.DockerLayer, types.DockerLayer}},
		{"OCI on Docker", oci, docker, types.OCIUncompressedLayer, types.DockerLayer, oci, []types.MediaType{types.OCILayer, types.OCIUncompressedLayer}},
		{"Docker on OCI", docker, oci, types.DockerUncompressedLayer, types.OCILayerZStd, oci, []types.MediaType{types.OCILayerZStd, types.OCIUncompressedLayer}},
		{"foreign layers", docker, oci, types.DockerForeignLayer, types.OCILayer, oci, []types.MediaType{types.OCILayer, types.OCIRestrictedLayer}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			app, base := onBase(made(tt.app, tt.appLayer, "123"), made(tt.base, tt.onLayer, "4"))
			r, err := rebase.Rebase(app, base, rebase.Options{})
			if err != nil {
				t.Fatal(err)
			}
			var layers []types.MediaType
			for _, l := range r.Manifest.Layers {
				layers = append(layers, l.MediaType)
			}
			isDocker := r.Manifest.Config.MediaType == types.DockerConfigJSON
			if r.Manifest.MediaType != tt.want || !slices.Equal(layers, tt.layers) || isDocker != (tt.want == docker) {
				t.Errorf("want %s of %v, got %s of %v, configured by %s", tt.want, tt.layers, r.Manifest.MediaType, layers, r.Manifest.Config.MediaType)
			}
			if isDocker == (r.Manifest.Annotations != nil) {
				t.Errorf("annotations %v", r.Manifest.Annotations)
			}
		})
	}
}

// TestArgumentsStay holds that neither app nor base is changed: bases are shared by many
// rebases at once.
func TestArgumentsStay(t *testing.T) {
	app, base := onBase(made(types.OCIManifestSchema1, types.OCILayer, "123"), made(types.OCIManifestSchema1, types.DockerLayer, "45"))
	base.Config.Config.Labels["io.buildpacks.base.id"] = "x"
	before, err := json.Marshal([]any{app, base})
	if err != nil {
		t.Fatal(err)
	}
	r, err := rebase.Rebase(app, base, rebase.Options{})
	if err != nil || r.Unchanged {
		t.Fatalf("want it rebased, got %+v, %v", r, err)
	}
	after, err := json.Marshal([]any{app, base})
	if err != nil || !bytes.Equal(before, after) {
		t.Errorf("they were changed (%v):\n%s\n%s", err, before, after)
	}
}

// FuzzRebase gives any configuration and manifest: what is rebased has the layers of both,
// and a second time it is the same.
func FuzzRebase(f *testing.F) {
	app, base := onBase(made(types.OCIManifestSchema1, types.OCILayer, "123"), made(types.OCIManifestSchema1, types.OCILayer, "45"))
	for _, edit := range []func(*v1.ConfigFile){
		func(*v1.ConfigFile) {},
		func(c *v1.ConfigFile) { c.Config.Env = nil },
		func(c *v1.ConfigFile) { c.Config.Labels = nil },
		func(c *v1.ConfigFile) { c.Config.Labels[cnb.LifecycleMetadataLabel] = `{"stack":{"runImage":{}}}` },
		func(c *v1.ConfigFile) { c.History = []v1.History{{EmptyLayer: true}, {}} },
		func(c *v1.ConfigFile) { c.RootFS.DiffIDs = nil },
	} {
		c := app.Config.DeepCopy()
		edit(c)
		config, _ := json.Marshal(c)
		manifest, _ := json.Marshal(app.Manifest)
		baseConfig, _ := json.Marshal(base.Config)
		f.Add(config, manifest, baseConfig, true)
	}
	f.Fuzz(func(t *testing.T, config, manifest, baseConfig []byte, force bool) {
		var app rebase.Image
		base := base
		base.Config = nil
		if json.Unmarshal(config, &app.Config) != nil || json.Unmarshal(manifest, &app.Manifest) != nil || json.Unmarshal(baseConfig, &base.Config) != nil ||
			app.Config == nil || app.Manifest == nil || base.Config == nil {
			return
		}
		o := rebase.Options{Force: force}
		r, err := rebase.Rebase(app, base, o)
		if err != nil || r.Unchanged {
			return
		}
		n := len(base.Manifest.Layers)
		if !slices.Equal(r.Config.RootFS.DiffIDs[:n], base.Config.RootFS.DiffIDs) || len(r.Config.RootFS.DiffIDs) != len(r.Manifest.Layers) {
			t.Fatalf("layers %v of manifest %v", r.Config.RootFS.DiffIDs, r.Manifest.Layers)
		}
		again, err := rebase.Rebase(r.Image, base, o)
		if err != nil || !again.Unchanged {
			t.Fatalf("the second time: %+v, %v", again, err)
		}
	})
}
