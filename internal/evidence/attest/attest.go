// Package attest takes Evidence and a signer and gives signed attestations beside the image
// in its registry; and back: it reads what is attached to an image and verifies it.
//
// Each attestation is an in-toto Statement v1 in a DSSE envelope. It is stored twice with
// one signature: in a Sigstore bundle v0.3 that refers to the image, and in the manifests
// that cosign kept by tag before it had bundles. The referrers are the record; the tags
// are made from them, so that any writer can complete what another left undone.
package attest

import (
	"context"
	"crypto"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/oci"
)

// Signer signs with a key. The key may be elsewhere.
type Signer interface {
	// Sign hashes the message and signs it: ECDSA (ASN.1), Ed25519, or RSA (PKCS #1 v1.5).
	Sign(ctx context.Context, message []byte) ([]byte, error)
	PublicKey() crypto.PublicKey
	// Hint names the key to those who verify: never more than its public half tells.
	Hint() string
}

// Signers are the keys that vouch for an image. They should differ: cosign takes any valid
// attestation of a key for a signature of the image by that key.
type Signers struct {
	Images       Signer // signs images; nil is Attestations
	Attestations Signer // signs all else; nil is Images
}

// Options of Issue.
type Options struct {
	// Now is the time of signing that is noted; the zero time is the clock's. The same
	// evidence at the same time gives the same bytes if the signer does.
	Now time.Time

	// Keyless signs with certificates for one identity instead of Signers; nil does not.
	Keyless *Keyless

	// Encoded says that the predicates are JSON objects for sure, as this program's own
	// encoders give them. Others are looked through: text that only seems to be one could
	// make a statement of another image.
	Encoded bool

	// Memory keeps what is issued of Encoded evidence for those who list it with the same; nil
	// does not.
	Memory *Memory
}

// Issued is what Issue did for one image.
type Issued struct {
	Attached []v1.Hash // manifests of the bundles, in the order of the evidence
	Older    []string  // older tags, in that order, below which lies another signature than in the bundle; else ""
	Signed   int       // how many of them were not there before
	Sent     int64     // bytes
	Left     []v1.Hash // manifests of replaced bundles that the registry does not let go
	Identity string    // whom the certificate names; "" when keys signed
}

// Issue signs the evidence and puts it beside the image or index that subject describes, in
// the repository of ref. Evidence of type artifact.PredicateSignature, with an empty
// predicate, is the signature of the image itself.
//
// What the same signer issued before for this image by the types in evidence is replaced;
// nothing else is touched. It may be called again after an interruption, and by several
// writers at once: what is there already is not signed again.
func Issue(ctx context.Context, session *oci.Session, ref oci.Reference, subject v1.Descriptor, evidence []artifact.Evidence, signers Signers, o Options) (Issued, error) {
	if o.Now.IsZero() {
		o.Now = time.Now()
	}
	by, err := newSealers(ctx, signers, o)
	if err != nil {
		return Issued{}, err
	}
	w := &writer{session: session, repo: ref, subject: subject, now: o.Now.UTC(), by: by}
	if o.Encoded { // else reading it might come to something else
		w.memory = o.Memory
	}
	for _, e := range evidence {
		if e.Subject != subject.Digest.String() {
			return Issued{}, fault.Newf(fault.Usage, "attest", ref.At(subject.Digest).String(), "the evidence is of another image: "+e.Subject)
		}
		payload, predicate, err := statement(ref.Repository(), e, o.Encoded)
		if err != nil {
			return Issued{}, fault.New(fault.Usage, "attest", ref.At(subject.Digest).String(), err)
		}
		w.claims = append(w.claims, claim{predicate: e.PredicateType, payload: payload, stated: parsed{
			predicateType: e.PredicateType, predicate: predicate,
			subjects: []map[string]string{{subject.Digest.Algorithm: subject.Digest.Hex}},
		}})
	}
	issued, err := w.write(ctx)
	if o.Keyless != nil {
		issued.Identity = by.images.name()
	}
	return issued, err
}

// Sign gives the evidence that stands for the signature of an image itself.
func Sign(subject v1.Hash) artifact.Evidence {
	return artifact.Evidence{Subject: subject.String(), PredicateType: artifact.PredicateSignature, Predicate: []byte("{}")}
}
