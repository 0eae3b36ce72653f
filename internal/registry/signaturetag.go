package registry

import (
	"regexp"

	"github.com/opencontainers/go-digest"
)

var signatureTag = regexp.MustCompile(`^sha256-([0-9a-f]{64})\.(?:sig|att|sbom)$`)

// SignatureTag gives the digest of the image that a tag speaks of, if it is one of those
// below which cosign keeps signatures and attestations (its specs/SIGNATURE_SPEC.md); ""
// for another tag. Such a tag names nothing that people would pull.
func SignatureTag(tag string) digest.Digest {
	match := signatureTag.FindStringSubmatch(tag)
	if match == nil {
		return ""
	}
	return digest.NewDigestFromEncoded(digest.SHA256, match[1])
}

// keepsSignaturesOnly tells a repository that holds the signatures of another one's images
// (cosign's COSIGN_REPOSITORY): there a missing image says nothing.
func keepsSignaturesOnly(tags []string) bool {
	for _, tag := range tags {
		if SignatureTag(tag) == "" {
			return false
		}
	}
	return true
}
