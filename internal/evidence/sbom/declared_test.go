package sbom_test

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/evidence/sbom"
)

// exported is an image as a lifecycle makes it: a layer of bills, and the label that names it.
func exported(t testing.TB, base, app, bills counted) sbom.Image {
	t.Helper()
	label, err := json.Marshal(map[string]any{
		"sbom":       map[string]string{"sha": bills.DiffID},
		"buildpacks": []any{map[string]string{"key": "some/buildpack", "version": "1"}},
		"runImage":   map[string]string{"topLayer": base.DiffID},
	})
	if err != nil {
		t.Fatal(err)
	}
	image := imageOf(base, app, bills)
	image.Labels = map[string]string{"io.buildpacks.lifecycle.metadata": string(label)}
	return image
}

func TestDeclared(t *testing.T) {
	const (
		folder = "layers/sbom/launch/some_buildpack/modules/"
		cdx    = `{"bomFormat":"CycloneDX","components":[{"purl":"pkg:npm/same@1.0.0"},{"purl":"pkg:npm/newer@2.0.0"},{"purl":"pkg:npm/absent@1.0.0"},{"purl":"pkg:npm/any"}]}`
		spdx   = `{"spdxVersion":"SPDX-2.3","packages":[{"externalRefs":[{"referenceType":"purl","referenceLocator":"pkg:npm/absent@1.0.0"}]}]}`
		syft   = `{"artifacts":[{"purl":"pkg:golang/stdlib@go1.26.0"}]}`
	)
	base := layerOf(t, reg("etc/os-release", osRelease))
	app := layerOf(t,
		reg("node_modules/same/package.json", npmText("same", "1.0.0")), reg("node_modules/newer/package.json", npmText("newer", "1.0.0")),
		reg("node_modules/any/package.json", npmText("any", "3.0.0")),
		reg("layers/sbom/launch/other/sbom.cdx.json", `{"bomFormat":"CycloneDX","components":[{"purl":"pkg:npm/lie@1.0.0"}]}`),
	)
	bills := layerOf(t, reg(folder+"sbom.cdx.json", cdx), reg(folder+"sbom.spdx.json", spdx), reg("layers/sbom/launch/other/sbom.syft.json", syft))
	got := contents(t, sbom.New(sbom.Options{}), exported(t, base, app, bills))

	if got.BaseLayers != 1 {
		t.Errorf("%d layers of the base, want 1", got.BaseLayers)
	}
	foundBy := map[string][]string{}
	for _, p := range got.Packages {
		foundBy[p.PURL()] = p.FoundBy
	}
	if diff := cmp.Diff(map[string][]string{
		"pkg:npm/same@1.0.0":         {"image", "some/buildpack"},
		"pkg:npm/newer@1.0.0":        {"image"},
		"pkg:npm/any@3.0.0":          {"image", "some/buildpack"},
		"pkg:npm/absent@1.0.0":       {"some/buildpack"},
		"pkg:golang/stdlib@go1.26.0": {"other"},
	}, foundBy); diff != "" {
		t.Errorf("packages (-want +got):\n%s", diff)
	}
	want := []artifact.Disagreement{
		{Package: "pkg:golang/stdlib@go1.26.0", DeclaredBy: "other", Why: "nothing in the image shows it"},
		{Package: "pkg:npm/absent@1.0.0", DeclaredBy: "some/buildpack", Why: "nothing in the image shows it"},
		{Package: "pkg:npm/newer@2.0.0", DeclaredBy: "some/buildpack", Found: "pkg:npm/newer@1.0.0", Why: `the image has version "1.0.0"`},
	}
	if diff := cmp.Diff(want, got.Disagreements); diff != "" {
		t.Errorf("disagreements (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string(nil), paths(got)[:0:0]); len(paths(got)) != 1 {
		t.Errorf("files %v %s; want os-release only", paths(got), diff)
	}
}

// TestOnlyTheExportersLayerDeclares has an image without the label, and one whose label
// cannot be read: what lies at the place of bills is then nobody's word.
func TestOnlyTheExportersLayerDeclares(t *testing.T) {
	bills := layerOf(t, reg("layers/sbom/launch/b/sbom.cdx.json", `{"bomFormat":"CycloneDX","components":[{"purl":"pkg:npm/lie@1.0.0"}]}`))
	for name, labels := range map[string]map[string]string{
		"none": nil, "garbage": {"io.buildpacks.lifecycle.metadata": "{"},
		"another layer": {"io.buildpacks.lifecycle.metadata": `{"sbom":{"sha":"` + imageDigest + `"}}`},
	} {
		image := imageOf(bills)
		image.Labels = labels
		if got := contents(t, sbom.New(sbom.Options{}), image); len(got.Packages)+len(got.Disagreements) > 0 {
			t.Errorf("%s: %v, %v", name, got.Packages, got.Disagreements)
		}
	}
	image := exported(t, layerOf(t, reg("x", "x")), layerOf(t, reg("y", "y")), bills)
	if got := contents(t, sbom.New(sbom.Options{}), image); len(got.Packages) != 1 {
		t.Errorf("the exporter's own: %v", got.Packages)
	}
}
