package attest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"errors"
	"fmt"
)

var errSignature = errors.New("the signature does not verify")

// verifySignature verifies a signature over the message, made in any of the ways that
// Sigstore's tools do with a key of that kind.
func verifySignature(public crypto.PublicKey, message, signature []byte) error {
	ok := false
	switch key := public.(type) {
	case *ecdsa.PublicKey:
		ok = verifyECDSA(key, message, signature)
	case ed25519.PublicKey:
		digest := sha512.Sum512(message)
		ok = ed25519.Verify(key, message, signature) ||
			ed25519.VerifyWithOptions(key, digest[:], signature, &ed25519.Options{Hash: crypto.SHA512}) == nil
	case *rsa.PublicKey:
		digest := sha256.Sum256(message)
		ok = rsa.VerifyPKCS1v15(key, crypto.SHA256, digest[:], signature) == nil ||
			rsa.VerifyPSS(key, crypto.SHA256, digest[:], signature, nil) == nil
	default:
		return fmt.Errorf("keys of type %T are not known", public)
	}
	if !ok {
		return errSignature
	}
	return nil
}

// verifyECDSA takes the hash that belongs to the curve, and SHA-256, which older tools use
// with every curve.
func verifyECDSA(key *ecdsa.PublicKey, message, signature []byte) bool {
	digest := sha256.Sum256(message)
	if ecdsa.VerifyASN1(key, digest[:], signature) {
		return true
	}
	switch key.Curve {
	case elliptic.P384():
		wide := sha512.Sum384(message)
		return ecdsa.VerifyASN1(key, wide[:], signature)
	case elliptic.P521():
		wide := sha512.Sum512(message)
		return ecdsa.VerifyASN1(key, wide[:], signature)
	}
	return false
}
