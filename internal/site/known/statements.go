package known

import (
	"context"
	"maps"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/evidence/attest"
	"plimsoll.dev/plimsoll/internal/inventory"
	"plimsoll.dev/plimsoll/internal/oci"
	"plimsoll.dev/plimsoll/internal/vuln/vex"
)

// StatementsOn gives the VEX documents attached to an image and to the index it is in, or
// to it again, that the trust believes.
func StatementsOn(ctx context.Context, session *oci.Session, ref oci.Reference, trust attest.Trust, digests ...v1.Hash) ([]*vex.Document, error) {
	var out []*vex.Document
	for _, digest := range slices.Compact(digests) {
		attached, err := attest.List(ctx, session, ref, digest)
		if err != nil {
			return nil, err
		}
		documents, err := Statements(digest, attached, trust)
		if err != nil {
			return nil, err
		}
		out = append(out, documents...)
	}
	return out, nil
}

// Statements gives the VEX documents among what is attached to the image of that
// digest, of those whom the trust believes: of each signer the newest.
func Statements(digest v1.Hash, attached []attest.Attached, trust attest.Trust) ([]*vex.Document, error) {
	bySigner := map[string][]*vex.Document{}
	documents := slices.DeleteFunc(slices.Clone(attached), func(a attest.Attached) bool { return !strings.HasPrefix(a.Predicate, "https://openvex.dev/ns") })
	for _, c := range attest.Verify(digest, documents, trust).Checks {
		e, verified := c.Evidence()
		if !verified {
			continue
		}
		document, err := vex.Parse(e.Predicate, "attestation", e.Subject)
		if err != nil {
			return nil, err
		}
		bySigner[c.By] = append(bySigner[c.By], document)
	}
	var out []*vex.Document
	for _, by := range slices.Sorted(maps.Keys(bySigner)) {
		out = append(out, vex.Newest(bySigner[by])...)
	}
	return out, nil
}

// suppressions gives what the documents say of the image's packages, as the inventory keeps
// it: of every vulnerability that they name, also of those that no feed knows yet.
func suppressions(documents []*vex.Document, about vex.Image) []inventory.Suppression {
	names := map[string]bool{}
	for _, d := range documents {
		for _, s := range d.Statements {
			for _, name := range s.Names {
				names[name] = true
			}
		}
	}
	if len(names) == 0 {
		return nil
	}
	const most = 100_000 // questions at once: a document may name more than memory has room for
	var out []inventory.Suppression
	for some := range slices.Chunk(about.Contents.Packages, max(1, most/len(names))) {
		var questions []artifact.Finding
		for name := range names {
			for _, p := range some {
				questions = append(questions, artifact.Finding{ID: name, Package: p})
			}
		}
		for _, f := range vex.Apply(questions, about, documents) {
			if f.Suppressed != nil {
				out = append(out, inventory.Suppression{
					Advisory: f.ID, Image: about.Contents.Image, Package: f.Package.PURL(), Suppression: *f.Suppressed,
				})
			}
		}
	}
	return out
}
