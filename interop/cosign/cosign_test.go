package cosign

import (
	"encoding/json"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/evidence/attest"
)

// TestCosignVerifiesOurs has cosign verify what plimsoll issued, in both formats and with
// the keys that are wrong for it.
func TestCosignVerifiesOurs(t *testing.T) {
	b := newBed(t)
	i := b.signed("ours")
	attested := b.push("attested") // and not signed
	b.issue(attested, claims(attested)...)
	for _, f := range []format{bundles, older} {
		t.Run(string(f), func(t *testing.T) {
			if err := b.verify(f, "image", i.at()); err != nil {
				t.Error(err)
			}
			if b.verify(f, "stranger", i.at()) == nil {
				t.Error("a stranger's key verifies the image")
			}
			if b.verify(f, "image", attested.at()) == nil {
				t.Error("the image's key verifies an image that is only attested")
			}
			if f == older && b.verify(f, "attestation", i.at()) == nil {
				t.Error("the attestations' key verifies the image")
			}
			for kind := range predicates {
				if err := b.verifyAttestation(f, "attestation", kind, i.at()); err != nil {
					t.Error(kind, err)
				}
				if b.verifyAttestation(f, "image", kind, i.at()) == nil {
					t.Error(kind, "is verified by the image's key")
				}
			}
			if b.verifyAttestation(f, "attestation", "vuln", i.at()) == nil {
				t.Error("cosign verifies what is not there")
			}
		})
	}
}

// unlogged are the flags with which cosign signs without any service.
func unlogged(f format) []string {
	return []string{"--yes", "--tlog-upload=false", "--use-signing-config=false", "--allow-http-registry", string(f)}
}

// TestWeVerifyCosigns has plimsoll verify what cosign signed and attested.
func TestWeVerifyCosigns(t *testing.T) {
	b := newBed(t)
	forms := map[format][2]attest.Form{
		bundles: {attest.AsReferrer, attest.AsReferrer},
		older:   {attest.AsSignatureTag, attest.AsAttestTag},
	}
	for f, want := range forms {
		t.Run(string(f), func(t *testing.T) {
			i := b.push("theirs")
			b.must(append([]string{"sign", "--key", b.dir + "/image.key", i.at()}, unlogged(f)...)...)
			b.file("spdx.json", predicates["spdxjson"].text)
			b.must(append([]string{"attest", "--key", b.dir + "/attestation.key", "--type", "spdxjson", "--predicate", "spdx.json", i.at()}, unlogged(f)...)...)
			report := b.report(i, artifact.PredicateSignature, artifact.PredicateSPDX)
			if err := report.Err(i.at()); err != nil {
				t.Fatal(err)
			}
			got := [2]attest.Form{report.Checks[0].Forms[0], report.Checks[1].Forms[0]}
			if got != want {
				t.Errorf("it was read from %v, want %v", got, want)
			}
			if lacks := b.report(b.push("theirs"), artifact.PredicateSignature); lacks.Verified {
				t.Error("an image without anything is verified")
			}
		})
	}
}

// TestSideBySide has both write to one image in turn: neither loses the other's.
func TestSideBySide(t *testing.T) {
	b := newBed(t)
	for _, f := range []format{bundles, older} {
		i := b.signed("both")
		b.file("spdx.json", predicates["spdxjson"].text)
		b.must(append([]string{"attest", "--key", b.dir + "/stranger.key", "--type", "spdxjson", "--predicate", "spdx.json", i.at()}, unlogged(f)...)...)
		b.must(append([]string{"sign", "--key", b.dir + "/stranger.key", i.at()}, unlogged(f)...)...)
		b.issue(i, append(claims(i), attest.Sign(i.desc.Digest))...)
		for _, key := range []string{"attestation", "stranger"} {
			if err := b.verifyAttestation(f, key, "spdxjson", i.at()); err != nil {
				t.Errorf("%s of %s: %v", f, key, err)
			}
		}
		for _, key := range []string{"image", "stranger"} {
			if err := b.verify(f, key, i.at()); err != nil {
				t.Errorf("%s of %s: %v", f, key, err)
			}
		}
		if err := b.report(i, artifact.PredicateSignature, artifact.PredicateSPDX).Err(i.at()); err != nil {
			t.Error(err)
		}
	}
}

// TestIndex signs an index of several platforms as what it is.
func TestIndex(t *testing.T) {
	b := newBed(t)
	one := b.push("many")
	one.desc.Platform = &v1.Platform{OS: "linux", Architecture: "amd64"}
	raw, err := json.Marshal(v1.IndexManifest{SchemaVersion: 2, MediaType: types.OCIImageIndex, Manifests: []v1.Descriptor{one.desc}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.session.PutManifest(t.Context(), one.ref, types.OCIImageIndex, raw); err != nil {
		t.Fatal(err)
	}
	index := image{one.ref, describe(t, types.OCIImageIndex, raw)}
	b.issue(index, attest.Sign(index.desc.Digest))
	for _, f := range []format{bundles, older} {
		if err := b.verify(f, "image", index.ref.String()); err != nil {
			t.Error(err)
		}
		if b.verify(f, "image", one.at()) == nil {
			t.Errorf("%s: its image is verified, which is not signed", f)
		}
	}
	if err := b.report(index, artifact.PredicateSignature).Err(index.at()); err != nil {
		t.Error(err)
	}
}
