package facts

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/fault"
)

func encode(t testing.TB, value any) []byte {
	t.Helper()
	raw, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

const (
	diffID   = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	ofImage  = string(types.OCIManifestSchema1)
	ofIndex  = string(types.OCIImageIndex)
	runnable = `{"os":"linux","architecture":"amd64","config":{},"rootfs":{"type":"layers","diff_ids":["` + diffID + `"]}}`
	chart    = `{"name":"shop","version":"1.0.0"}`
)

// of gives a manifest of that configuration with one layer.
func of(t testing.TB, config string, configType, layerType string, more string) string {
	t.Helper()
	d := describe(t, types.MediaType(configType), []byte(config))
	return fmt.Sprintf(`{"schemaVersion":2%s,"config":%s,"layers":[{"mediaType":%q,"size":10,"digest":%q}]}`, more, encode(t, d), layerType, diffID)
}

// TestShapes holds that what a runtime would start is an image, whatever it says that it is,
// and that what two readers could take for two things is refused.
func TestShapes(t *testing.T) {
	const layer, helm = string(types.OCILayer), "application/vnd.cncf.helm.config.v1+json"
	index := `{"schemaVersion":2,"manifests":[]}`
	for _, tt := range []struct {
		name, reason             string
		served, manifest, config string
		kind                     artifact.Kind // "" is refused
		artifactType             string
	}{
		{"an image", "of OCI", ofImage, of(t, runnable, string(types.OCIConfigJSON), layer, ""), runnable, artifact.KindImage, ""},
		{"an image", "of Docker", string(types.DockerManifestSchema2), of(t, runnable, string(types.DockerConfigJSON), string(types.DockerLayer), ""), runnable, artifact.KindImage, ""},
		{"a chart", "its configuration has no layers to mount", ofImage, of(t, chart, helm, layer, ""), chart, artifact.KindArtifact, helm},
		{"an artifact", "it names its type", ofImage, of(t, `{}`, "application/vnd.oci.empty.v1+json", "text/plain", `,"artifactType":"application/x"`), `{}`, artifact.KindArtifact, "application/x"},
		{"a configuration that is no object", "no runtime reads it", ofImage, of(t, `[1]`, helm, layer, ""), `[1]`, artifact.KindArtifact, helm},
		{"an image without rootfs", "no runtime starts it", ofImage, of(t, `{"os":"linux","config":{}}`, string(types.OCIConfigJSON), layer, ""), `{"os":"linux","config":{}}`, artifact.KindArtifact, string(types.OCIConfigJSON)},
		{"an image dressed as a chart", "a runtime does not look at the type of a configuration", ofImage, of(t, runnable, helm, layer, `,"artifactType":"application/x"`), runnable, artifact.KindImage, "application/x"},
		{"an image with layers of an odd type", "some runtimes leave those out, or know them", ofImage, of(t, runnable, helm, "application/wasm", ""), runnable, artifact.KindImage, ""},
		{"rootfs in capitals", "Go's reader takes it for rootfs", ofImage, of(t, strings.Replace(runnable, "rootfs", "RootFS", 1), helm, layer, ""), strings.Replace(runnable, "rootfs", "RootFS", 1), "", ""},
		{"rootfs twice", "readers differ in which counts", ofImage, of(t, runnable[:len(runnable)-1]+`,"rootfs":{}}`, helm, layer, ""), runnable[:len(runnable)-1] + `,"rootfs":{}}`, "", ""},
		{"layers of an unknown hash", "a runtime may know it", ofImage, of(t, strings.Replace(runnable, "sha256:", "sha999:", 1), helm, layer, ""), strings.Replace(runnable, "sha256:", "sha999:", 1), "", ""},
		{"an index", "of OCI", ofIndex, index, "", artifact.KindIndex, ""},
		{"an index served as an image", "the registry says so", ofImage, index, "", "", ""},
		{"an image served as an index", "the registry says so", ofIndex, of(t, runnable, helm, layer, ""), runnable, "", ""},
		{"a manifest of another type than it is served by", "it says so itself", ofImage, of(t, runnable, helm, layer, `,"mediaType":"`+ofIndex+`"`), runnable, "", ""},
		{"both at once", "readers differ", ofImage, of(t, runnable, helm, layer, `,"manifests":[]`), runnable, "", ""},
		{"both at once", "readers differ", ofIndex, of(t, runnable, helm, layer, `,"manifests":[]`), runnable, "", ""},
		{"layers twice", "readers differ in which counts", ofImage, of(t, runnable, helm, layer, `,"layers":[]`), runnable, "", ""},
		{"layers in capitals beside", "Go's reader takes the last", ofImage, of(t, runnable, helm, layer, `,"Layers":[]`), runnable, "", ""},
		{"no configuration", "nothing tells what it is", ofImage, `{"schemaVersion":2,"layers":[]}`, "", "", ""},
		{"a manifest of the first schema", "nothing here reads it", "application/vnd.docker.distribution.manifest.v1+json", `{"schemaVersion":1,"fsLayers":[]}`, "", "", ""},
		{"another configuration", "it is not what the manifest names", ofImage, of(t, runnable, helm, layer, ""), chart, "", ""},
		{"no JSON", "it is none", ofImage, `{`, "", "", ""},
		{"deep", "it is a bomb", ofImage, strings.Repeat(`{"annotations":`, 20000), "", "", ""},
		{"deep, and whole", "it is a bomb", ofIndex, `{"manifests":[],"x":` + strings.Repeat(`[`, 5000) + strings.Repeat(`]`, 5000) + `}`, "", "", ""},
	} {
		t.Run(tt.name+", "+tt.reason, func(t *testing.T) {
			f, err := Of(Input{Repository: "team/shop", MediaType: tt.served, Manifest: []byte(tt.manifest), Config: []byte(tt.config)})
			if tt.kind == "" {
				if fault.KindOf(err) != fault.Denied {
					t.Errorf("got %v and kind %q, want a refusal", err, f.Image.Kind)
				}
				return
			}
			if err != nil || f.Image.Kind != tt.kind || f.Image.ArtifactType != tt.artifactType {
				t.Errorf("%v: kind %q, type %q, want %q, %q", err, f.Image.Kind, f.Image.ArtifactType, tt.kind, tt.artifactType)
			}
		})
	}
}

// FuzzShape holds that nothing that Go's reader takes for an image with layers is anything
// else, and that nothing that it takes for an index is an image.
func FuzzShape(f *testing.F) {
	const digest = "DIGEST" // stands for the configuration's in a manifest, so that both may change
	add := func(config, more string) {
		manifest := of(f, config, "x", string(types.OCILayer), more)
		f.Add(ofImage, strings.ReplaceAll(manifest, describe(f, "", []byte(config)).Digest.String(), digest), config)
	}
	add(runnable, "")
	add(chart, `,"LAYERS":null,"mediaType":""`)
	add(`{"RootFS":{"diff_ids":[]},"rootfs":null}`, `,"artifactType":"x"`)
	f.Add(ofIndex, `{"manifests":[{"digest":"`+diffID+`"}]}`, "")
	f.Fuzz(func(t *testing.T, served, manifest, config string) {
		manifest = strings.ReplaceAll(manifest, digest, describe(t, "", []byte(config)).Digest.String())
		facts, err := Of(Input{Repository: "x", MediaType: served, Manifest: []byte(manifest), Config: []byte(config)})
		if err != nil {
			return
		}
		var m v1.Manifest
		var i v1.IndexManifest
		var c struct {
			RootFS struct {
				DiffIDs []string `json:"diff_ids"`
			} `json:"rootfs"`
		}
		if json.Unmarshal([]byte(manifest), &m) == nil && json.Unmarshal([]byte(config), &c) == nil && len(m.Layers) > 0 && len(c.RootFS.DiffIDs) > 0 && facts.Image.Kind != artifact.KindImage {
			t.Errorf("a runtime would start it, and it passes for %q", facts.Image.Kind)
		}
		if json.Unmarshal([]byte(manifest), &i) == nil && len(i.Manifests) > 0 && facts.Image.Kind != artifact.KindIndex {
			t.Errorf("a runtime would take a child of it, and it passes for %q", facts.Image.Kind)
		}
	})
}
