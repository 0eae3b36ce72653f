package sbom

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/CycloneDX/cyclonedx-go"
	"github.com/google/go-cmp/cmp"
)

func TestWriteIsTheSameInAnyOrder(t *testing.T) {
	app := Package{Type: "golang", Namespace: "example.com", Name: "shop", Main: true}
	dep := Package{Type: "npm", Namespace: "@scope", Name: "lib", Version: "1.0.0", SHA512: "ab", Licenses: []string{"MIT"}}
	other := Package{Type: "pypi", Name: "flask", Version: "3.0.0+local", SHA256: "cd"}
	path := filepath.Join(t.TempDir(), "app.sbom.cdx.json")
	if err := Write(path, []Package{dep, app, other, dep}); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	again, err := Encode([]Package{other, dep, app})
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(text, again) {
		t.Errorf("another order gives other bytes:\n%s\n%s", text, again)
	}

	var bom cyclonedx.BOM
	if err := cyclonedx.NewBOMDecoder(bytes.NewReader(text), cyclonedx.BOMFileFormatJSON).Decode(&bom); err != nil {
		t.Fatal(err)
	}
	if bom.SerialNumber != "" || bom.Metadata != nil && bom.Metadata.Timestamp != "" {
		t.Error("it has a serial number or a date")
	}
	var got []string
	for _, c := range *bom.Components {
		got = append(got, string(c.Type)+" "+c.PackageURL)
	}
	want := []string{
		"application pkg:golang/example.com/shop",
		"library pkg:npm/%40scope/lib@1.0.0",
		"library pkg:pypi/flask@3.0.0%2Blocal",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestEncodeWantsNames(t *testing.T) {
	for _, p := range []Package{{Type: "npm"}, {Name: "lib"}} {
		if _, err := Encode([]Package{p}); err == nil {
			t.Errorf("%+v was described", p)
		}
	}
}
