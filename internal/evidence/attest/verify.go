package attest

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/sigstore/sigstore-go/pkg/root"

	"plimsoll.dev/plimsoll/artifact"
)

// Trust is whom one believes.
type Trust struct {
	Images       Trusted // may sign images
	Attestations Trusted // may attest all else; with neither key nor identity it is Images, unless it is None

	// Root verifies certificates, log entries and timestamps; nil where only keys are
	// trusted. Log entries and timestamps of signatures by key are verified too when it is
	// given and they are there.
	Root root.TrustedMaterial

	// Logged wants an entry in a transparency log of Root for signatures by key. Those with
	// certificates need one whenever Root knows a log.
	Logged bool

	// Now is the time at which keys must be valid; the zero time is the clock's.
	Now time.Time
}

// Trusted are those who may vouch for one kind of thing.
type Trusted struct {
	Keys       []Key
	Identities []Identity
	Threshold  int  // how many different ones must; 0 is 1
	None       bool // nobody may: those who were meant cannot be told
}

// Key is a public key and when it may be used.
type Key struct {
	Name        string    // for people
	Public      any       // *ecdsa.PublicKey, ed25519.PublicKey or *rsa.PublicKey
	From, Until time.Time // zero: always
}

// Identity is whom a certificate of a Fulcio authority names. Of each pair one is given.
type Identity struct {
	Issuer, IssuerRegexp   string // of the token that proved it, a URL
	Subject, SubjectRegexp string // the certificate's alternative name: an address or a workflow
}

// Verify holds what is attached to the image of that digest against the trust. want are the
// predicate types that must be there and verified; none is artifact.PredicateSignature.
// What strangers attached does no harm: it is listed as not verified.
func Verify(subject v1.Hash, attached []Attached, trust Trust, want ...string) Report {
	if len(want) == 0 {
		want = []string{artifact.PredicateSignature}
	}
	if trust.Now.IsZero() {
		trust.Now = time.Now()
	}
	if len(trust.Attestations.Keys)+len(trust.Attestations.Identities) == 0 && !trust.Attestations.None {
		trust.Attestations = trust.Images
	}
	report := Report{Image: subject.String(), Checks: []Check{}}
	for _, a := range attached {
		report.Checks = append(report.Checks, trust.check(subject, a))
	}
	for _, predicate := range want {
		if why := report.lacks(predicate, max(1, trust.of(predicate).Threshold)); why != "" {
			report.Missing = append(report.Missing, Missing{Predicate: predicate, Why: why})
		}
	}
	report.Verified = len(report.Missing) == 0
	return report
}

// of gives those who may vouch for what is of that type.
func (t Trust) of(predicate string) Trusted {
	if predicate == artifact.PredicateSignature {
		return t.Images
	}
	return t.Attestations
}

func (t Trust) check(subject v1.Hash, a Attached) Check {
	out := Check{Predicate: a.Predicate, Forms: a.Forms, Manifest: a.Manifest}
	if err := t.verify(subject, a, &out); err != nil {
		out.By, out.Issuer, out.Why = "", "", legible(err.Error())
		return out
	}
	out.Verified = true
	if len(a.statement.predicate) > 0 {
		out.evidence = artifact.Evidence{Subject: subject.String(), PredicateType: a.Predicate, Predicate: a.statement.predicate}
	}
	return out
}

func (t Trust) verify(subject v1.Hash, a Attached, out *Check) error {
	if a.Problem != "" {
		return errors.New(a.Problem)
	}
	if !a.statement.of(subject.Algorithm, subject.Hex) {
		return errors.New("it is about another image")
	}
	by, certified, err := a.entity()
	if err != nil {
		return err
	}
	if certified {
		return t.certified(subject, a, by, out)
	}
	key, err := t.signedBy(a)
	if err != nil {
		return err
	}
	out.By = key.Name
	at := t.Now
	if by != nil && t.Root != nil || t.Logged {
		if out.SignedAt, err = t.logged(subject, a, by, key); err != nil {
			return err
		}
		if out.SignedAt != nil {
			at = *out.SignedAt
		}
	}
	return key.valid(at)
}

// valid says why the key may not be used at that time.
func (k Key) valid(at time.Time) error {
	const day = "2006-01-02"
	switch {
	case !k.From.IsZero() && at.Before(k.From):
		return fmt.Errorf("the key %s is valid only from %s on", k.Name, k.From.Format(day))
	case !k.Until.IsZero() && at.After(k.Until):
		return fmt.Errorf("the key %s expired on %s, and no trusted time says that it was signed before", k.Name, k.Until.Format(day))
	}
	return nil
}

// signedBy gives the trusted key that signed it.
func (t Trust) signedBy(a Attached) (Key, error) {
	trusted := t.of(a.Predicate)
	message, signatures, err := a.signed()
	if err != nil {
		return Key{}, err
	}
	if key, ok := match(trusted.Keys, message, signatures); ok {
		return key, nil
	}
	other, which := t.Attestations.Keys, "images"
	if a.Predicate != artifact.PredicateSignature {
		other, which = t.Images.Keys, "attestations"
	}
	if key, ok := match(other, message, signatures); ok {
		return Key{}, fmt.Errorf("it is signed with %s, which is not trusted for %s", key.Name, which)
	}
	if len(trusted.Keys) == 0 {
		return Key{}, errors.New("it is signed with a key, and no key is trusted")
	}
	if hint := a.hint(); hint != "" {
		return Key{}, fmt.Errorf("no trusted key verifies it: it says that it is signed with %s", fingerprint(hint))
	}
	return Key{}, errors.New("no trusted key verifies it")
}

// match gives the first key with which a signature verifies.
func match(keys []Key, message []byte, signatures [][]byte) (Key, bool) {
	i := slices.IndexFunc(keys, func(k Key) bool {
		return slices.ContainsFunc(signatures, func(s []byte) bool { return verifySignature(k.Public, message, s) == nil })
	})
	if i < 0 {
		return Key{}, false
	}
	return keys[i], true
}

// signed gives what is signed, and the signatures of it.
func (a Attached) signed() ([]byte, [][]byte, error) {
	if len(a.envelope.signatures) > 0 {
		return preAuth(a.envelope.payload), a.envelope.signatures, nil
	}
	signature, err := base64.StdEncoding.DecodeString(a.layer.Annotations[signatureAnnotation])
	if err != nil || len(signature) == 0 {
		return nil, nil, errors.New("there is no signature beside it")
	}
	return a.Raw, [][]byte{signature}, nil
}

// hint gives what a bundle says of its key; strangers may have written it.
func (a Attached) hint() string {
	if a.bundle == nil {
		return a.layer.Annotations[byAnnotation]
	}
	return a.bundle.GetVerificationMaterial().GetPublicKey().GetHint()
}

// fingerprint gives the hint as people know keys: sigstore writes in base64 what they compare
// in hexadecimal.
func fingerprint(hint string) string {
	if sum, err := base64.StdEncoding.DecodeString(hint); err == nil && len(sum) == sha256.Size {
		return "sha256:" + hex.EncodeToString(sum)
	}
	return strconv.Quote(hint)
}

func digestBytes(h v1.Hash) []byte {
	out, _ := hex.DecodeString(h.Hex) // a Hash is checked when it is made
	return out
}
