package cyclonedx_test

import (
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	peer "github.com/CycloneDX/cyclonedx-go"
	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/evidence/sbom/bill"
	"plimsoll.dev/plimsoll/internal/evidence/sbom/bill/billtest"
	"plimsoll.dev/plimsoll/internal/evidence/sbom/cyclonedx"
)

func schemaOf(t *testing.T) *jsonschema.Schema {
	t.Helper()
	c := jsonschema.NewCompiler()
	for _, name := range []string{"spdx", "jsf-0.82"} { // the schema asks for them at its own address
		file := name + ".SNAPSHOT.schema.json"
		text, err := os.Open("testdata/" + file)
		if err != nil {
			t.Fatal(err)
		}
		defer text.Close()
		part, err := jsonschema.UnmarshalJSON(text)
		if err == nil {
			err = c.AddResource("http://cyclonedx.org/schema/"+file, part)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	schema, err := c.Compile("testdata/bom-1.6.SNAPSHOT.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

func valid(t *testing.T, schema *jsonschema.Schema, text []byte) error {
	t.Helper()
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return schema.Validate(document)
}

// TestValid holds the bill against CycloneDX's own schema, and against its Go library.
func TestValid(t *testing.T) {
	schema := schemaOf(t)
	for name, c := range billtest.Contents() {
		text := cyclonedx.Encode(c, billtest.About())
		if err := valid(t, schema, text); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		var read peer.BOM
		if err := peer.NewBOMDecoder(bytes.NewReader(text), peer.BOMFileFormatJSON).Decode(&read); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		want := len(c.Packages) + len(c.Files)
		if c.Distro.ID != "" {
			want++
		}
		if len(*read.Components) != want || read.Metadata.Timestamp != "2026-01-02T03:04:05Z" {
			t.Errorf("%s: the library reads %d components, want %d; made %s", name, len(*read.Components), want, read.Metadata.Timestamp)
		}
		refs := map[string]bool{}
		for _, component := range *read.Components {
			refs[component.BOMRef] = true
		}
		if len(refs) != want {
			t.Errorf("%s: %d components have %d names", name, want, len(refs))
		}
		if says := bytes.Contains(text, []byte(`{"name":"plimsoll:unlisted","value":"3"}`)); says != (c.Unlisted == 3) {
			t.Errorf("%s: %d files are not listed, and it does not say so", name, c.Unlisted)
		}
	}
}

// TestTheSchemaRefuses shows that TestValid can fail.
func TestTheSchemaRefuses(t *testing.T) {
	text := cyclonedx.Encode(billtest.Contents()["full"], billtest.About())
	for _, change := range [][2]string{{`"SHA-256"`, `"SHA-0"`}, {`"id":"MIT"`, `"id":"MIT-7"`}, {`"type":"library"`, `"type":"book"`}} {
		if valid(t, schemaOf(t), bytes.Replace(text, []byte(change[0]), []byte(change[1]), 1)) == nil {
			t.Errorf("the schema accepts %s", change[1])
		}
	}
}

func TestDeterministic(t *testing.T) {
	serials := map[string]bool{}
	for name, c := range billtest.Contents() {
		one, two := cyclonedx.Encode(c, billtest.About()), cyclonedx.Encode(c, billtest.About())
		if !bytes.Equal(one, two) {
			t.Errorf("%s: two encodings differ", name)
		}
		var head struct{ SerialNumber string }
		if err := json.Unmarshal(one, &head); err != nil {
			t.Fatal(err)
		}
		serials[head.SerialNumber] = true
	}
	if len(serials) != len(billtest.Contents()) {
		t.Errorf("%d bills have %d serial numbers", len(billtest.Contents()), len(serials))
	}
}

// TestRoundTrip reads what was written. What the form has no place for is left out.
func TestRoundTrip(t *testing.T) {
	want := billtest.Contents()["full"].Packages
	got, err := cyclonedx.Parse(cyclonedx.Encode(billtest.Contents()["full"], billtest.About()))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(billtest.URLs(want), billtest.URLs(got)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestParse(t *testing.T) {
	deep := strings.Repeat(`{"components":[`, 12) + strings.Repeat(`]}`, 12)
	for _, c := range []struct {
		name, in string
		want     []artifact.Package
		fails    bool
	}{
		{name: "no JSON", in: "x", fails: true},
		{name: "another form", in: `{"spdxVersion":"SPDX-2.3"}`, fails: true},
		{name: "too deep", in: `{"bomFormat":"CycloneDX","components":[` + deep + `]}`, fails: true},
		{name: "nothing", in: `{"bomFormat":"CycloneDX"}`, want: []artifact.Package{}},
		{
			name: "components in components, one twice, a file, one without a URL",
			in: `{"bomFormat":"CycloneDX","specVersion":"1.4","components":[
				{"type":"library","name":"a","purl":"pkg:npm/a@1","licenses":[{"license":{"id":"MIT"}},{"expression":"isc"}],
				 "components":[{"type":"library","purl":"pkg:npm/b@2","supplier":{"name":"Jo"}}]},
				{"type":"library","purl":"pkg:npm/a@1"},{"type":"file","purl":"pkg:generic/f"},{"type":"library","name":"c"}]}`,
			want: []artifact.Package{
				{Type: "npm", Name: "a", Version: "1", Licenses: []string{"MIT", "ISC"}}, {Type: "npm", Name: "b", Version: "2", Supplier: "Jo"},
			},
		},
		{
			name: "a distribution's", in: `{"bomFormat":"CycloneDX","components":[{"purl":"pkg:deb/debian/libc6@2.41-1?arch=amd64&distro=debian-13&upstream=glibc"}]}`,
			want: []artifact.Package{{
				Type: "deb", Namespace: "debian", Name: "libc6", Version: "2.41-1", Arch: "amd64", Distro: "debian-13", Source: "glibc", SourceVersion: "2.41-1",
			}},
		},
	} {
		got, err := cyclonedx.Parse([]byte(c.in))
		if (err != nil) != c.fails {
			t.Errorf("%s: %v", c.name, err)
		}
		if diff := cmp.Diff(c.want, got); !c.fails && diff != "" {
			t.Errorf("%s: (-want +got):\n%s", c.name, diff)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(cyclonedx.Encode(billtest.Contents()["full"], billtest.About()))
	f.Add([]byte(`{"bomFormat":"CycloneDX","components":[{"purl":"pkg:npm/a@1","components":[{}]}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		packages, err := cyclonedx.Parse(text)
		if err != nil {
			return
		}
		again, err := cyclonedx.Parse(cyclonedx.Encode(artifact.Contents{Packages: packages}, bill.About{Name: "x", Created: time.Unix(0, 0)}))
		if err != nil {
			t.Fatal(err)
		}
		if len(again) > len(packages) {
			t.Errorf("%d packages became %d", len(packages), len(again))
		}
	})
}

func BenchmarkEncode(b *testing.B) {
	c := billtest.Many(150)
	b.ReportAllocs()
	for b.Loop() {
		cyclonedx.Encode(c, billtest.About())
	}
}
