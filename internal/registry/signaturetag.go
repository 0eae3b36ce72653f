package registry

import (
	"github.com/opencontainers/go-digest"

	"plimsoll.dev/plimsoll/internal/oci"
)

// signedBelow gives the digest of the image that a tag keeps signatures of; "" for any
// other tag.
func signedBelow(tag string) digest.Digest {
	subject, ok := oci.SignatureTag(tag)
	if !ok {
		return ""
	}
	return digest.Digest(subject.String())
}

// keepsSignaturesOnly tells a repository that holds the signatures of another one's images
// (cosign's COSIGN_REPOSITORY): there a missing image says nothing.
func keepsSignaturesOnly(tags []string) bool {
	for _, tag := range tags {
		if signedBelow(tag) == "" {
			return false
		}
	}
	return true
}
