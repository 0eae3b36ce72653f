package main

import (
	"context"
	"crypto"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/ThalesGroup/crypto11"
	"github.com/sigstore/sigstore/pkg/signature"
)

// token is an open token and the key of it that is wanted. It has the methods of sigstore's
// kms.SignerVerifier.
type token struct {
	session *crypto11.Context
	wanted  uri
	hash    crypto.Hash
}

// open logs in to the token.
func open(wanted uri, hash crypto.Hash) (*token, error) {
	module, err := wanted.modulePath()
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(module); err != nil {
		return nil, fmt.Errorf("load PKCS #11 library: %w", err)
	}
	pin, err := wanted.pin()
	if err != nil {
		return nil, err
	}
	config := crypto11.Config{Path: module, Pin: pin, TokenSerial: wanted.serial}
	if wanted.serial == "" { // it takes one of them
		config.TokenLabel = wanted.token
	}
	session, err := crypto11.Configure(&config)
	if err != nil {
		return nil, fmt.Errorf("open token: %w", err)
	}
	return &token{session, wanted, hash}, nil
}

func (t *token) close() { _ = t.session.Close() }

// key gives the key pair that the URI names; nil when the token has none.
func (t *token) key() (crypto11.Signer, error) {
	pairs, err := t.session.FindKeyPairs([]byte(t.wanted.id), []byte(t.wanted.label))
	switch {
	case err != nil:
		return nil, fmt.Errorf("find key: %w", err)
	case len(pairs) > 1:
		return nil, errors.New("find key: several have that name: add id= to the URI")
	case len(pairs) == 0:
		return nil, nil
	}
	return pairs[0], nil
}

func (t *token) mustKey() (crypto11.Signer, error) {
	key, err := t.key()
	if err == nil && key == nil {
		err = errors.New("find key: the token has no such key pair")
	}
	return key, err
}

// curves are the algorithms of keys that can be made, as sigstore names them.
var curves = []struct {
	name  string
	curve elliptic.Curve
}{
	{"ecdsa-sha2-256-nistp256", elliptic.P256()},
	{"ecdsa-sha2-384-nistp384", elliptic.P384()},
}

// DefaultAlgorithm gives what CreateKey is best asked for.
func (t *token) DefaultAlgorithm() string { return curves[0].name }

// SupportedAlgorithms gives what CreateKey can be asked for.
func (t *token) SupportedAlgorithms() []string {
	var names []string
	for _, c := range curves {
		names = append(names, c.name)
	}
	return names
}

// CreateKey makes a key pair that cannot leave the token, and never a second of one name.
func (t *token) CreateKey(_ context.Context, algorithm string) (crypto.PublicKey, error) {
	if there, err := t.key(); err != nil || there != nil {
		return nil, errors.Join(err, errors.New("make key: the token has one of that name"))
	}
	id := []byte(t.wanted.id)
	if len(id) == 0 {
		id = make([]byte, 16)
		if _, err := rand.Read(id); err != nil {
			return nil, err
		}
	}
	for _, c := range curves {
		if c.name == algorithm {
			made, err := t.session.GenerateECDSAKeyPairWithLabel(id, []byte(t.wanted.label), c.curve)
			if err != nil {
				return nil, fmt.Errorf("make key: %w", err)
			}
			return made.Public(), nil
		}
	}
	return nil, fmt.Errorf("make key: want one of %v", t.SupportedAlgorithms())
}

// PublicKey gives the public key.
func (t *token) PublicKey(...signature.PublicKeyOption) (crypto.PublicKey, error) {
	key, err := t.mustKey()
	if err != nil {
		return nil, err
	}
	return key.Public(), nil
}

// SignMessage hashes the message and has the token sign that: ECDSA in ASN.1 form, RSA by
// PKCS #1 v1.5.
func (t *token) SignMessage(message io.Reader, opts ...signature.SignOption) ([]byte, error) {
	key, err := t.mustKey()
	if err != nil {
		return nil, err
	}
	hashes := []crypto.Hash{crypto.SHA256, crypto.SHA384, crypto.SHA512}
	if !slices.Contains(hashes, t.hash) {
		return nil, errors.New("sign: want SHA-256, SHA-384 or SHA-512")
	}
	digest, hash, err := signature.ComputeDigestForSigning(message, t.hash, hashes, opts...)
	if err != nil {
		return nil, err
	}
	return key.Sign(rand.Reader, digest, hash)
}

// VerifySignature verifies with the public key, outside the token.
func (t *token) VerifySignature(sig, message io.Reader, opts ...signature.VerifyOption) error {
	key, err := t.mustKey()
	if err != nil {
		return err
	}
	verifier, err := signature.LoadVerifier(key.Public(), t.hash)
	if err != nil {
		return err
	}
	return verifier.VerifySignature(sig, message, opts...)
}

// CryptoSigner gives the key as a crypto.Signer; the protocol has no such request.
func (t *token) CryptoSigner(context.Context, func(error)) (crypto.Signer, crypto.SignerOpts, error) {
	key, err := t.mustKey()
	return key, t.hash, err
}
