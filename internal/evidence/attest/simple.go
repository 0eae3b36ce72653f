package attest

import (
	"fmt"
)

// Media types and annotations of the manifests below older tags (cosign, SIGNATURE_SPEC.md
// and ATTESTATION_SPEC.md).
const (
	simpleType   = "application/vnd.dev.cosign.simplesigning.v1+json"
	envelopeType = "application/vnd.dsse.envelope.v1+json"

	signatureAnnotation   = "dev.cosignproject.cosign/signature"
	certificateAnnotation = "dev.sigstore.cosign/certificate"
	chainAnnotation       = "dev.sigstore.cosign/chain"
	logAnnotation         = "dev.sigstore.cosign/bundle"
	timestampAnnotation   = "dev.sigstore.cosign/rfc3161timestamp"
	predicateAnnotation   = "predicateType"
)

// simpleKind is critical.type of a signature that cosign makes.
const simpleKind = "cosign container image signature"

// simple gives the payload of an older signature of an image (containers-signature(5)).
func simple(repository, digest string) []byte {
	out := append([]byte(`{"critical":{"identity":{"docker-reference":`), ""...)
	out = append(appendString(out, repository), `},"image":{"docker-manifest-digest":`...)
	out = append(appendString(out, digest), `},"type":"`+simpleKind+`"},"optional":null}`...)
	return out
}

// maxSimple is how large the payload of an older signature may be, in bytes.
const maxSimple = 1 << 20

// parseSimple gives the digest of the image that the payload is about.
func parseSimple(payload []byte) (string, error) {
	var in struct {
		Critical struct {
			Type  string `json:"type"`
			Image struct {
				Digest string `json:"docker-manifest-digest"`
			} `json:"image"`
		} `json:"critical"`
	}
	if len(payload) > maxSimple {
		return "", fmt.Errorf("the signature's payload has more than %d bytes", maxSimple)
	}
	if err := unmarshal(payload, &in); err != nil {
		return "", fmt.Errorf("the signature's payload is not valid: %w", err)
	}
	if in.Critical.Type != simpleKind {
		return "", fmt.Errorf("it is no signature of an image, but %q", in.Critical.Type)
	}
	return in.Critical.Image.Digest, nil
}
