package artifact

import "encoding/json"

// Predicate types of the evidence that Plimsoll makes: URIs of in-toto Statements v1.
const (
	PredicateSPDX       = "https://spdx.dev/Document"
	PredicateCycloneDX  = "https://cyclonedx.org/bom"
	PredicateProvenance = "https://slsa.dev/provenance/v1"
	PredicateVEX        = "https://openvex.dev/ns/v0.2.0"
	PredicateTestResult = "https://in-toto.io/attestation/test-result/v0.1"
	PredicateVulns      = "https://in-toto.io/attestation/vulns/v0.2"
	PredicateHardening  = "https://plimsoll.dev/attestation/hardening/v1"
	PredicateMalware    = "https://plimsoll.dev/attestation/malware/v1"

	// PredicateVSA is a verdict (SLSA v1.1, Verification Summary Attestation).
	PredicateVSA = "https://slsa.dev/verification_summary/v1"

	// PredicateSignature is what a signature of the image itself says in a Sigstore bundle.
	PredicateSignature = "https://sigstore.dev/cosign/sign/v1"
)

// Evidence is one claim about one image, not yet signed or already verified.
type Evidence struct {
	Subject       string          // digest of the image's manifest or index, "sha256:…"
	PredicateType string          // one of the URIs above, or another
	Predicate     json.RawMessage // a JSON object of that type
}
