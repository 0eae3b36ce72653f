package facts

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/evidence/attest"
	"plimsoll.dev/plimsoll/internal/evidence/malware"
	"plimsoll.dev/plimsoll/internal/evidence/provenance"
	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/oci"
)

// TestFactsOfAnImage gathers what is known of an image that plimsoll made and signed.
func TestFactsOfAnImage(t *testing.T) {
	b := newBed(t)
	image := shopImage(t)
	d := b.push(t, image)
	commit := strings.Repeat("ab", 20)
	run := provenance.Run{ID: "1", Started: morning, Finished: morning.Add(time.Minute), Versions: map[string]string{}}
	predicate, err := provenance.Build{
		Parameters: provenance.BuildParameters{Source: provenance.SourceParameters{Ref: "main"}, Platform: "linux/amd64"},
		Source:     artifact.Source{Kind: artifact.GitSource, Location: "https://git.example/shop", Revision: commit, Digest: d.Digest.String(), Clean: true},
	}.Predicate(run)
	if err != nil {
		t.Fatal(err)
	}
	b.issue(t, d, image, saying(d, artifact.PredicateProvenance, string(predicate)),
		saying(d, artifact.PredicateTestResult, `{"result":"WARNED","configuration":[],"passedTests":["starts"],"warnedTests":["slow"]}`))
	got := b.gather(t, d)
	if len(got.Unknown) > 0 || got.Contents == nil || got.Contents.Image != d.Digest.String() {
		t.Fatalf("unknown: %v; contents %v", got.Unknown, got.Contents)
	}

	manifest, err := image.Manifest()
	if err != nil {
		t.Fatal(err)
	}
	size := manifest.Config.Size
	for _, l := range manifest.Layers {
		size += l.Size
	}
	want := artifact.Facts{
		Image: artifact.ImageFacts{
			Repository: "team/shop", Digest: d.Digest.String(), Tags: []string{"1", "2"}, Kind: artifact.KindImage, MediaType: string(types.OCIManifestSchema1),
			Platform: "linux/amd64", Created: morning, Pushed: morning, Size: size, Layers: 2, User: "1000:1000",
			Labels:     map[string]string{"team": "ships", "io.buildpacks.lifecycle.metadata": fmt.Sprintf(`{"runImage":{"topLayer":%q}}`, got.Contents.Layers[0])},
			Entrypoint: []string{"/cnb/process/web"}, Command: []string{"--port", "8080"}, Ports: []string{"8080/tcp"},
		},
		Source:     &artifact.SourceFacts{Kind: "git", URL: "https://git.example/shop", Revision: commit, Ref: "main", Clean: true},
		Provenance: &artifact.ProvenanceFacts{Builder: provenance.Platform, BuildType: provenance.BuildType, By: "release", Started: morning, Finished: morning.Add(time.Minute), Level: 1},
		SBOM:       &artifact.SBOMFacts{Formats: []string{"cyclonedx", "spdx"}, Packages: 2, Complete: true},
		Tests:      &artifact.TestFacts{Result: "WARNED", Passed: []string{"starts"}},
		Hardening:  &artifact.HardeningFacts{NumericUser: true, Shells: []string{"/bin/sh"}},
		Signatures: []artifact.SignatureFacts{{By: "release"}},
		Packages:   got.Contents.Packages, InBase: []bool{true, false}, Licenses: []string{"MIT"},
	}
	if diff := cmp.Diff(want, got.Facts, cmpopts.EquateEmpty(), cmpopts.IgnoreFields(artifact.HardeningFacts{}, "Checks")); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if got := got.Facts.Hardening.Checks; got["CIS-DI-4.1"] != "PASS" || got["PLM-1"] != "WARN" {
		t.Errorf("checks %v", got)
	}
	if got.Facts.Packages[0].Name != "libc6" || got.Facts.Findings != nil {
		t.Errorf("%v, findings %v", got.Facts.Packages, got.Facts.Findings)
	}
}

// TestStrangersSayNothing signs everything with a key that nobody trusts.
func TestStrangersSayNothing(t *testing.T) {
	b := newBed(t)
	image := shopImage(t)
	d := b.push(t, image)
	b.issue(t, d, image, saying(d, artifact.PredicateProvenance, `{"runDetails":{"builder":{"id":"x"}}}`), saying(d, artifact.PredicateTestResult, `{"result":"PASSED"}`), saying(d, artifact.PredicateMalware, `{"result":"clean"}`))
	b.key = newKey(t)
	f := b.gather(t, d).Facts
	if f.Provenance != nil || f.Source != nil || f.SBOM != nil || f.Tests != nil || f.Malware != nil || f.Signatures == nil || len(f.Signatures) > 0 {
		t.Errorf("a stranger is believed: %+v", f)
	}
	if len(f.Packages) != 2 || f.Hardening == nil {
		t.Errorf("what the layers show is not known: %+v", f)
	}
}

// TestBillsAreHeldAgainstTheLayers signs bills that leave out, that add, and that are none.
func TestBillsAreHeldAgainstTheLayers(t *testing.T) {
	const libc, lodash = "pkg:deb/debian/libc6@2.41-12?arch=amd64&distro=debian-13&upstream=glibc", "pkg:npm/lodash@4.17.20"
	spdx := func(purls ...string) string {
		var packages []string
		for _, p := range purls {
			packages = append(packages, fmt.Sprintf(`{"name":"x","externalRefs":[{"referenceType":"purl","referenceLocator":%q}]}`, p))
		}
		return `{"spdxVersion":"SPDX-2.3","packages":[` + strings.Join(packages, ",") + `]}`
	}
	for _, tt := range []struct {
		name, reason string
		kind, bill   string
		want         artifact.SBOMFacts
	}{
		{"all", "qualifiers are each tool's own", artifact.PredicateSPDX, spdx("pkg:deb/debian/libc6@2.41-12?distro=debian", lodash), artifact.SBOMFacts{Formats: []string{"spdx"}, Packages: 2}},
		{"with a version of the format", "in-toto writes one", artifact.PredicateSPDX + "/v2.3", spdx(libc, lodash), artifact.SBOMFacts{Formats: []string{"spdx"}, Packages: 2}},
		{"one is left out", "the layers hold it all the same", artifact.PredicateSPDX, spdx(lodash), artifact.SBOMFacts{Formats: []string{"spdx"}, Packages: 1, Unlisted: []string{libc}}},
		{"one is too many", "the layers do not hold it", artifact.PredicateSPDX, spdx(libc, lodash, "pkg:npm/left-pad@1.0.0"), artifact.SBOMFacts{Formats: []string{"spdx"}, Packages: 3, Absent: []string{"pkg:npm/left-pad@1.0.0"}}},
		{"one of a kind that is not read", "nothing tells whether it is there", artifact.PredicateSPDX, spdx(libc, lodash, "pkg:swift/a/b@1.0.0", "pkg:generic/x@1"), artifact.SBOMFacts{Formats: []string{"spdx"}, Packages: 4}},
		{"without a version", "it is the one that is there", artifact.PredicateSPDX, spdx(libc, lodash, "pkg:npm/lodash"), artifact.SBOMFacts{Formats: []string{"spdx"}, Packages: 3}},
		{"another version", "it is another package", artifact.PredicateSPDX, spdx(libc, "pkg:npm/lodash@4.17.21"), artifact.SBOMFacts{Formats: []string{"spdx"}, Packages: 2, Unlisted: []string{lodash}, Absent: []string{"pkg:npm/lodash@4.17.21"}}},
		{"not to be read", "it names nothing", artifact.PredicateSPDX, `{"spdxVersion":"SPDX-2.3","packages":7}`, artifact.SBOMFacts{Unlisted: []string{libc, lodash}}},
		{"of another format", "it is what it says, not what its type says", artifact.PredicateCycloneDX, spdx(libc, lodash), artifact.SBOMFacts{Unlisted: []string{libc, lodash}}},
		{"deep", "components lie in components", artifact.PredicateCycloneDX, `{"bomFormat":"CycloneDX",` + strings.Repeat(`"components":[{`, 2000) + strings.Repeat(`}]`, 2000) + `}`, artifact.SBOMFacts{Unlisted: []string{libc, lodash}}},
		{"wide", "there are too many", artifact.PredicateSPDX, `{"spdxVersion":"SPDX-2.3","packages":[{}` + strings.Repeat(`,{}`, 300_000) + `]}`, artifact.SBOMFacts{Unlisted: []string{libc, lodash}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBed(t)
			d := b.push(t, shopImage(t))
			b.sign(t, d, saying(d, tt.kind, tt.bill))
			tt.want.Complete = true
			got := b.gather(t, d).Facts.SBOM
			if diff := cmp.Diff(&tt.want, got, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("%s (-want +got)\n%s", tt.reason, diff)
			}
		})
	}
}

// TestAnotherImagesEvidence holds that a report of one image says nothing of another.
func TestAnotherImagesEvidence(t *testing.T) {
	b := newBed(t)
	image := shopImage(t)
	d := b.push(t, image)
	b.issue(t, d, image, saying(d, artifact.PredicateTestResult, `{"result":"PASSED"}`))
	other, err := mutate.Config(image, v1.Config{User: "0"})
	if err != nil {
		t.Fatal(err)
	}
	stranger := b.push(t, other)
	_, err = b.gatherer.Gather(t.Context(), b.session, b.ref.At(stranger.Digest), Subject{Report: b.verified(t, d, b.key)})
	if fault.KindOf(err) != fault.Denied {
		t.Errorf("got %v, want a refusal", err)
	}
	if f := b.gather(t, stranger).Facts; f.Tests != nil || len(f.Signatures) > 0 {
		t.Errorf("its neighbour's evidence counts: %+v", f)
	}
	contents := b.gather(t, d).Contents
	raw, config := rawOf(t, other)
	_, err = Of(Input{Repository: "x", MediaType: string(types.OCIManifestSchema1), Manifest: raw, Config: config, Contents: contents})
	if fault.KindOf(err) != fault.Denied {
		t.Errorf("the account of another image's layers: got %v, want a refusal", err)
	}
}

func rawOf(t testing.TB, image v1.Image) (manifest, config []byte) {
	t.Helper()
	manifest, err := image.RawManifest()
	if err != nil {
		t.Fatal(err)
	}
	if config, err = image.RawConfigFile(); err != nil {
		t.Fatal(err)
	}
	return manifest, config
}

// TestALayerThatCannotBeRead leaves unknown what only the layers tell.
func TestALayerThatCannotBeRead(t *testing.T) {
	b := newBed(t)
	image := shopImage(t)
	manifest, err := image.Manifest()
	if err != nil {
		t.Fatal(err)
	}
	_, config := rawOf(t, image)
	b.blob(t, config)
	junk := []byte("this is no layer")
	manifest = manifest.DeepCopy()
	manifest.Layers[0] = b.blob(t, junk)
	manifest.Layers[0].MediaType = types.OCILayer
	manifest.Layers[1] = manifest.Layers[0]
	d := b.manifest(t, types.OCIManifestSchema1, encode(t, manifest))
	got := b.gather(t, d)
	if f := got.Facts; f.Image.Kind != artifact.KindImage || f.Packages != nil || f.Hardening != nil || f.Licenses != nil || len(got.Unknown) != 1 {
		t.Errorf("unknown because of %v: %+v", got.Unknown, f)
	}
}

// TestNoConfiguration reads a manifest that names none, and one that names too large a one.
func TestNoConfiguration(t *testing.T) {
	manifest := func(config string) *registryOf {
		return &registryOf{raw: []byte(`{"schemaVersion":2,"mediaType":"` + ofImage + `"` + config + `,"layers":[]}`)}
	}
	for name, r := range map[string]*registryOf{
		"none":      manifest(""),
		"too large": manifest(`,"config":{"mediaType":"x","size":9000000,"digest":"` + diffID + `"}`),
	} {
		registries := &oci.Registries{Local: func(context.Context) (http.RoundTripper, error) { return r, nil }}
		ref, err := oci.Parse("shop@" + describe(t, "", r.raw).Digest.String())
		if err != nil {
			t.Fatal(err)
		}
		_, err = (&Gatherer{}).Gather(t.Context(), registries.Session(), ref, Subject{})
		if fault.KindOf(err) != fault.Denied || r.blobs > 0 {
			t.Errorf("%s: got %v after %d blobs, want a refusal", name, err, r.blobs)
		}
	}
}

// registryOf is a registry of one manifest, such as none would take.
type registryOf struct {
	raw   []byte
	blobs int
}

func (r *registryOf) RoundTrip(request *http.Request) (*http.Response, error) {
	answer := httptest.NewRecorder()
	if strings.Contains(request.URL.Path, "/blobs/") {
		r.blobs++
	}
	answer.Header().Set("Content-Type", ofImage)
	_, err := answer.Write(r.raw)
	result := answer.Result()
	result.Request = request
	return result, err
}

// TestAScannerThatDoesNotAnswer gives no facts rather than facts without its word.
func TestAScannerThatDoesNotAnswer(t *testing.T) {
	b := newBed(t)
	d := b.push(t, shopImage(t))
	clamd, err := malware.NewClamd(filepath.Join(t.TempDir(), "clamd.ctl"))
	if err != nil {
		t.Fatal(err)
	}
	b.gatherer.Malware = malware.New(clamd, "", malware.Options{})
	if _, err := b.gatherer.Gather(t.Context(), b.session, b.ref.At(d.Digest), Subject{}); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("got %v, want that it is to be tried again", err)
	}
}

// TestAnIndex gathers what is known of an index, of which one child is missing.
func TestAnIndex(t *testing.T) {
	b := newBed(t)
	child := b.push(t, shopImage(t))
	missing := describe(t, types.OCIManifestSchema1, []byte("nowhere"))
	attestations := describe(t, types.OCIManifestSchema1, []byte("attestations"))
	attestations.Platform = &v1.Platform{OS: "unknown", Architecture: "unknown"}
	attestations.Annotations = map[string]string{"vnd.docker.reference.type": "attestation-manifest"}
	disguised := describe(t, types.OCIManifestSchema1, []byte("disguised"))
	disguised.Platform, disguised.Annotations = &v1.Platform{OS: "linux", Architecture: "amd64"}, attestations.Annotations
	raw := encode(t, v1.IndexManifest{SchemaVersion: 2, MediaType: types.OCIImageIndex, Manifests: []v1.Descriptor{child, missing, child, attestations, disguised}, Annotations: map[string]string{"a": "b"}})
	f, err := Of(Input{Repository: "team/shop", MediaType: string(types.OCIImageIndex), Manifest: raw})
	if err != nil {
		t.Fatal(err)
	}
	want := artifact.Facts{
		Image: artifact.ImageFacts{
			Repository: "team/shop", Digest: describe(t, "", raw).Digest.String(), Kind: artifact.KindIndex, MediaType: string(types.OCIImageIndex), Annotations: map[string]string{"a": "b"},
		},
		Children: []string{child.Digest.String(), missing.Digest.String(), disguised.Digest.String()},
	}
	if diff := cmp.Diff(want, f, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}

	index, err := random.Index(100, 1, 2)
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range manifest.Manifests {
		image, err := index.Image(m.Digest)
		if err != nil {
			t.Fatal(err)
		}
		b.push(t, image)
	}
	if raw, err = index.RawManifest(); err != nil {
		t.Fatal(err)
	}
	d := b.manifest(t, manifest.MediaType, raw)
	b.sign(t, d, attest.Sign(d.Digest))
	got := b.gather(t, d)
	if len(got.Facts.Children) != 2 || len(got.Facts.Signatures) != 1 || got.Contents != nil || got.Facts.Packages != nil {
		t.Errorf("%+v", got)
	}
}

// TestLayersOfAnother: an image that names the layers of one that is known, and carries others,
// has none of what is known of those.
func TestLayersOfAnother(t *testing.T) {
	b := newBed(t)
	image := shopImage(t)
	if got := b.gather(t, b.push(t, image)); got.Contents == nil || got.Facts.Hardening == nil {
		t.Fatalf("unknown because of %v", got.Unknown)
	}
	evil := layerOf(t, file{name: "bin/sh", text: "\x7fELF evil", mode: 0o4111})
	packed, err := evil.Compressed()
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(packed)
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := image.Manifest()
	if err != nil {
		t.Fatal(err)
	}
	lie := manifest.DeepCopy()
	top := &lie.Layers[len(lie.Layers)-1]
	top.Digest, top.Size = b.blob(t, data).Digest, int64(len(data))
	got := b.gather(t, b.manifest(t, lie.MediaType, encode(t, lie)))
	if f := got.Facts; got.Contents != nil || f.Packages != nil || f.Hardening != nil || f.Base != nil || len(got.Unknown) != 1 || fault.KindOf(got.Unknown[0]) != fault.Denied {
		t.Errorf("unknown because of %v: %+v", got.Unknown, f)
	}
}
