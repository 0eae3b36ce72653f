package oci

import (
	"regexp"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// SignatureEndings are those of the tags below which cosign keeps what belongs to an image:
// sha256-<hex>.<ending> (its specs/SIGNATURE_SPEC.md, "Tag-based discovery").
var SignatureEndings = []string{"sig", "att", "sbom"}

var signatureTag = regexp.MustCompile(`^sha256-([0-9a-f]{64})\.(?:sig|att|sbom)$`)

// SignatureTag gives the digest of the image that such a tag speaks of; ok is false for
// another tag. It names nothing that people would pull.
func SignatureTag(tag string) (subject v1.Hash, ok bool) {
	match := signatureTag.FindStringSubmatch(tag)
	if match == nil {
		return v1.Hash{}, false
	}
	return v1.Hash{Algorithm: "sha256", Hex: match[1]}, true
}

// SignatureTag gives the reference of such a tag in the same repository.
func (r Reference) SignatureTag(subject v1.Hash, ending string) Reference {
	return r.Tag(subject.Algorithm + "-" + subject.Hex + "." + ending)
}
