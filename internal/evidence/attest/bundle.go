package attest

import (
	"errors"
	"fmt"

	protobundle "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
	"github.com/sigstore/sigstore-go/pkg/bundle"
	"google.golang.org/protobuf/encoding/protojson"
)

// bundleType is the media type of Sigstore bundles v0.3, and the artifact type of the
// manifests that hold one. Those of other versions have the same beginning.
const (
	bundleType   = "application/vnd.dev.sigstore.bundle.v0.3+json"
	bundlePrefix = "application/vnd.dev.sigstore.bundle"
)

// bundleJSON puts an envelope and what it is verified with into a Sigstore bundle v0.3
// (sigstore_bundle.proto of protobuf-specs), always in the same bytes.
func bundleJSON(material, envelope []byte) []byte {
	out := make([]byte, 0, len(material)+len(envelope)+256)
	out = append(out, `{"mediaType":"`+bundleType+`","verificationMaterial":`...)
	out = append(append(out, material...), `,"dsseEnvelope":`...)
	return append(append(out, envelope...), '}')
}

// parseBundle reads a Sigstore bundle with an envelope in it.
func parseBundle(data []byte) (*bundle.Bundle, envelope, error) {
	if len(data) > maxEnvelope {
		return nil, envelope{}, fmt.Errorf("it has more than %d bytes", maxEnvelope)
	}
	message := &protobundle.Bundle{}
	if err := protojson.Unmarshal(data, message); err != nil {
		return nil, envelope{}, fmt.Errorf("the bundle is not valid: %w", err)
	}
	b, err := bundle.NewBundle(message)
	if err != nil {
		return nil, envelope{}, fmt.Errorf("the bundle is not valid: %w", err)
	}
	in := message.GetDsseEnvelope()
	if in == nil {
		return nil, envelope{}, errors.New("the bundle holds no envelope")
	}
	out := envelope{payload: in.GetPayload()}
	for _, s := range in.GetSignatures() {
		out.signatures = append(out.signatures, s.GetSig())
	}
	return b, out, out.check(in.GetPayloadType())
}
