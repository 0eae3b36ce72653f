package vsa_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/policy/vsa"
)

const (
	image    = "sha256:0a1b2c3d4e5f60718293a4b5c6d7e8f90a1b2c3d4e5f60718293a4b5c6d7e8f9"
	policies = "sha256:1111111111111111111111111111111111111111111111111111111111111111"
	facts    = "sha256:2222222222222222222222222222222222222222222222222222222222222222"
	resource = "pkg:oci/shop@sha256:0a1b2c3d4e5f60718293a4b5c6d7e8f90a1b2c3d4e5f60718293a4b5c6d7e8f9?repository_url=team%2FShop"
)

var (
	decided = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	until   = decided.Add(time.Hour)
	soon    = decided.Add(time.Minute)
	later   = decided.Add(2 * time.Hour)
)

// verdict warns at the registry, denies at admission and says nothing elsewhere.
func verdict() artifact.Verdict {
	return artifact.Verdict{
		Repository: "team/Shop", Image: image, Decided: decided.Add(time.Millisecond), Until: &soon, Policies: policies, Facts: facts,
		Gates: map[artifact.Gate]artifact.Action{artifact.GateRegistry: artifact.ActionWarn, artifact.GateAdmission: artifact.ActionDeny},
		Results: []artifact.Result{
			{Policy: "base-line", Rule: "signed", Passed: true},
			{Policy: "restricted", Rule: "signed", Passed: true},
			{Policy: "base-line", Rule: "no-secrets", Passed: true},
			{Policy: "other", Rule: "no-high", Deadline: &later},
			{Policy: "restricted", Rule: "no-shell", Excused: "legacy"},
		},
		Exceptions: []artifact.ExceptionInUse{{Name: "legacy", Owner: "shop", Reason: "it is old", Expires: until}},
	}
}

func TestOf(t *testing.T) {
	at := func(gate artifact.Gate, action artifact.Action) *vsa.Point {
		return &vsa.Point{Gate: gate, Action: action, Until: &until, Facts: facts, Exceptions: []string{"legacy"}}
	}
	input := []vsa.Resource{{URI: "oci://team/Shop", Digest: map[string]string{"sha256": policies[7:]}}}
	for _, test := range []struct {
		name string
		gate artifact.Gate
		opts vsa.Options
		want vsa.Summary
	}{
		{"a warning passes, with the policy whose every rule does", artifact.GateRegistry,
			vsa.Options{Level: 2, Inputs: input, Dependencies: map[int]int{2: 3, 0: 1}, Versions: map[string]string{"plimsoll": "1.2"}},
			vsa.Summary{
				Verifier: vsa.Author{ID: vsa.Verifier, Version: map[string]string{"plimsoll": "1.2"}}, VerificationResult: vsa.Passed,
				VerifiedLevels: []string{"SLSA_BUILD_LEVEL_2", "PLIMSOLL_POLICY_BASE_LINE"}, InputAttestations: input,
				DependencyLevels: map[string]int{"SLSA_BUILD_LEVEL_2": 3, "SLSA_BUILD_LEVEL_0": 1}, At: at(artifact.GateRegistry, artifact.ActionWarn),
			}},
		{"a denial has no level", artifact.GateAdmission, vsa.Options{Level: 3, Verifier: "https://example.com/v"},
			vsa.Summary{
				Verifier: vsa.Author{ID: "https://example.com/v"}, VerificationResult: vsa.Failed, VerifiedLevels: []string{"FAILED"},
				At: at(artifact.GateAdmission, artifact.ActionDeny),
			}},
		{"what nothing covers fails", artifact.GateGateway, vsa.Options{},
			vsa.Summary{
				Verifier: vsa.Author{ID: vsa.Verifier}, VerificationResult: vsa.Failed, VerifiedLevels: []string{"FAILED"},
				At: at(artifact.GateGateway, artifact.ActionDeny),
			}},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.want.TimeVerified, test.want.ResourceURI, test.want.SLSAVersion = decided, resource, "1.1"
			test.want.Policy = vsa.Resource{URI: vsa.Policies, Digest: map[string]string{"sha256": policies[7:]}}
			got := vsa.Of(verdict(), test.gate, test.opts)
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
			predicate, err := got.Predicate()
			if err != nil {
				t.Fatal(err)
			}
			back, err := vsa.Parse(predicate)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(got, back); diff != "" {
				t.Errorf("read back (-want +got)\n%s", diff)
			}
		})
	}
}

func TestUntil(t *testing.T) {
	v := verdict()
	foreseen := decided.Add(30 * time.Minute)
	v.Until = &foreseen
	if got := vsa.Of(v, artifact.GateRegistry, vsa.Options{}).At.Until; got == nil || !got.Equal(foreseen) {
		t.Errorf("until %v, want what is foreseen", got)
	}
	v.Until, v.Exceptions, v.Results = &soon, nil, nil
	if got := vsa.Of(v, artifact.GateRegistry, vsa.Options{}).At.Until; got != nil {
		t.Errorf("until %v, though it is only to be asked again", got)
	}
}

// others is the example of the specification, with whole digests.
const others = `{
  "verifier": {"id": "https://example.com/publication_verifier", "version": {"slsa-verifier": "v2.3.0"}, "more": 1},
  "timeVerified": "1985-04-12T23:20:50.52Z",
  "resourceUri": "https://example.com/example-1.2.3.tar.gz",
  "policy": {"uri": "https://example.com/example_tarball.policy", "digest": {"sha256": "1234567812345678123456781234567812345678123456781234567812345678"}},
  "inputAttestations": [{"uri": "https://example.com/p.jsonl", "digest": {"sha256": "abcdabcdabcdabcdabcdabcdabcdabcdabcdabcdabcdabcdabcdabcdabcdabcd"}}],
  "verificationResult": "PASSED",
  "verifiedLevels": ["SLSA_BUILD_LEVEL_3", "SLSA_SOURCE_LEVEL_1", "OURS"],
  "dependencyLevels": {"SLSA_BUILD_LEVEL_3": 5, "SLSA_BUILD_LEVEL_1": 1},
  "slsaVersion": "1.0",
  "https://example.com/extension": {"fields": "of others are passed over"}
}`

func TestParse(t *testing.T) {
	for _, test := range []struct{ name, old, new, why string }{
		{"the specification's example", "", "", ""},
		{"no verifier", `"id": "https://example.com/publication_verifier", `, ``, "verifier.id"},
		{"a verifier that is no URI", "https://example.com/publication_verifier", "somebody", "verifier.id"},
		{"no time", `"timeVerified": "1985-04-12T23:20:50.52Z",`, ``, "timeVerified"},
		{"a time that is none", "1985-04-12T23:20:50.52Z", "yesterday", "parsing time"},
		{"no resource", `"resourceUri": "https://example.com/example-1.2.3.tar.gz",`, ``, "resourceUri"},
		{"no policy", "https://example.com/example_tarball.policy", "", "policy.uri"},
		{"a policy's digest cut off", "1234567812345678123456781234567812345678123456781234567812345678", "1234", "policy.digest"},
		{"an input without a digest", `, "digest": {"sha256": "abcdabcdabcdabcdabcdabcdabcdabcdabcdabcdabcdabcdabcdabcdabcdabcd"}`, ``, "inputAttestations[0].digest"},
		{"no result", `"verificationResult": "PASSED",`, ``, "verificationResult"},
		{"another result", `"PASSED"`, `"passed"`, "verificationResult"},
		{"a result in another spelling", `"verificationResult"`, `"VerificationResult"`, "verificationResult"},
		{"two results", `"verificationResult": "PASSED",`, `"verificationResult": "PASSED", "verificationResult": "FAILED",`, "duplicate field"},
		{"levels of what failed", `"PASSED"`, `"FAILED"`, "beside the result"},
		{"failed levels of what passed", `"OURS"`, `"FAILED"`, "beside the result"},
		{"two levels of a track", `"OURS"`, `"SLSA_BUILD_LEVEL_1"`, "two levels"},
		{"one level twice", `"OURS"`, `"OURS", "OURS"`, "two levels"},
		{"a level that SLSA does not have", `"OURS"`, `"SLSA_OURS"`, "no level of SLSA"},
		{"fewer than no dependencies", `": 5`, `": -5`, "dependencyLevels"},
		{"another specification", `"1.0"`, `"2.0"`, "slsaVersion"},
		{"no object", others, `[]`, "cannot unmarshal"},
		{"an action beside another result", `"slsaVersion"`, `"https://plimsoll.dev/verdict/v1": {"gate": "registry", "action": "deny"}, "slsaVersion"`, "action"},
		{"an action that is none", `"slsaVersion"`, `"https://plimsoll.dev/verdict/v1": {"gate": "registry", "action": "wave"}, "slsaVersion"`, "action"},
		{"too large", `"1.0"`, `"1.0", "x": "` + strings.Repeat("x", 1<<20) + `"`, "larger than"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := vsa.Parse([]byte(strings.Replace(others, test.old, test.new, 1)))
			switch {
			case test.why == "" && err != nil:
				t.Errorf("refused: %v", err)
			case test.why != "" && err == nil:
				t.Error("taken")
			case test.why != "" && (fault.KindOf(err) != fault.Denied || !strings.Contains(err.Error(), test.why)):
				t.Errorf("%v, want it denied for %q", err, test.why)
			}
		})
	}
}

func TestVouches(t *testing.T) {
	s := vsa.Of(verdict(), artifact.GateRegistry, vsa.Options{})
	for _, test := range []struct {
		name, verifier, repository, digest string
		gate                               artifact.Gate
		now                                time.Time
		want                               bool
	}{
		{"the image itself", vsa.Verifier, "team/Shop", image, artifact.GateRegistry, decided.Add(time.Minute), true},
		{"of another verifier", "https://example.com", "team/Shop", image, artifact.GateRegistry, decided.Add(time.Minute), false},
		{"another repository", vsa.Verifier, "team/shop", image, artifact.GateRegistry, decided.Add(time.Minute), false},
		{"another image", vsa.Verifier, "team/Shop", facts, artifact.GateRegistry, decided.Add(time.Minute), false},
		{"another gate", vsa.Verifier, "team/Shop", image, artifact.GateAdmission, decided.Add(time.Minute), false},
		{"before it was verified", vsa.Verifier, "team/Shop", image, artifact.GateRegistry, decided.Add(-time.Minute), false},
		{"when its time is over", vsa.Verifier, "team/Shop", image, artifact.GateRegistry, until, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			err := s.Vouches(test.verifier, test.repository, test.digest, test.gate, test.now, 2*time.Hour)
			var refused *fault.Error
			if test.want != (err == nil) || err != nil && !errors.As(err, &refused) {
				t.Errorf("%v, want %v", err, test.want)
			}
		})
	}
	if err := s.Vouches(vsa.Verifier, "team/Shop", image, artifact.GateRegistry, decided.Add(31*time.Minute), 30*time.Minute); err == nil {
		t.Error("one that is too old vouches")
	}
	if err := vsa.Of(verdict(), artifact.GateAdmission, vsa.Options{}).Vouches(vsa.Verifier, "team/Shop", image, artifact.GateAdmission, decided.Add(time.Minute), time.Hour); err == nil {
		t.Error("a denial vouches")
	}
}

// FuzzParse holds that what is read can be written and read again, and is the same.
func FuzzParse(f *testing.F) {
	own, err := vsa.Of(verdict(), artifact.GateRegistry, vsa.Options{}).Predicate()
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte(own))
	f.Add([]byte(others))
	f.Add([]byte(`{"verifiedLevels":["FAILED"],"verificationResult":"FAILED"}`))
	f.Fuzz(func(t *testing.T, predicate []byte) {
		s, err := vsa.Parse(predicate)
		if err != nil {
			return
		}
		written, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		again, err := vsa.Parse(written)
		if err != nil {
			t.Fatalf("%v\n%s", err, written)
		}
		if diff := cmp.Diff(s, again, cmpopts.EquateEmpty()); diff != "" {
			t.Error(diff)
		}
	})
}
