// Package vsa takes a verdict and a gate and gives the predicate that tells others of it, and
// reads such predicates: SLSA v1.1, Verification Summary Attestation
// (slsa.dev/spec/v1.1/verification_summary).
package vsa

import (
	"encoding/json"
	"strconv"
	"strings"
	"time"

	"github.com/package-url/packageurl-go"

	"plimsoll.dev/plimsoll/artifact"
)

const (
	// Verifier is who decides (verifier.id): plimsoll, with the policies of the site that runs it.
	Verifier = "https://plimsoll.dev/verifier#site"

	// Policies stands for all policies and exceptions of a site (policy.uri); the digest beside it
	// says which these were.
	Policies = "https://plimsoll.dev/policy#site"

	// version is the SLSA specification's that is followed (slsaVersion).
	version = "1.1"
)

// Result is what the verification came to (verificationResult).
type Result string

// The results.
const (
	Passed Result = "PASSED"
	Failed Result = "FAILED"
)

// failedLevel is the only level of what failed.
const failedLevel = "FAILED"

// Summary is the predicate of type artifact.PredicateVSA.
type Summary struct {
	Verifier           Author         `json:"verifier"`
	TimeVerified       time.Time      `json:"timeVerified"`
	ResourceURI        string         `json:"resourceUri"` // package URL of the image, with its digest
	Policy             Resource       `json:"policy"`
	InputAttestations  []Resource     `json:"inputAttestations,omitempty"` // all that were used, or none
	VerificationResult Result         `json:"verificationResult"`
	VerifiedLevels     []string       `json:"verifiedLevels"`
	DependencyLevels   map[string]int `json:"dependencyLevels,omitempty"` // how many dependencies have a level
	SLSAVersion        string         `json:"slsaVersion,omitempty"`

	// At says what the specification has no field for; nil in what others wrote. Extensions are
	// named by URIs ("Parsing rules").
	At *Point `json:"https://plimsoll.dev/verdict/v1,omitempty"`
}

// Author is who decided.
type Author struct {
	ID      string            `json:"id"`                // URI
	Version map[string]string `json:"version,omitempty"` // of each of its parts
}

// Resource is a thing by name and digest: a ResourceDescriptor of in-toto
// (spec/v1/resource_descriptor.md).
type Resource struct {
	URI    string            `json:"uri,omitempty"`
	Digest map[string]string `json:"digest,omitempty"` // algorithm to hexadecimal digits
}

// Point is where a verdict counts and how long.
type Point struct {
	Gate       artifact.Gate   `json:"gate"`
	Action     artifact.Action `json:"action"`
	Until      *time.Time      `json:"until,omitempty"`      // when time alone may change it, as far as that is foreseen
	Facts      string          `json:"facts"`                // digest of what it was decided on
	Exceptions []string        `json:"exceptions,omitempty"` // names of those without which it would be another
}

// Options are what Of may be told.
type Options struct {
	Verifier string            // URI of who decides; "" is Verifier
	Versions map[string]string // of the verifier's parts: "plimsoll"
	Policies string            // URI of the policies; "" is Policies
	Inputs   []Resource        // all attestations that were used, by digest
	Level    int               // SLSA build level of the image by its provenance: 0 to 3

	// Dependencies counts what went into the image by SLSA build level, each at its highest; nil
	// when that is not known.
	Dependencies map[int]int
}

// Of gives the summary of a verdict at a gate. Whatever is not denied has passed: a warning is
// for people. What no policy covers has failed.
func Of(v artifact.Verdict, gate artifact.Gate, opts Options) Summary {
	s := Summary{
		Verifier:           Author{ID: or(opts.Verifier, Verifier), Version: opts.Versions},
		TimeVerified:       v.Decided.UTC().Truncate(time.Second),
		ResourceURI:        resourceURI(v.Repository, v.Image),
		Policy:             Resource{URI: or(opts.Policies, Policies), Digest: digestSet(v.Policies)},
		InputAttestations:  opts.Inputs,
		VerificationResult: Failed,
		VerifiedLevels:     []string{failedLevel},
		SLSAVersion:        version,
		At:                 &Point{Gate: gate, Action: v.At(gate), Until: ends(v), Facts: v.Facts},
	}
	for _, e := range v.Exceptions {
		s.At.Exceptions = append(s.At.Exceptions, e.Name)
	}
	if v.At(gate) != artifact.ActionDeny {
		s.VerificationResult = Passed
		s.VerifiedLevels = append([]string{buildLevel(opts.Level)}, policyLevels(v.Results)...)
	}
	for level, n := range opts.Dependencies {
		if s.DependencyLevels == nil {
			s.DependencyLevels = map[string]int{}
		}
		s.DependencyLevels[buildLevel(level)] += n
	}
	return s
}

// fleeting is how long a verdict stands at most that depends on the time in ways nobody can foresee.
const fleeting = time.Minute

// ends gives when time alone may change the verdict, as far as that is foreseen; nil for never. For
// the rest whoever relies on a summary says how old it may be.
func ends(v artifact.Verdict) *time.Time {
	if v.Until != nil && v.Until.Sub(v.Decided) > fleeting {
		return v.Until
	}
	var first *time.Time
	note := func(t time.Time) {
		if first == nil || t.Before(*first) {
			first = &t
		}
	}
	for _, r := range v.Results {
		if r.Deadline != nil {
			note(*r.Deadline)
		}
	}
	for _, e := range v.Exceptions {
		note(e.Expires)
	}
	return first
}

// Predicate gives the JSON: the same summary gives the same bytes.
func (s Summary) Predicate() (json.RawMessage, error) { return json.Marshal(s) }

// buildLevel names a level of SLSA's build track ("SlsaResult").
func buildLevel(n int) string { return "SLSA_BUILD_LEVEL_" + strconv.Itoa(max(0, min(n, 3))) }

// PolicyLevel names the level of an image that fulfils all rules of a policy, none by way of an
// exception. Names of policies are lower case, so that no two share a level.
func PolicyLevel(policy string) string {
	return "PLIMSOLL_POLICY_" + strings.ToUpper(strings.ReplaceAll(policy, "-", "_"))
}

// policyLevels gives the levels of the policies of which every rule that applies passed, in the
// policies' order.
func policyLevels(results []artifact.Result) []string {
	passed := map[string]bool{}
	var order []string
	for _, r := range results {
		before, seen := passed[r.Policy]
		if !seen {
			order = append(order, r.Policy)
		}
		passed[r.Policy] = r.Passed && (before || !seen)
	}
	var levels []string
	for _, policy := range order {
		if passed[policy] {
			levels = append(levels, PolicyLevel(policy))
		}
	}
	return levels
}

// resourceURI names an image by its package URL (purl-spec, PURL-TYPES, oci).
func resourceURI(repository, digest string) string {
	short := strings.ToLower(repository[strings.LastIndexByte(repository, '/')+1:])
	qualifiers := packageurl.QualifiersFromMap(map[string]string{"repository_url": repository})
	return packageurl.NewPackageURL(packageurl.TypeOCI, "", short, digest, qualifiers, "").ToString()
}

// digestSet reads "algorithm:hex".
func digestSet(digest string) map[string]string {
	algorithm, hex, ok := strings.Cut(digest, ":")
	if !ok {
		return nil
	}
	return map[string]string{algorithm: hex}
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}
