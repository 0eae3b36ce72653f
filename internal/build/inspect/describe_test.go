package inspect

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"slices"
	"strings"
	"testing"
	"unicode"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"plimsoll.dev/plimsoll/internal/oci"
)

const (
	seedManifest = `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json",
"config":{"mediaType":"application/vnd.oci.image.config.v1+json","size":2,"digest":"sha256:` + sum + `"},
"layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar+gzip","size":100,"digest":"sha256:` + sum + `"},
{"mediaType":"application/vnd.oci.image.layer.v1.tar+gzip","size":100,"digest":"sha256:` + sum + `"}],
"annotations":{"org.opencontainers.image.source":"https://git.example"}}`
	seedConfig = `{"architecture":"amd64","os":"linux","created":"2026-01-02T03:04:05Z","config":{"User":"1","Env":["A=b"],"Labels":{LABELS}},
"rootfs":{"type":"layers","diff_ids":["sha256:` + bottom + `","sha256:` + sum + `"]},"history":[{"created_by":"RUN true"}]}`
	sum    = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	bottom = "0000000000000000000000000000000000000000000000000000000000000000"
)

// seedLabels are those of an application, a builder, a base and an image of nobody.
func seedLabels() []string {
	return []string{
		`"io.buildpacks.lifecycle.metadata":"{\"app\":[{\"sha\":\"sha256:1\"}],\"sbom\":{\"sha\":\"sha256:` + sum + `\"},\"buildpacks\":[{\"key\":\"a/b\",\"layers\":{\"c\":{\"sha\":\"sha256:2\"}}}],\"runImage\":{\"topLayer\":\"sha256:` + bottom + `\",\"image\":\"run:1\"}}",
		 "io.buildpacks.build.metadata":"{\"processes\":[{\"type\":\"web\",\"command\":\"x\"}]}"`,
		`"io.buildpacks.builder.metadata":"{\"buildpacks\":[{\"id\":\"a/b\"}],\"lifecycle\":{\"version\":\"1\"}}","io.buildpacks.buildpack.layers":"{\"a/b\":{\"\":{}}}","io.buildpacks.buildpack.order":"[]"`,
		`"dev.plimsoll.base":"run"`,
		``,
	}
}

func tarOf(t testing.TB, name, text string) []byte {
	t.Helper()
	var out bytes.Buffer
	archive := tar.NewWriter(&out)
	err := archive.WriteHeader(&tar.Header{Name: name, Typeflag: tar.TypeReg, Size: int64(len(text))})
	if err == nil {
		_, err = io.WriteString(archive, text)
	}
	if err == nil {
		err = archive.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// subjectOf gives an image whose layers all hold the same.
func subjectOf(manifest, config []byte, open func() io.Reader) (*subject, error) {
	m, err := v1.ParseManifest(bytes.NewReader(manifest))
	if err != nil {
		return nil, err
	}
	c, err := v1.ParseConfigFile(bytes.NewReader(config))
	if err != nil {
		return nil, err
	}
	return &subject{
		Manifest: oci.Manifest{Image: m}, config: c,
		open:   func(context.Context, v1.Descriptor) (io.ReadCloser, error) { return io.NopCloser(open()), nil },
		rebase: func(context.Context) *Rebase { return &Rebase{Status: RebaseCurrent} },
	}, nil
}

// FuzzDescribe holds that every image is described, and that its report is JSON which says
// the same and that a terminal may show.
func FuzzDescribe(f *testing.F) {
	for _, labels := range seedLabels() {
		config := []byte(strings.Replace(seedConfig, "LABELS", labels, 1))
		f.Add([]byte(seedManifest), config, tarOf(f, "var/lib/dpkg/status", "Package: a\nVersion: 1\n\nPackage: b\nStatus: install ok installed\n"))
		f.Add([]byte(seedManifest), config, tarOf(f, "layers/sbom/launch/a_b/c/sbom.cdx.json", `{"bomFormat":"CycloneDX","specVersion":"1.6","components":[{"type":"library","name":"x","purl":"pkg:npm/x@1"}]}`))
	}
	f.Fuzz(func(t *testing.T, manifest, config, layer []byte) {
		s, err := subjectOf(manifest, config, func() io.Reader { return bytes.NewReader(layer) })
		if err != nil {
			return // such an image is refused before it is described
		}
		image, err := describe(t.Context(), s)
		if err != nil {
			t.Fatalf("it is not described: %v", err)
		}
		text, err := json.Marshal(Report{Image: image})
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range string(text) {
			if unicode.IsControl(c) {
				t.Errorf("the JSON holds %U", c)
			}
		}
		var back Report
		if err := json.Unmarshal(text, &back); err != nil {
			t.Fatal(err)
		}
		again, err := json.Marshal(back)
		if err != nil || string(again) != string(text) {
			t.Errorf("the JSON says something else when it is read: %v\n%s\n%s", err, text, again)
		}
	})
}

// endless is a tar of one file that does not end.
type endless struct{}

func (endless) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// TestEndlessLayersAreLeft holds that a layer that unpacks to more than anybody wants is
// neither read to its end nor the end of the report.
func TestEndlessLayersAreLeft(t *testing.T) {
	var start bytes.Buffer
	if err := tar.NewWriter(&start).WriteHeader(&tar.Header{Name: "zeros", Typeflag: tar.TypeReg, Size: 1 << 50}); err != nil {
		t.Fatal(err)
	}
	for i, want := range []Unknown{
		{"packages of the application", "the layer of its bills of materials cannot be read: it is too large to be read here"},
		{"packages", "no dpkg inventory is in the lowest 0 of its 2 layers (layer 1: it is too large to be read here)"},
	} {
		config := []byte(strings.Replace(seedConfig, "LABELS", seedLabels()[3*i], 1))
		s, err := subjectOf([]byte(seedManifest), config, func() io.Reader { return io.MultiReader(bytes.NewReader(start.Bytes()), endless{}) })
		if err != nil {
			t.Fatal(err)
		}
		s.Image.Layers[0].Annotations = map[string]string{oci.LayerAnnotation: "a"}
		if i == 1 {
			s.Image.Layers[0].Annotations = nil
		}
		image, err := describe(t.Context(), s)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Contains(image.NotKnown, want) {
			t.Errorf("want %v in %v", want, image.NotKnown)
		}
	}
}
