// Package facts takes a manifest, what was verified of it and what its layers hold, and gives
// artifact.Facts: all that a policy may know.
//
// What the platform measures itself counts before what anybody says of it; what is said
// counts only when it was verified, and what is verified and cannot be read counts as bad news.
// A part that nobody knows is left out: to a policy that is never a pass.
package facts

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/evidence/attest"
	"plimsoll.dev/plimsoll/internal/evidence/hardening"
	"plimsoll.dev/plimsoll/internal/evidence/malware"
	"plimsoll.dev/plimsoll/internal/evidence/sbom"
	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/oci"
)

// Gatherer gathers facts. It is safe for concurrent use.
type Gatherer struct {
	Contents  *sbom.Scanner
	Hardening *hardening.Scanner
	Malware   *malware.Scanner // nil: what verified reports of others say counts
	Builders  []Builder        // whom provenance may name, and what for; nil is OurBuilder
	Bills     *Bills           // nil: each is read
}

// Subject is a manifest of a repository, with what others than its layers tell of it.
type Subject struct {
	Tags   []string      // that name it there
	Pushed time.Time     // when the registry got it; zero where nobody knows
	Report attest.Report // what was verified of it
	Base   *artifact.BaseFacts

	Manifest *oci.Manifest // of the reference, by whoever has read it already; nil: it is read
}

// Gathered is what was gathered of one manifest.
type Gathered struct {
	Facts    artifact.Facts     // its findings are for others to add
	Image    v1.Image           // nil for what is no image
	Contents *artifact.Contents // of the layers; nil for what is no image, or could not be read
	Unknown  []error            // why parts are not known that an image has
}

// Gather reads the manifest of the reference, which is by digest, its configuration and,
// where nobody has yet, its layers. An error says that there are no facts at all: the
// manifest is not what it says it is, or the registry does not answer.
func (g *Gatherer) Gather(ctx context.Context, session *oci.Session, ref oci.Reference, s Subject) (Gathered, error) {
	m := s.Manifest
	if m == nil {
		read, err := session.Manifest(ctx, ref)
		if err != nil {
			return Gathered{}, err
		}
		m = &read
	}
	var err error
	in := Input{
		Repository: ref.Repository(), Tags: s.Tags, Pushed: s.Pushed, Report: s.Report, Base: s.Base,
		MediaType: string(m.MediaType), Manifest: m.Raw, Builders: g.Builders, Bills: g.Bills,
	}
	if m.Image != nil && m.Image.Config.Digest != (v1.Hash{}) { // without one it is refused below
		if m.Image.Config.Size > maxConfig {
			return Gathered{}, refused(ref.String(), fmt.Errorf("its configuration has more than %d bytes", maxConfig))
		}
		if in.Config, err = session.Blob(ctx, ref, m.Image.Config); err != nil {
			return Gathered{}, err
		}
	}
	shape, err := shapeOf(in)
	if err != nil {
		return Gathered{}, refused(in.Repository, err)
	}
	var out Gathered
	if shape.kind == artifact.KindImage {
		if out.Image, err = session.Image(ctx, ref, m.MediaType, in.Manifest, in.Config); err != nil {
			return Gathered{}, err
		}
		if out.Unknown, err = g.measure(ctx, out.Image, &in); err != nil {
			return Gathered{}, err
		}
	}
	out.Contents = in.Contents
	out.Facts, err = in.facts(shape)
	return out, err
}

// maxConfig is how many bytes of a configuration are read.
const maxConfig = 8 << 20

// measure adds what the platform finds in the layers itself. What is wrong with the image
// leaves a part unknown; what is wrong with the machine or the registry is an error.
func (g *Gatherer) measure(ctx context.Context, image v1.Image, in *Input) (unknown []error, err error) {
	in.Scanned = g.Malware != nil
	layers, err := sbom.ImageOf(image)
	if err == nil {
		var contents artifact.Contents
		if contents, err = g.Contents.Contents(ctx, layers); err == nil {
			in.Contents = &contents
		}
	}
	if err != nil { // its layers may not be those that it names: nothing that is known by their names is of it
		in.Base = nil
		return unmeasured(ctx, nil, err)
	}
	hard, err := g.Hardening.Report(ctx, image)
	if err == nil {
		in.Hardening = &hard
	}
	if unknown, err = unmeasured(ctx, unknown, err); err != nil || g.Malware == nil {
		return unknown, err
	}
	scan, err := g.Malware.Report(ctx, image)
	if err == nil {
		in.Malware = &scan
	}
	return unmeasured(ctx, unknown, err)
}

// unmeasured adds why a part is not known, if that is for the image's own fault.
func unmeasured(ctx context.Context, unknown []error, why error) ([]error, error) {
	switch kind := fault.KindOf(why); {
	case why == nil:
		return unknown, nil
	case ctx.Err() != nil, kind == fault.Unavailable, kind == fault.Canceled:
		return nil, why
	}
	return append(unknown, why), nil
}

// Input is all that facts are made of.
type Input struct {
	Repository string // without the registry for the local one
	Tags       []string
	Pushed     time.Time

	MediaType string // as the registry serves it
	Manifest  []byte
	Config    []byte // the blob that the manifest names as its configuration; nil for an index

	Report   attest.Report
	Base     *artifact.BaseFacts // nil: nothing is known of it
	Builders []Builder           // nil is OurBuilder
	Bills    *Bills              // nil: each is read

	// Contents and Hardening are our own look at the layers; nil: nobody could look.
	Contents  *artifact.Contents
	Hardening *hardening.Report

	// Malware is our own scan. Scanned says that there is a scanner, so that nobody else's word
	// counts, even if it came to nothing.
	Malware *malware.Report
	Scanned bool
}

// Of gives the facts. Its error is of kind Denied: the manifest is not what it says it is, or
// what came with it is about another.
func Of(in Input) (artifact.Facts, error) {
	shape, err := shapeOf(in)
	if err != nil {
		return artifact.Facts{}, refused(in.Repository, err)
	}
	return in.facts(shape)
}

// facts gives the facts of what has that shape.
func (in Input) facts(shape shape) (artifact.Facts, error) {
	if err := in.about(shape.digest); err != nil {
		return artifact.Facts{}, refused(in.Repository+"@"+shape.digest, err)
	}
	f := artifact.Facts{Image: shape.facts(in), Base: in.Base, Children: shape.children, Signatures: signatures(in.Report)}
	claims := claimsOf(in.Report)
	f.Provenance, f.Source = provenanceOf(claims, in.Builders)
	f.Tests = testsOf(claims)
	f.Malware = malwareOf(in, claims, shape.layers)
	if in.Hardening != nil {
		f.Hardening = hardeningOf(*in.Hardening)
	}
	if in.Contents != nil {
		f.Packages, f.InBase, f.Licenses = packagesOf(*in.Contents)
		f.SBOM = sbomOf(in.Bills, claims, *in.Contents)
	}
	return f, nil
}

// about says why something in the input is not about the manifest.
func (in Input) about(digest string) error {
	for _, other := range []struct{ what, digest string }{{"the verified evidence", in.Report.Image}, {"the account of the layers", contentsDigest(in.Contents)}} {
		if other.digest != "" && other.digest != digest {
			return fmt.Errorf("%s is about %.80q", other.what, other.digest)
		}
	}
	return nil
}

func contentsDigest(c *artifact.Contents) string {
	if c == nil {
		return ""
	}
	return c.Image
}

func refused(which string, err error) error {
	var known *fault.Error
	if errors.As(err, &known) {
		return err
	}
	return fault.New(fault.Denied, "gather facts", which, err)
}

// signatures gives those of the manifest itself, in a stable order; never nil: that there is
// none is known.
func signatures(r attest.Report) []artifact.SignatureFacts {
	out := []artifact.SignatureFacts{}
	for _, c := range r.Checks {
		if !c.Verified || c.Predicate != artifact.PredicateSignature {
			continue
		}
		s := artifact.SignatureFacts{By: identity(c), Issuer: c.Issuer, Keyless: c.Issuer != ""}
		if c.SignedAt != nil {
			s.At = c.SignedAt.UTC()
		}
		if !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	slices.SortStableFunc(out, compareSignatures)
	return out
}

// packagesOf gives the packages, which of them the base brought, and their licences.
func packagesOf(c artifact.Contents) (packages []artifact.Package, inBase []bool, licences []string) {
	base := map[string]bool{}
	for _, layer := range c.Layers[:max(0, min(c.BaseLayers, len(c.Layers)))] {
		base[layer] = true
	}
	packages, inBase, licences = slices.Clone(c.Packages), make([]bool, len(c.Packages)), []string{}
	if packages == nil {
		packages = []artifact.Package{} // good news, unlike nil
	}
	for i, p := range packages {
		inBase[i] = base[p.Layer]
		licences = append(licences, p.Licenses...)
	}
	slices.Sort(licences)
	return packages, inBase, slices.Compact(licences)
}
