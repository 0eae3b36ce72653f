package attest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"plimsoll.dev/plimsoll/internal/evidence/recent"
	"plimsoll.dev/plimsoll/internal/oci"
)

// Memory keeps the bundles that were read and those that were issued here, by the digests of their
// manifests: a digest decides what a bundle says, so nothing in it can be out of date. That a bundle
// is still there the registry tells each time, and whom to believe is decided each time. It is safe
// for concurrent use; nil remembers nothing.
type Memory struct{ bundles *recent.Values[Attached] }

// NewMemory gives an empty one that keeps about so many bytes.
func NewMemory(bytes int64) *Memory { return &Memory{recent.New[Attached](bytes)} }

// List is the function List, short of reading again what is remembered.
func (m *Memory) List(ctx context.Context, session *oci.Session, ref oci.Reference, subject v1.Hash) ([]Attached, error) {
	return list(ctx, &lister{memory: m, session: session, ref: ref, subject: subject, known: map[string]Attached{}})
}

// get gives the bundle of a manifest.
func (m *Memory) get(manifest v1.Hash) (Attached, bool) {
	if m == nil {
		return Attached{}, false
	}
	a, ok := m.bundles.Get(manifest.String())
	a.Forms = []Form{AsReferrer} // of its own: whoever lists it adds others
	return a, ok
}

// put keeps a bundle that could be read.
func (m *Memory) put(manifest v1.Hash, a Attached) {
	if m == nil || a.Problem != "" || a.bundle == nil {
		return
	}
	a.Created = "" // a registry's list says it, not the bundle
	if a.plain() {
		a.Raw = nil
	}
	m.bundles.Put(manifest.String(), a, int64(len(a.Raw)+len(a.envelope.payload)))
}

// issued keeps a bundle that was just written: the raw bytes are those of the material and of the
// envelope around what is stated, of which sum is the digest.
func (m *Memory) issued(manifest v1.Hash, material, raw []byte, e envelope, sum string, stated parsed) {
	if m == nil {
		return
	}
	// A bundle around nothing is read at once; all else is known.
	b, _, err := parseBundle(bundleJSON(material, envelope{payload: []byte("{}"), signatures: e.signatures}.json()))
	if err != nil {
		return // whoever lists it says why
	}
	b.GetDsseEnvelope().Payload = e.payload
	m.put(manifest, Attached{
		Manifest: manifest.String(), Predicate: stated.predicateType, Raw: raw,
		bundle: b, envelope: e, sum: sum, statement: stated,
	})
}

// sumOf gives the digest, in hexadecimal, of an envelope as a layer.
func sumOf(envelope []byte) string {
	sum := sha256.Sum256(envelope)
	return hex.EncodeToString(sum[:])
}
