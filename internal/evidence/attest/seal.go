package attest

import (
	"context"
	"encoding/base64"

	"plimsoll.dev/plimsoll/internal/fault"
)

// sealer makes signatures and says what they are verified with.
type sealer interface {
	// seal signs the payload: in its DSSE envelope, or as it is.
	seal(ctx context.Context, payload []byte, enveloped bool) (seal, error)
	// name tells signers apart: what one issues replaces only its own.
	name() string
	// verifies tells whether a signature over the message is this signer's own; false when
	// that cannot be told.
	verifies(message, signature []byte) bool
}

// seal is one signature.
type seal struct {
	signature []byte
	material  []byte            // the verificationMaterial of a Sigstore bundle, as JSON
	beside    map[string]string // the same as annotations of a layer below an older tag
}

// sealers are those for the image itself and for all else.
type sealers struct{ images, attestations sealer }

func (s sealers) of(c claim) sealer {
	if c.signs() {
		return s.images
	}
	return s.attestations
}

// own tells whether the signer of that name is one of these.
func (s sealers) own(name string) bool {
	return name == s.images.name() || name == s.attestations.name()
}

func newSealers(ctx context.Context, keys Signers, o Options) (sealers, error) {
	if o.Keyless != nil {
		one, err := o.Keyless.sealer(ctx)
		return sealers{one, one}, err
	}
	if keys.Images == nil {
		keys.Images = keys.Attestations
	}
	if keys.Attestations == nil {
		keys.Attestations = keys.Images
	}
	if keys.Images == nil {
		return sealers{}, fault.Newf(fault.Usage, "attest", "", "there is no key to sign with").WithHint("name a key, or configure keyless signing")
	}
	return sealers{keySealer{keys.Images}, keySealer{keys.Attestations}}, nil
}

// keySealer seals with a key.
type keySealer struct{ key Signer }

func (k keySealer) seal(ctx context.Context, payload []byte, enveloped bool) (seal, error) {
	if enveloped {
		payload = preAuth(payload)
	}
	signature, err := k.key.Sign(ctx, payload)
	if err != nil {
		return seal{}, err
	}
	// Without a signature here, cosign does not read a layer at all.
	beside := map[string]string{signatureAnnotation: ""}
	if !enveloped {
		beside[signatureAnnotation] = base64.StdEncoding.EncodeToString(signature)
	}
	material := append(appendString([]byte(`{"publicKey":{"hint":`), k.key.Hint()), `}}`...)
	return seal{signature: signature, material: material, beside: beside}, nil
}

func (k keySealer) name() string { return k.key.Hint() }

func (k keySealer) verifies(message, signature []byte) bool {
	return verifySignature(k.key.PublicKey(), message, signature) == nil
}
