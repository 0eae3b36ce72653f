package spdx_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"
	reader "github.com/spdx/tools-golang/json"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/evidence/sbom/bill"
	"plimsoll.dev/plimsoll/internal/evidence/sbom/bill/billtest"
	"plimsoll.dev/plimsoll/internal/evidence/sbom/spdx"
)

// TestValid holds the document against SPDX's own schema, and against its Go library.
func TestValid(t *testing.T) {
	schema, err := jsonschema.NewCompiler().Compile("testdata/spdx-2.3.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range billtest.Contents() {
		text := spdx.Encode(c, billtest.About())
		document, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
		if err != nil {
			t.Fatalf("%s: %v\n%s", name, err, text)
		}
		if err := schema.Validate(document); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		read, err := reader.Read(bytes.NewReader(text))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if want := 1 + len(c.Packages); len(read.Packages) != want || len(read.Files) != len(c.Files) {
			t.Errorf("%s: the library reads %d packages and %d files, want %d and %d", name, len(read.Packages), len(read.Files), want, len(c.Files))
		}
		if says := strings.Contains(read.DocumentComment, "3 more files"); says != (c.Unlisted == 3) {
			t.Errorf("%s: %d files are not listed, and its comment is %q", name, c.Unlisted, read.DocumentComment)
		}
	}
}

// TestTheSchemaRefuses shows that TestValid can fail.
func TestTheSchemaRefuses(t *testing.T) {
	schema, err := jsonschema.NewCompiler().Compile("testdata/spdx-2.3.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Replace(string(spdx.Encode(billtest.Contents()["full"], billtest.About())), `"SHA256"`, `"SHA0"`, 1)
	document, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	if schema.Validate(document) == nil {
		t.Error("the schema accepts an unknown algorithm")
	}
}

// TestMinimumElements holds what the NTIA wants at least to know ("The Minimum Elements for
// a Software Bill of Materials", 2021): author, time, and of each part supplier, name,
// version, another identifier and its relationship.
func TestMinimumElements(t *testing.T) {
	c := billtest.Contents()["full"]
	read, err := reader.Read(bytes.NewReader(spdx.Encode(c, billtest.About())))
	if err != nil {
		t.Fatal(err)
	}
	if read.CreationInfo.Created != "2026-01-02T03:04:05Z" || len(read.CreationInfo.Creators) == 0 {
		t.Errorf("creation %+v", read.CreationInfo)
	}
	related := map[string]bool{}
	for _, r := range read.Relationships {
		related[string(r.RefB.ElementRefID)] = true
	}
	for _, p := range read.Packages {
		switch {
		case p.PackageName == "", p.PackageSupplier == nil, len(p.PackageExternalReferences) == 0:
			t.Errorf("package %+v lacks an element", p)
		case !related[string(p.PackageSPDXIdentifier)]:
			t.Errorf("%s stands alone", p.PackageSPDXIdentifier)
		}
	}
}

func TestDeterministic(t *testing.T) {
	for name, c := range billtest.Contents() {
		one, two := spdx.Encode(c, billtest.About()), spdx.Encode(c, billtest.About())
		if !bytes.Equal(one, two) {
			t.Errorf("%s: two encodings differ", name)
		}
	}
	c := billtest.Contents()["full"]
	names := map[string]bool{}
	for _, about := range []bill.About{billtest.About(), {Name: "other"}} {
		names[namespace(t, spdx.Encode(c, about))] = true
	}
	c.Packages = c.Packages[1:]
	names[namespace(t, spdx.Encode(c, billtest.About()))] = true
	if len(names) != 3 {
		t.Errorf("three documents have %d namespaces", len(names))
	}
}

func namespace(t *testing.T, text []byte) string {
	t.Helper()
	var d struct{ DocumentNamespace string }
	if err := json.Unmarshal(text, &d); err != nil {
		t.Fatal(err)
	}
	return d.DocumentNamespace
}

// TestRoundTrip reads what was written. What the form has no place for is left out.
func TestRoundTrip(t *testing.T) {
	got, err := spdx.Parse(spdx.Encode(billtest.Contents()["full"], billtest.About()))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(billtest.URLs(billtest.Contents()["full"].Packages), billtest.URLs(got)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestParse(t *testing.T) {
	for _, c := range []struct {
		name, in string
		want     []artifact.Package
		fails    bool
	}{
		{name: "no JSON", in: "x", fails: true},
		{name: "another form", in: `{"bomFormat":"CycloneDX"}`, fails: true},
		{name: "SPDX 3", in: `{"spdxVersion":"SPDX-3.0"}`, fails: true},
		{name: "a list that is none", in: `{"spdxVersion":"SPDX-2.2","packages":{}}`, fails: true},
		{name: "nothing", in: `{"spdxVersion":"SPDX-2.2"}`, want: []artifact.Package{}},
		{
			name: "a package",
			in: `{"spdxVersion":"SPDX-2.2","packages":[{"name":"x","licenseDeclared":"mit","supplier":"Person: Jo",
				"externalRefs":[{"referenceType":"cpe23Type","referenceLocator":"x"},{"referenceType":"purl","referenceLocator":"pkg:golang/github.com/BurntSushi/toml@v1.0.0"}]},
				{"name":"without a URL"}]}`,
			want: []artifact.Package{{Type: "golang", Namespace: "github.com/BurntSushi", Name: "toml", Version: "v1.0.0", Licenses: []string{"MIT"}, Supplier: "Jo"}},
		},
	} {
		got, err := spdx.Parse([]byte(c.in))
		if (err != nil) != c.fails {
			t.Errorf("%s: %v", c.name, err)
		}
		if diff := cmp.Diff(c.want, got); !c.fails && diff != "" {
			t.Errorf("%s: (-want +got):\n%s", c.name, diff)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(spdx.Encode(billtest.Contents()["full"], billtest.About()))
	f.Add([]byte(`{"spdxVersion":"SPDX-2.3","packages":[{"externalRefs":[{"referenceType":"purl","referenceLocator":"pkg:npm/%40a/b@1"}]}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		packages, err := spdx.Parse(text)
		if err != nil {
			return
		}
		c := artifact.Contents{Packages: packages}
		again, err := spdx.Parse(spdx.Encode(c, bill.About{Name: "x", Created: time.Unix(0, 0)}))
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
		spdx.Encode(c, billtest.About())
	}
}
