package cli

import (
	"context"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/evidence/attest"
	"plimsoll.dev/plimsoll/internal/inventory"
	"plimsoll.dev/plimsoll/internal/oci"
	"plimsoll.dev/plimsoll/internal/vuln/vex"
)

// attachedStatements gives the VEX documents among what is attached to the image of that
// digest, of those whom the trust believes.
func attachedStatements(digest v1.Hash, attached []attest.Attached, trust attest.Trust) ([]*vex.Document, error) {
	var out []*vex.Document
	for _, e := range attest.Verify(digest, attached, trust).Evidence() {
		if !strings.HasPrefix(e.PredicateType, "https://openvex.dev/ns") {
			continue
		}
		document, err := vex.Parse(e.Predicate, "attestation", e.Subject)
		if err != nil {
			return nil, err
		}
		out = append(out, document)
	}
	return out, nil
}

// statements gives the VEX documents of the files, and those attached to the image that
// somebody signed whom the home trusts.
func (env *Env) statements(ctx context.Context, files []string, ref oci.Reference, image string) ([]*vex.Document, error) {
	var out []*vex.Document
	for _, file := range files {
		document, err := vex.Load(file)
		if err != nil {
			return nil, err
		}
		out = append(out, document)
	}
	digest, err := v1.NewHash(image)
	if err != nil {
		return nil, err
	}
	attached, err := attest.List(ctx, env.Registries.Session(), ref, digest)
	if err != nil {
		return nil, err
	}
	documents, err := attachedStatements(digest, attached, env.trustOfHome(ctx))
	return append(out, documents...), err
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
