// Package verify takes a reference and whom to believe and gives who vouches for what it names, and
// what is missing of what is wanted.
package verify

import (
	"context"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/evidence"
	"plimsoll.dev/plimsoll/internal/evidence/attest"
	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/oci"
)

// wants are the short names of predicate types.
var wants = []struct{ name, predicate string }{
	{"signature", artifact.PredicateSignature},
	{"spdx", artifact.PredicateSPDX},
	{"cyclonedx", artifact.PredicateCycloneDX},
	{"provenance", artifact.PredicateProvenance},
	{"hardening", artifact.PredicateHardening},
	{"malware", artifact.PredicateMalware},
	{"tests", artifact.PredicateTestResult},
	{"vex", artifact.PredicateVEX},
	{"vulns", artifact.PredicateVulns},
	{"vsa", artifact.PredicateVSA},
}

// Types gives the types of the words of a flag or field. A word that is none would be missed in every
// image, which is not the image's fault.
func Types(flag string, words ...string) ([]string, error) {
	all := Predicates(words)
	for i, predicate := range all {
		if !strings.Contains(predicate, "://") {
			return nil, fault.Newf(fault.Usage, "read flags", flag+" "+words[i], "it is neither a type that is known nor a URI").
				WithHint("want signature, spdx, cyclonedx, provenance, hardening, malware, tests, vex, vulns, vsa or a URI")
		}
	}
	return all, nil
}

// Predicates gives the types of those names.
func Predicates(names []string) []string {
	var out []string
	for _, name := range names {
		predicate := name
		for _, w := range wants {
			if w.name == name {
				predicate = w.predicate
			}
		}
		out = append(out, predicate)
	}
	return out
}

// Name is the short name of a type, or the type itself.
func Name(predicate string) string {
	for _, w := range wants {
		if w.predicate == predicate {
			return w.name
		}
	}
	return predicate
}

// Has says whether nothing that is wanted of the images is missing, whatever it says of them.
func (v *Report) Has() bool {
	return !slices.ContainsFunc(v.Parts, func(part Image) bool {
		return part.Platform != IndexPart && len(part.Missing) > 0
	})
}

// Report is what was verified of an image, or of an index and its images.
type Report struct {
	Ref      string  `json:"ref"`
	Digest   string  `json:"digest"`
	Verified bool    `json:"verified"`
	Parts    []Image `json:"images"` // the image; or the index, then its images
}

// IndexPart stands for an index where images have their platform.
const IndexPart = "index"

// Image is what was verified of one image.
type Image struct {
	Platform string `json:"platform"` // IndexPart for an index
	attest.Report
	Refused []attest.Missing `json:"refused,omitempty"` // what is wanted, verified, and speaks against the image
}

// All verifies an image, or an index with all its images: of an index itself only
// the signature is wanted, for all else is said of its images.
func All(ctx context.Context, session *oci.Session, ref oci.Reference, trust attest.Trust, want []string) (*Report, error) {
	m, err := session.Manifest(ctx, ref)
	if err != nil {
		return nil, err
	}
	out := &Report{Ref: ref.String(), Digest: m.Digest.String(), Verified: true}
	add := func(platform string, digest v1.Hash, want []string) error {
		attached, err := attest.List(ctx, session, ref, digest)
		if err != nil {
			return err
		}
		part := Image{Platform: platform, Report: attest.Verify(digest, attached, trust, want...)}
		part.heed(want)
		out.Parts, out.Verified = append(out.Parts, part), out.Verified && part.Verified
		return nil
	}
	if m.Index == nil {
		return out, add("", m.Digest, want)
	}
	if err := add(IndexPart, m.Digest, []string{artifact.PredicateSignature}); err != nil {
		return nil, err
	}
	refuse := func(why string) error {
		return fault.Newf(fault.Denied, "verify", ref.String(), why).WithHint("verify each of its images by its digest")
	}
	for _, d := range m.Index.Manifests {
		if d.Platform != nil && d.Platform.OS == "unknown" {
			continue // nobody runs it: attestations of other builders
		}
		if !d.MediaType.IsImage() {
			return nil, refuse("its index names something that is no image: " + d.Digest.String())
		}
		platform := "image"
		if d.Platform != nil {
			platform = d.Platform.String()
		}
		if err := add(platform, d.Digest, want); err != nil {
			return nil, err
		}
	}
	if len(out.Parts) == 1 {
		return nil, refuse("its index names no image")
	}
	return out, nil
}

// heed notes what verified claims say. Who wants a malware report or tests wants an image
// that is clean and passes: one that is not is not verified.
func (v *Image) heed(want []string) {
	for i, c := range v.Checks {
		e, ok := c.Evidence()
		if !ok {
			continue
		}
		said := evidence.Says(e)
		v.Checks[i].Says = short(said.Text)
		if said.Against && slices.Contains(want, c.Predicate) {
			v.Refused = append(v.Refused, attest.Missing{Predicate: c.Predicate, Why: v.Checks[i].Says})
			v.Verified = false
		}
	}
}

// Err gives nil for what is verified, else what is missing of which image or speaks against
// it.
func (v *Report) Err() error {
	if v.Verified {
		return nil
	}
	var why []string
	hint := "whoever makes the image issues it; `plimsoll attest` does for one that is there"
	for _, part := range v.Parts {
		for _, m := range slices.Concat(part.Refused, part.Missing) {
			name := Name(m.Predicate)
			if part.Platform != "" {
				name = part.Platform + " " + name
			}
			why = append(why, name+": "+m.Why)
		}
		switch {
		case len(part.Refused) > 0:
			hint = "see what it says with --show " + Name(part.Refused[0].Predicate)
		case slices.ContainsFunc(part.Missing, part.attached):
			hint = "name the keys it should be signed with (--key, --attestation-key), or sign it"
		}
	}
	return fault.Newf(fault.Denied, "verify", v.Ref, strings.Join(why, "; ")).WithHint(hint)
}

// attached says whether what is missing is there, and not verified.
func (v Image) attached(m attest.Missing) bool {
	return slices.ContainsFunc(v.Checks, func(c attest.Check) bool { return c.Predicate == m.Predicate })
}

// short gives as much of a claim as people read.
func short(text string) string {
	const most = 120
	runes := []rune(text)
	if len(runes) <= most {
		return text
	}
	return string(runes[:most-1]) + "…"
}
