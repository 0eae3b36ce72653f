package cosign

import (
	"os/exec"
	"testing"

	oras "oras.land/oras-go/v2"
	"oras.land/oras-go/v2/registry/remote"

	"plimsoll.dev/plimsoll/artifact"
)

// all is what plimsoll must find verified after a copy.
var all = []string{artifact.PredicateSignature, artifact.PredicateSPDX, artifact.PredicateCycloneDX, artifact.PredicateProvenance}

// arrived holds the copy of an image against cosign and plimsoll.
func (b *bed) arrived(t *testing.T, i image, repository string, formats ...format) {
	t.Helper()
	there := image{ref: b.parse(b.host + "/" + repository + ":1"), desc: i.desc}
	for _, f := range formats {
		if err := b.verify(f, "image", there.at()); err != nil {
			t.Errorf("%s: %v", f, err)
		}
		for kind := range predicates {
			if err := b.verifyAttestation(f, "attestation", kind, there.at()); err != nil {
				t.Errorf("%s: %s: %v", f, kind, err)
			}
		}
	}
	if err := b.report(there, all...).Err(there.at()); err != nil {
		t.Error(err)
	}
}

func TestCosignCopy(t *testing.T) {
	b := newBed(t)
	i := b.signed("from")
	b.must("copy", "--allow-http-registry", i.ref.String(), b.host+"/to:1")
	b.arrived(t, i, "to", older)
}

func TestCosignSaveAndLoad(t *testing.T) {
	b := newBed(t)
	i := b.signed("from")
	b.must("save", "--allow-http-registry", "--dir", "saved", i.ref.String())
	b.must("verify", "--key", b.public("image"), "--insecure-ignore-tlog", "--local-image", "saved")
	b.must("load", "--allow-http-registry", "--dir", "saved", b.host+"/to:1")
	b.arrived(t, i, "to", older)
}

// TestSkopeoCopy copies the image and what is below the older tags, tag by tag.
func TestSkopeoCopy(t *testing.T) {
	b := newBed(t)
	i := b.signed("from")
	older := "sha256-" + i.desc.Digest.Hex
	for _, tag := range []string{"1", older + ".sig", older + ".att"} {
		cmd := exec.Command("skopeo", "copy", "--preserve-digests", "--src-tls-verify=false", "--dest-tls-verify=false",
			"docker://"+b.host+"/from:"+tag, "docker://"+b.host+"/to:"+tag)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	b.arrived(t, i, "to", "--new-bundle-format=false")
}

// TestOrasCopy copies the image with all that refers to it.
func TestOrasCopy(t *testing.T) {
	b := newBed(t)
	i := b.signed("from")
	from, to := b.orasRepository("from"), b.orasRepository("to")
	if _, err := oras.ExtendedCopy(t.Context(), from, "1", to, "1", oras.DefaultExtendedCopyOptions); err != nil {
		t.Fatal(err)
	}
	b.arrived(t, i, "to", bundles)
}

func (b *bed) orasRepository(name string) *remote.Repository {
	b.t.Helper()
	r, err := remote.NewRepository(b.host + "/" + name)
	if err != nil {
		b.t.Fatal(err)
	}
	r.PlainHTTP = true
	return r
}
