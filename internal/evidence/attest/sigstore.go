package attest

import (
	"bytes"
	"crypto"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	protobundle "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
	protocommon "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	protodsse "github.com/sigstore/protobuf-specs/gen/pb-go/dsse"
	protorekor "github.com/sigstore/protobuf-specs/gen/pb-go/rekor/v1"
	"github.com/sigstore/sigstore-go/pkg/bundle"
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/verify"
	"github.com/sigstore/sigstore/pkg/signature"
)

// entity gives what sigstore-go verifies, nil where there is only a signature, and whether
// a certificate says whose.
func (a Attached) entity() (*bundle.Bundle, bool, error) {
	if a.bundle != nil {
		return a.bundle, a.bundle.GetVerificationMaterial().GetPublicKey() == nil, nil
	}
	if a.plain() {
		return nil, false, nil
	}
	message, err := a.older()
	if err != nil {
		return nil, false, err
	}
	b, err := bundle.NewBundle(message)
	if err != nil {
		return nil, false, fmt.Errorf("what is beside the signature is not valid: %w", err)
	}
	return b, message.GetVerificationMaterial().GetCertificate() != nil, nil
}

// older puts what is below an older tag into a bundle of the version that asks for no more
// of a log entry than the log's promise.
func (a Attached) older() (*protobundle.Bundle, error) {
	material := &protobundle.VerificationMaterial{
		Content: &protobundle.VerificationMaterial_PublicKey{PublicKey: &protocommon.PublicKeyIdentifier{}},
	}
	if text := a.layer.Annotations[certificateAnnotation]; text != "" {
		block, _ := pem.Decode([]byte(text))
		if block == nil {
			return nil, errors.New("the certificate beside the signature is not in PEM form")
		}
		material.Content = &protobundle.VerificationMaterial_Certificate{Certificate: &protocommon.X509Certificate{RawBytes: block.Bytes}}
	}
	if text := a.layer.Annotations[logAnnotation]; text != "" {
		entry, err := olderEntry([]byte(text))
		if err != nil {
			return nil, fmt.Errorf("the log entry beside the signature is not valid: %w", err)
		}
		material.TlogEntries = []*protorekor.TransparencyLogEntry{entry}
	}
	if text := a.layer.Annotations[timestampAnnotation]; text != "" {
		var stamp stamped
		if err := unmarshal([]byte(text), &stamp); err != nil {
			return nil, fmt.Errorf("the timestamp beside the signature is not valid: %w", err)
		}
		material.TimestampVerificationData = &protobundle.TimestampVerificationData{
			Rfc3161Timestamps: []*protocommon.RFC3161SignedTimestamp{{SignedTimestamp: stamp.SignedRFC3161Timestamp}},
		}
	}
	out := &protobundle.Bundle{MediaType: bundlePrefix + "+json;version=0.1", VerificationMaterial: material}
	return out, a.content(out)
}

// content puts what was signed into the bundle.
func (a Attached) content(out *protobundle.Bundle) error {
	if len(a.envelope.signatures) > 0 {
		in := &protodsse.Envelope{Payload: a.envelope.payload, PayloadType: payloadType}
		for _, s := range a.envelope.signatures {
			in.Signatures = append(in.Signatures, &protodsse.Signature{Sig: s})
		}
		out.Content = &protobundle.Bundle_DsseEnvelope{DsseEnvelope: in}
		return nil
	}
	message, signatures, err := a.signed()
	if err != nil {
		return err
	}
	hash := crypto.SHA256.New()
	hash.Write(message)
	out.Content = &protobundle.Bundle_MessageSignature{MessageSignature: &protocommon.MessageSignature{
		MessageDigest: &protocommon.HashOutput{Algorithm: protocommon.HashAlgorithm_SHA2_256, Digest: hash.Sum(nil)},
		Signature:     signatures[0],
	}}
	return nil
}

// logged is a log entry as cosign keeps it beside an older signature.
type logged struct {
	SignedEntryTimestamp []byte
	Payload              logPayload
}

type logPayload struct {
	Body           []byte `json:"body"`
	IntegratedTime int64  `json:"integratedTime"`
	LogIndex       int64  `json:"logIndex"`
	LogID          string `json:"logID"` // hexadecimal
}

func olderEntry(text []byte) (*protorekor.TransparencyLogEntry, error) {
	var in logged
	if err := unmarshal(text, &in); err != nil {
		return nil, err
	}
	var head struct{ Kind, APIVersion string }
	if err := json.Unmarshal(in.Payload.Body, &head); err != nil {
		return nil, err
	}
	id, err := hex.DecodeString(in.Payload.LogID)
	if err != nil {
		return nil, err
	}
	return &protorekor.TransparencyLogEntry{
		LogIndex: in.Payload.LogIndex, LogId: &protocommon.LogId{KeyId: id}, IntegratedTime: in.Payload.IntegratedTime,
		KindVersion:       &protorekor.KindVersion{Kind: head.Kind, Version: head.APIVersion},
		InclusionPromise:  &protorekor.InclusionPromise{SignedEntryTimestamp: in.SignedEntryTimestamp},
		CanonicalizedBody: in.Payload.Body,
	}, nil
}

// certified verifies what is signed with a certificate. It notes whom that names.
func (t Trust) certified(subject v1.Hash, a Attached, by *bundle.Bundle, out *Check) error {
	trusted := t.of(a.Predicate)
	switch {
	case t.Root == nil:
		return errors.New("it is signed with a certificate, and there is no trusted root to verify that with")
	case len(trusted.Identities) == 0:
		return errors.New("it is signed with a certificate, and no identity is trusted")
	}
	var policy []verify.PolicyOption
	for _, i := range trusted.Identities {
		identity, err := verify.NewShortCertificateIdentity(i.Issuer, i.IssuerRegexp, i.Subject, i.SubjectRegexp)
		if err != nil {
			return fmt.Errorf("the trusted identity is not complete: %w", err)
		}
		policy = append(policy, verify.WithCertificateIdentity(identity))
	}
	var options []verify.VerifierOption
	if len(t.Root.CTLogs()) > 0 {
		options = append(options, verify.WithSignedCertificateTimestamps(1))
	}
	if len(t.Root.RekorLogs()) > 0 {
		options = append(options, verify.WithTransparencyLog(1))
	}
	if len(t.Root.RekorLogs())+len(t.Root.TimestampingAuthorities()) > 0 {
		options = append(options, verify.WithObserverTimestamps(1))
	} else {
		options = append(options, verify.WithCurrentTime())
	}
	result, err := a.verifiedBy(subject, by, t.Root, options, policy)
	if err != nil {
		return err
	}
	who := result.Signature.Certificate
	out.By, out.Issuer, out.SignedAt = who.SubjectAlternativeName+" ("+who.Issuer+")", who.Issuer, signedAt(result)
	return nil
}

// logged verifies what a log or a timestamp authority says of a signature by key. It gives
// when that was made; nil when they say nothing and need not.
func (t Trust) logged(subject v1.Hash, a Attached, by *bundle.Bundle, key Key) (*time.Time, error) {
	entries, stamps, dated := 0, 0, false
	if by != nil {
		material := by.GetVerificationMaterial()
		entries, stamps = len(material.GetTlogEntries()), len(material.GetTimestampVerificationData().GetRfc3161Timestamps())
		dated = entries > 0 && material.GetTlogEntries()[0].GetIntegratedTime() != 0
	}
	switch {
	case t.Logged && t.Root == nil:
		return nil, errors.New("it should be in a transparency log, and there is no trusted root that names one")
	case t.Logged && entries == 0:
		return nil, errors.New("it is in no transparency log")
	case entries+stamps == 0:
		return nil, nil
	}
	var options []verify.VerifierOption
	if entries > 0 {
		options = append(options, verify.WithTransparencyLog(1))
	}
	switch {
	case stamps > 0:
		options = append(options, verify.WithSignedTimestamps(1))
	case dated:
		options = append(options, verify.WithIntegratedTimestamps(1))
	default:
		options = append(options, verify.WithNoObserverTimestamps())
	}
	result, err := a.verifiedBy(subject, by, keyed{t.Root, key}, options, []verify.PolicyOption{verify.WithKey()})
	if err != nil {
		return nil, err
	}
	return signedAt(result), nil
}

// verifiedBy has sigstore-go verify the attestation, without any request.
func (a Attached) verifiedBy(subject v1.Hash, by *bundle.Bundle, material root.TrustedMaterial, options []verify.VerifierOption, policy []verify.PolicyOption) (*verify.VerificationResult, error) {
	if a.bundle == nil && len(a.envelope.signatures) > 0 {
		material = wholly{material, a.Raw}
	}
	verifier, err := verify.NewVerifier(material, options...)
	if err != nil {
		return nil, err
	}
	artifact := verify.WithArtifactDigest(subject.Algorithm, digestBytes(subject))
	if len(a.envelope.signatures) == 0 {
		artifact = verify.WithArtifact(bytes.NewReader(a.Raw))
	}
	return verifier.Verify(by, verify.NewPolicy(artifact, policy...))
}

func signedAt(result *verify.VerificationResult) *time.Time {
	for _, stamp := range result.VerifiedTimestamps {
		if stamp.Type != "CurrentTime" {
			at := stamp.Timestamp.UTC()
			return &at
		}
	}
	return nil
}

// wholly is a trusted root in which a timestamp may also be of an envelope as a whole: below
// older tags it is of that, or of the signature in it, as the version of cosign was.
type wholly struct {
	root.TrustedMaterial
	envelope []byte
}

func (w wholly) TimestampingAuthorities() []root.TimestampingAuthority {
	var out []root.TimestampingAuthority
	for _, authority := range w.TrustedMaterial.TimestampingAuthorities() {
		out = append(out, either{authority, w.envelope})
	}
	return out
}

type either struct {
	root.TimestampingAuthority
	envelope []byte
}

func (e either) Verify(stamp, signature []byte) (*root.Timestamp, error) {
	if at, err := e.TimestampingAuthority.Verify(stamp, signature); err == nil {
		return at, nil
	}
	return e.TimestampingAuthority.Verify(stamp, e.envelope)
}

// keyed is a trusted root in which one key verifies whatever hint a bundle gives.
type keyed struct {
	root.TrustedMaterial
	key Key
}

func (k keyed) PublicKeyVerifier(string) (root.TimeConstrainedVerifier, error) {
	return root.NewExpiringKey(verifier{k.key.Public}, k.key.From, k.key.Until), nil
}

// verifier is verifySignature in sigstore's shape.
type verifier struct{ public crypto.PublicKey }

func (v verifier) PublicKey(...signature.PublicKeyOption) (crypto.PublicKey, error) {
	return v.public, nil
}

func (v verifier) VerifySignature(sig, message io.Reader, _ ...signature.VerifyOption) error {
	s, err := io.ReadAll(sig)
	if err != nil {
		return err
	}
	m, err := io.ReadAll(message)
	if err != nil {
		return err
	}
	return verifySignature(v.public, m, s)
}
