package evidence_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/evidence"
)

func TestSays(t *testing.T) {
	const source = `{"buildDefinition":{"buildType":"https://plimsoll.dev/provenance#build-v1","resolvedDependencies":[
		{"name":"builder","uri":"pkg:oci/builder"},{"name":"source","uri":"git+https://git.example.com/shop","digest":{"gitCommit":"0123456789abcdef0123"}}]}}`
	for _, c := range []struct {
		name, kind, predicate string
		want                  evidence.Said
	}{
		{"clean", artifact.PredicateMalware, `{"result":"clean","layers":[]}`, evidence.Said{Text: "clean"}},
		{"infected", artifact.PredicateMalware, `{"result":"infected","layers":[{"infected":[{"path":"a"}]},{"infected":[{"path":"b"}]}]}`,
			evidence.Said{Text: "infected: 2 files", Against: true}},
		{"infected, and says otherwise", artifact.PredicateMalware, `{"result":"clean","layers":[{"infected":[{"path":"a"}]}]}`,
			evidence.Said{Text: "infected: 1 file", Against: true}},
		{"incomplete", artifact.PredicateMalware, `{"result":"incomplete","layers":[{"unscanned":[{"path":"a"}]}]}`,
			evidence.Said{Text: "incomplete: 1 file not scanned"}},
		{"no report", artifact.PredicateMalware, `{}`, evidence.Said{Text: "not to be read", Against: true}},
		{"another shape", artifact.PredicateMalware, `{"layers":1}`, evidence.Said{Text: "not to be read", Against: true}},
		{"hardening", artifact.PredicateHardening, `{"checks":[{"result":"PASS"},{"result":"FAIL"},{"result":"INFO"}],"secrets":[{},{"sample":true}]}`,
			evidence.Said{Text: "1 of 2 checks pass, 1 secret"}},
		{"passed", artifact.PredicateTestResult, `{"result":"PASSED"}`, evidence.Said{Text: "PASSED"}},
		{"failed", artifact.PredicateTestResult, `{"result":"FAILED","failedTests":["a","b"]}`, evidence.Said{Text: "FAILED: 2 tests failed", Against: true}},
		{"neither", artifact.PredicateTestResult, `{"result":"fine"}`, evidence.Said{Text: "fine", Against: true}},
		{"provenance", artifact.PredicateProvenance, source, evidence.Said{Text: "build-v1 of git+https://git.example.com/shop at 0123456789ab"}},
		{"provenance of others", artifact.PredicateProvenance,
			`{"buildDefinition":{"buildType":"https://example.com/build/v1","resolvedDependencies":[{"uri":"git+https://x/y@refs/heads/main","annotations":{"a":1}}]}}`,
			evidence.Said{Text: "https://example.com/build/v1 of git+https://x/y@refs/heads/main"}},
		{"a base has no source", artifact.PredicateProvenance, `{"buildDefinition":{"buildType":"https://plimsoll.dev/provenance#base-v1"}}`,
			evidence.Said{Text: "base-v1"}},
		{"another type", "https://example.com/mine", `{}`, evidence.Said{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := evidence.Says(artifact.Evidence{PredicateType: c.kind, Predicate: []byte(c.predicate)})
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}
