package inspect_test

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"sigs.k8s.io/yaml"

	"plimsoll.dev/plimsoll/internal/build/cnb"
	"plimsoll.dev/plimsoll/internal/build/inspect"
)

const bash = "Package: bash\nStatus: install ok installed\nVersion: 5.2\nDescription: a shell\n with a long text\n\n"

func installed(name, version string) string {
	return "Package: " + name + "\nStatus: install ok installed\nVersion: " + version + "\n\n"
}

// noise is a file that makes its layer larger than those that are looked at on the way.
func noise(size int) string {
	var out strings.Builder
	for x := uint32(1); out.Len() < size; { // xorshift: gzip cannot make it smaller
		x ^= x << 13
		x ^= x >> 17
		x ^= x << 5
		out.WriteByte(byte(x))
	}
	return out.String()
}

func TestForeignLayers(t *testing.T) {
	const status, dir = "var/lib/dpkg/status", "var/lib/dpkg/status.d/"
	large := noise(300 << 10)
	tests := []struct {
		name   string
		layers []layerSpec
		want   []holds
		gap    string // what is not known of the packages
	}{{
		name: "a system, packages upon it, an application",
		layers: []layerSpec{
			{files: map[string]string{status: bash + installed("libc6", "2.41") + installed("apt", "3")}, createdBy: "/bin/sh -c #(nop) ADD file:1 in / "},
			{files: map[string]string{status: installed("libc6", "2.41") + installed("curl", "8") + "Package: old\nStatus: deinstall ok config-files\nVersion: 1\n\n" + bash}, createdBy: "RUN /bin/sh -c apt-get install curl # buildkit"},
			{files: map[string]string{"app/main": large}},
			{files: map[string]string{"app/data": large, status: installed("unread", "1")}},
		},
		want: []holds{
			{inspect.PartOther, "ADD file:1 in /", inspect.ToldByInventory, "deb/apt 3, deb/bash 5.2, deb/libc6 2.41", ""},
			{inspect.PartOther, "RUN /bin/sh -c apt-get install curl", inspect.ToldByInventory, "deb/curl 8", "apt"},
			{inspect.PartOther, "layer 3", inspect.ToldByInventory, "", ""},
			{inspect.PartOther, "layer 4", "", "", ""},
		},
		gap: "only the lowest 3 of its 4 layers were read; those above may bring more",
	}, {
		name: "an inventory of a file for each package, small layers between",
		layers: []layerSpec{
			{files: map[string]string{dir + "base": "Package: base-files\nVersion: 13\n", dir + "base.md5sums": "1  usr/x\n"}},
			{files: map[string]string{"etc/passwd": "root"}},
			{files: map[string]string{"./" + dir + "libc6": "Package: libc6\nVersion: 2.41"}},
			{files: map[string]string{dir + ".wh.base-files": ""}},
		},
		want: []holds{
			{inspect.PartOther, "layer 1", inspect.ToldByInventory, "deb/base-files 13", ""},
			{inspect.PartOther, "layer 2", inspect.ToldByInventory, "", ""},
			{inspect.PartOther, "layer 3", inspect.ToldByInventory, "deb/libc6 2.41", ""},
			{inspect.PartOther, "layer 4", inspect.ToldByInventory, "", "base-files"},
		},
	}, {
		name:   "nothing that lists packages",
		layers: []layerSpec{{files: map[string]string{"app": large}}, {files: map[string]string{"more": large}}},
		want:   []holds{{inspect.PartOther, "layer 1", "", "", ""}, {inspect.PartOther, "layer 2", "", "", ""}},
		gap:    "no dpkg inventory is in the lowest 1 of its 2 layers",
	}, {
		name:   "no tar",
		layers: []layerSpec{{blob: []byte("this is no archive, however long it may be")}},
		want:   []holds{{inspect.PartOther, "layer 1", "", "", ""}},
		gap:    "no dpkg inventory is in the lowest 0 of its 1 layers (layer 1: unexpected EOF)",
	}}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			b := newBed(t)
			b.push("foreign:1", b.image(oneOCI(), nil, test.layers...))
			r := b.inspect("foreign:1", inspect.Options{})
			if diff := cmp.Diff(test.want, layersOf(r)); diff != "" {
				t.Errorf("layers (-want +got):\n%s", diff)
			}
			gap := ""
			for _, u := range r.Image.NotKnown {
				if u.What == "packages" {
					gap = u.Why
				}
			}
			if gap != test.gap {
				t.Errorf("want %q not to be known, got %q", test.gap, gap)
			}
			if r.Image.Kind != inspect.KindForeign || r.Image.Facts[0].Text != "runs as root" {
				t.Errorf("got %+v", r.Image)
			}
		})
	}
}

// TestBaseWithoutAnnotationsIsRead holds that a base without annotations is read, up to
// where it ends.
func TestBaseWithoutAnnotationsIsRead(t *testing.T) {
	b := newBed(t)
	on := b.push("run:1", b.image(oneOCI(), nil, layerSpec{files: map[string]string{"var/lib/dpkg/status": bash}}, layerSpec{files: map[string]string{"etc/x": "x"}}))
	b.push("shop:1", b.app(on, "run:1", appMaterials(), nil))
	r := b.inspect("shop:1", inspect.Options{})
	want := []holds{
		{inspect.PartBase, "layer 1", inspect.ToldByInventory, "deb/bash 5.2", ""},
		{inspect.PartBase, "layer 2", inspect.ToldByInventory, "", ""},
	}
	if diff := cmp.Diff(want, layersOf(r)[:2]); diff != "" {
		t.Errorf("layers (-want +got):\n%s", diff)
	}
}

func TestUsers(t *testing.T) {
	b := newBed(t)
	for user, want := range map[string]inspect.Fact{
		"":        {Text: "runs as root"},
		"root":    {Text: "runs as root"},
		"0:0":     {Text: "runs as root"},
		"1000":    {Text: "runs as 1000, not as root", Good: true},
		"www:www": {Text: "runs as www: without a number no cluster can tell that it is not root"},
	} {
		b.push("user:1", b.image(oneOCI(), func(c *v1.ConfigFile) { c.Config.User = user }, layerSpec{files: map[string]string{"a": "a"}}))
		want.Name = "user"
		if diff := cmp.Diff(want, b.inspect("user:1", inspect.Options{}).Image.Facts[0]); diff != "" {
			t.Errorf("user %q (-want +got):\n%s", user, diff)
		}
	}
}

func TestHostileImagesAreDescribed(t *testing.T) {
	deep := strings.Repeat("[", 5000) + strings.Repeat("]", 5000)
	tests := []struct {
		name      string
		labels    map[string]string
		materials map[string]string
		note      string // that must be in the report
	}{
		{"no JSON in the build's label", map[string]string{cnb.BuildMetadataLabel: "{"}, nil, "io.buildpacks.build.metadata cannot be read"},
		{"another type in the build's label", map[string]string{cnb.BuildMetadataLabel: `{"processes":7}`}, nil, "io.buildpacks.build.metadata cannot be read"},
		{"no JSON in the lifecycle's label", map[string]string{cnb.LifecycleMetadataLabel: "null,"}, nil, "io.buildpacks.lifecycle.metadata cannot be read"},
		{"a list in the project's label", map[string]string{cnb.ProjectMetadataLabel: deep}, nil, "io.buildpacks.project.metadata cannot be read"},
		{"a label that is too large", map[string]string{cnb.ProjectMetadataLabel: strings.Repeat(" ", 2<<20) + "{}"}, nil, "io.buildpacks.project.metadata cannot be read: it is too large"},
		{"a builder's label that is too large", map[string]string{cnb.BuilderMetadataLabel: "{}", cnb.OrderLabel: strings.Repeat(" ", 2<<20) + "[]"}, nil, "io.buildpacks.buildpack.order cannot be read: it is too large"},
		{"a builder that says nothing", map[string]string{cnb.BuilderMetadataLabel: "{}"}, nil, "it lacks the label io.buildpacks.lifecycle.apis"},
		{"no JSON in a bill of materials", nil, map[string]string{"layers/sbom/launch/test_go/app/sbom.cdx.json": "{"}, "test_go/app/sbom.cdx.json cannot be read"},
		{"a bill of materials that is too large", nil, map[string]string{"layers/sbom/launch/test_go/app/sbom.cdx.json": `{"components":[` + strings.Repeat(" ", 33<<20) + "]}"}, "it is too large"},
		{"components within components without end", nil, map[string]string{"layers/sbom/launch/test_go/app/sbom.cdx.json": strings.Repeat(`{"components":[`, 20) + strings.Repeat(`]}`, 20)}, "it is too large"},
		{"a bill of materials that is a list", nil, map[string]string{"layers/sbom/launch/test_go/app/sbom.cdx.json": `[]`}, `want {, got`},
		{"very many packages", nil, map[string]string{"layers/sbom/launch/test_go/app/sbom.cdx.json": `{"bomFormat":"CycloneDX","specVersion":"1.6","components":[` + strings.Repeat(`{"type":"library","name":"x"},`, 100_001) + `{}]}`}, "more than 100000 packages"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			b := newBed(t)
			run := b.push("run:1", b.base("run", "base-files=13"))
			materials := test.materials
			if materials == nil {
				materials = appMaterials()
			}
			b.push("shop:1", b.app(run, "run:1", materials, func(c *v1.ConfigFile) {
				for name, value := range test.labels {
					c.Config.Labels[name] = value
				}
			}))
			r := b.inspect("shop:1", inspect.Options{})
			if text := b.json(append(r.Image.Notes, b.json(r.Image.NotKnown))); !strings.Contains(text, test.note) {
				t.Errorf("want %q in %s", test.note, text)
			}
		})
	}
}

// TestNothingReachesATerminal holds that no text of an image is written as a terminal, or a
// reader's eye, would take it for something else.
func TestNothingReachesATerminal(t *testing.T) {
	evil := "x\x1b[2J\x07\u009b31m\u202etxt\u2028\x7f"
	b := newBed(t)
	b.push("evil:1", b.image(oneOCI(), func(c *v1.ConfigFile) {
		c.Config.User, c.Config.WorkingDir = evil, evil
		c.Config.Labels["org.opencontainers.image.source"] = evil
		c.Config.Env = []string{"A=" + evil}
	}, layerSpec{files: map[string]string{"var/lib/dpkg/status": installed("p"+evil, evil)}, createdBy: evil}))
	r := b.inspect("evil:1", inspect.Options{})
	text, err := json.MarshalIndent(r, "", " ")
	b.must(err)
	asYAML, err := yaml.Marshal(r)
	b.must(err)
	for _, c := range string(text) {
		if c != '\n' && !unicode.IsPrint(c) {
			t.Errorf("JSON holds %U", c)
		}
	}
	for _, c := range string(asYAML) {
		if c != '\n' && unicode.IsControl(c) {
			t.Errorf("YAML holds %U", c)
		}
	}
	var back inspect.Report
	b.must(json.Unmarshal(text, &back))
	if diff := cmp.Diff(r, &back); diff != "" {
		t.Errorf("the JSON says something else (-want +got):\n%s", diff)
	}
}
