package attest

import (
	"bytes"
	"encoding/json"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/sigstore/sigstore-go/pkg/testing/ca"

	"plimsoll.dev/plimsoll/artifact"
)

// subject is the digest that fuzzed statements may name.
func subject() v1.Hash {
	return v1.Hash{Algorithm: "sha256", Hex: string(bytes.Repeat([]byte("ab"), 32))}
}

// sample is an attestation by key: its statement, envelope and bundle.
func sample(f *testing.F) (payload, wrapped, bundled []byte) {
	f.Helper()
	payload, _, err := statement("team/app", artifact.Evidence{Subject: subject().String(), PredicateType: artifact.PredicateSPDX, Predicate: []byte(`{"a":1}`)}, false)
	if err != nil {
		f.Fatal(err)
	}
	sealed, err := keySealer{p256(f)}.seal(f.Context(), payload, true)
	if err != nil {
		f.Fatal(err)
	}
	wrapped = envelope{payload, [][]byte{sealed.signature}}.json()
	return payload, wrapped, bundleJSON(sealed.material, wrapped)
}

func FuzzParseStatement(f *testing.F) {
	payload, _, _ := sample(f)
	f.Add(payload)
	f.Add([]byte(`{"_type":"https://in-toto.io/Statement/v0.1","subject":[{"digest":{"sha256":"ab"}}],"predicateType":"x","predicate":null}`))
	f.Add([]byte(`{"_type":"https://in-toto.io/Statement/v1","_type":"x","subject":[{}],"predicateType":"x"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := parseStatement(data)
		if err != nil {
			return
		}
		if p.predicateType == "" || len(p.subjects) == 0 || len(p.subjects) > maxSubjects || !json.Valid(data) {
			t.Errorf("it was taken: %q as %+v", data, p)
		}
	})
}

func FuzzParseEnvelope(f *testing.F) {
	_, wrapped, _ := sample(f)
	f.Add(wrapped)
	f.Add([]byte(`{"payloadType":"application/vnd.in-toto+json","payload":"e30=","signatures":[{"keyid":"","sig":""}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		e, err := parseEnvelope(data)
		if err != nil {
			return
		}
		again, err := parseEnvelope(e.json())
		if err != nil || !bytes.Equal(again.payload, e.payload) || len(again.signatures) != len(e.signatures) {
			t.Errorf("written again it is %+v, %v, not %+v", again, err, e)
		}
	})
}

func FuzzParseSimple(f *testing.F) {
	f.Add(simple("team/app", subject().String()))
	f.Add([]byte(`{"critical":{"type":"cosign container image signature","image":{}},"optional":{"a":[1]}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		if digest, err := parseSimple(data); err == nil && digest != "" && !bytes.Contains(data, []byte(`"critical"`)) {
			t.Errorf("%q names %q", data, digest)
		}
	})
}

// FuzzVerifyBundle goes the whole way of a bundle. Nobody is trusted who could have signed
// it, so it must never be verified.
func FuzzVerifyBundle(f *testing.F) {
	_, _, bundled := sample(f)
	f.Add(bundled)
	f.Add([]byte(`{"mediaType":"` + bundleType + `","verificationMaterial":{"certificate":{"rawBytes":"AA=="},"tlogEntries":[{"logIndex":"1","logId":{"keyId":"AA=="},"kindVersion":{},"canonicalizedBody":"e30="}]},"dsseEnvelope":{}}`))
	trust := stranger(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		b, in, err := parseBundle(data)
		if err != nil {
			return
		}
		a, err := Attached{Forms: []Form{AsReferrer}, Raw: data, bundle: b, envelope: in}.stated()
		if err != nil {
			t.Fatal(err)
		}
		refused(t, trust, a)
	})
}

// FuzzVerifyLayer goes the whole way of what is below an older tag.
func FuzzVerifyLayer(f *testing.F) {
	_, wrapped, _ := sample(f)
	f.Add(true, wrapped, "", "", "", "")
	f.Add(false, simple("team/app", subject().String()), "AA==", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
		`{"SignedEntryTimestamp":"AA==","Payload":{"body":"eyJraW5kIjoieCJ9","integratedTime":1,"logIndex":1,"logID":"00"}}`, `{"SignedRFC3161Timestamp":"AA=="}`)
	trust := stranger(f)
	f.Fuzz(func(t *testing.T, enveloped bool, data []byte, signature, certificate, log, stamp string) {
		a := Attached{Forms: []Form{AsSignatureTag}, Raw: data, layer: v1.Descriptor{Annotations: map[string]string{
			signatureAnnotation: signature, certificateAnnotation: certificate, logAnnotation: log, timestampAnnotation: stamp,
		}}}
		var err error
		if enveloped {
			if a.envelope, err = parseEnvelope(data); err == nil {
				a, err = a.stated()
			}
		} else {
			a.Predicate = artifact.PredicateSignature
			a.statement = parsed{predicateType: a.Predicate, subjects: []map[string]string{{"sha256": subject().Hex}}}
			_, err = parseSimple(data)
		}
		if err == nil {
			refused(t, trust, a)
		}
	})
}

// stranger trusts a key and an identity that have signed nothing.
func stranger(f *testing.F) Trust {
	f.Helper()
	v, err := ca.NewVirtualSigstore()
	if err != nil {
		f.Fatal(err)
	}
	trust := site{v}.identity("nobody@example.com")
	trust.Images.Keys = []Key{{Name: "nobody", Public: p256(f).PublicKey()}}
	return trust
}

func refused(t *testing.T, trust Trust, a Attached) {
	t.Helper()
	once([]Attached{a, a})
	for _, logged := range []bool{false, true} {
		trust.Logged = logged
		if Verify(subject(), []Attached{a}, trust, a.Predicate).Verified {
			t.Errorf("it is verified: %q", a.Raw)
		}
	}
}

func FuzzRecords(f *testing.F) {
	f.Add("me", artifact.PredicateSPDX, `{"mediaType":"`+envelopeType+`","digest":"`+subject().String()+`","size":1,"annotations":{"`+byAnnotation+`":"me"}}`)
	f.Add("me", artifact.PredicateSignature, `{"mediaType":"x"}`)
	f.Fuzz(func(t *testing.T, by, predicate, layer string) {
		d := v1.Descriptor{Annotations: map[string]string{byAnnotation: by, bundlePredicateAnnotation: predicate, layerAnnotation: layer}}
		for _, r := range records([]v1.Descriptor{d}) {
			if r.by == "" || r.layer.MediaType != r.layerType() || r.layer.Annotations[byAnnotation] != by {
				t.Errorf("it was taken: %+v", r)
			}
		}
	})
}
