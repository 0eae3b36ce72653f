package facts

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/evidence/attest"
	"plimsoll.dev/plimsoll/internal/evidence/hardening"
	"plimsoll.dev/plimsoll/internal/evidence/malware"
	"plimsoll.dev/plimsoll/internal/evidence/provenance"
)

func claims(kind string, predicates ...string) []claim {
	var all []claim
	for _, p := range predicates {
		all = append(all, claim{"release", json.RawMessage(p), kind})
	}
	return all
}

func TestTests(t *testing.T) {
	const bomb = 5 << 20
	for _, tt := range []struct {
		name    string
		results []string
		want    *artifact.TestFacts
	}{
		{"none", nil, nil},
		{"passed", []string{`{"result":"PASSED","passedTests":["b","a","a"]}`}, &artifact.TestFacts{Result: "PASSED", Passed: []string{"a", "b"}}},
		{"the worst counts", []string{`{"result":"PASSED"}`, `{"result":"WARNED"}`, `{"result":"FAILED","failedTests":["x"]}`, `{"result":"PASSED"}`}, &artifact.TestFacts{Result: "FAILED", Failed: []string{"x"}}},
		{"a warning", []string{`{"result":"WARNED"}`, `{"result":"PASSED"}`}, &artifact.TestFacts{Result: "WARNED"}},
		{"a warning behind a word", []string{`{"result":"PASSED","warnedTests":["x"]}`}, &artifact.TestFacts{Result: "WARNED"}},
		{"a failure behind a word", []string{`{"result":"PASSED","failedTests":["x"]}`}, &artifact.TestFacts{Result: "FAILED", Failed: []string{"x"}}},
		{"no word", []string{`{}`}, &artifact.TestFacts{Result: "FAILED"}},
		{"a word that is none", []string{`{"result":"passed"}`}, &artifact.TestFacts{Result: "FAILED"}},
		{"not to be read", []string{`{"result":["PASSED"]}`}, &artifact.TestFacts{Result: "FAILED"}},
		{"not to be read beside what is", []string{`7`, `{"result":"PASSED"}`}, &artifact.TestFacts{Result: "FAILED"}},
		{"too large", []string{`{"result":"PASSED","x":"` + strings.Repeat("x", bomb) + `"}`}, &artifact.TestFacts{Result: "FAILED"}},
		{"too deep", []string{`{"result":"PASSED","x":` + strings.Repeat("[", bomb/4) + strings.Repeat("]", bomb/4) + `}`}, &artifact.TestFacts{Result: "FAILED"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, testsOf(claims(artifact.PredicateTestResult, tt.results...)), cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
	report := hardening.Report{Checks: []hardening.Check{{ID: "CIS-DI-4.1", Result: hardening.Fail}, {ID: "PLM-1", Result: hardening.Pass}}}
	text, err := json.Marshal(report.TestResult())
	if err != nil {
		t.Fatal(err)
	}
	want := &artifact.TestFacts{Result: "FAILED", Passed: []string{"PLM-1"}, Failed: []string{"CIS-DI-4.1"}}
	if diff := cmp.Diff(want, testsOf(claims(artifact.PredicateTestResult, string(text)))); diff != "" {
		t.Errorf("our own report as a test result (-want +got)\n%s", diff)
	}
}

func TestMalware(t *testing.T) {
	const one, two = `{"layer":"a","infected":[],"unscanned":[]}`, `{"layer":"b","infected":[],"unscanned":[]}`
	report := func(result, released string, layers ...string) string {
		return `{"result":"` + result + `","scanner":{"engine":"ClamAV 1.4","released":"` + released + `"},"layers":[` + strings.Join(layers, ",") + `]}`
	}
	const old, fresh = "2026-03-01T00:00:00Z", "2026-03-02T00:00:00Z"
	at := func(text string) time.Time {
		when, err := time.Parse(time.RFC3339, text)
		if err != nil {
			t.Fatal(err)
		}
		return when
	}
	facts := func(result, released string, infected ...string) *artifact.MalwareFacts {
		return &artifact.MalwareFacts{Result: result, Infected: infected, Scanner: "ClamAV 1.4", Signatures: at(released)}
	}
	for _, tt := range []struct {
		name    string
		in      Input
		reports []string
		want    *artifact.MalwareFacts
	}{
		{"none", Input{}, nil, nil},
		{"clean", Input{}, []string{report("clean", old, one, two)}, facts("clean", old)},
		{"of equal ones the newer", Input{}, []string{report("clean", old, one, two), report("clean", fresh, one, two), report("clean", old, one, two)}, facts("clean", fresh)},
		{"the worst, however old", Input{}, []string{report("clean", fresh, one, two), report("infected", old, `{"layer":"a","infected":[{"path":"x","signature":"Eicar"}]}`, two)}, facts("infected", old, "x: Eicar")},
		{"a finding behind a word", Input{}, []string{report("clean", old, `{"layer":"a","infected":[{"path":"x","signature":"Eicar"}]}`, two)}, facts("infected", old, "x: Eicar")},
		{"a file that was not scanned behind a word", Input{}, []string{report("clean", old, one, `{"layer":"b","unscanned":[{"path":"x"}]}`)}, facts("incomplete", old)},
		{"a layer that it does not tell of", Input{}, []string{report("clean", old, one)}, facts("incomplete", old)},
		{"a word that is none", Input{}, []string{report("spotless", old, one, two)}, facts("incomplete", old)},
		{"not to be read", Input{}, []string{`{"result":7}`, report("clean", old, one, two)}, &artifact.MalwareFacts{Result: "incomplete"}},
		{"our own scan", Input{Scanned: true, Malware: &malware.Report{Result: malware.Clean, Layers: []malware.Layer{{Layer: "a"}, {Layer: "b"}}}}, []string{report("infected", old, one, two)}, &artifact.MalwareFacts{Result: "clean"}},
		{"our own scan came to nothing", Input{Scanned: true}, []string{report("clean", old, one, two)}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, malwareOf(tt.in, claims(artifact.PredicateMalware, tt.reports...), []string{"a", "b"}), cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestHardening(t *testing.T) {
	report := hardening.Report{
		User:     hardening.User{Root: true},
		Programs: []hardening.Program{{Kind: hardening.Shell, Path: "bin/sh"}, {Kind: hardening.Compiler, Path: "usr/bin/gcc"}, {Kind: hardening.Network, Path: "usr/bin/nc"}},
		SetID:    []hardening.File{{Path: "usr/bin/passwd"}},
		Secrets: []hardening.Secret{
			{Kind: "private-key", In: hardening.InFile, Name: "root/id_rsa"}, {Kind: "jwt", In: hardening.InCommand}, {Kind: "private-key", In: hardening.InFile, Name: "test/id_rsa", Sample: true},
		},
		Checks: []hardening.Check{{ID: "CIS-DI-4.1", Result: hardening.Fail}},
	}
	want := &artifact.HardeningFacts{
		Root: true, Shells: []string{"/bin/sh"}, Compilers: []string{"/usr/bin/gcc"}, SetID: []string{"/usr/bin/passwd"},
		Secrets: []string{"jwt in command", "private-key in file root/id_rsa"}, Checks: map[string]string{"CIS-DI-4.1": "FAIL"},
	}
	if diff := cmp.Diff(want, hardeningOf(report), cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	report.Skipped.More = 1
	if got := hardeningOf(report); got != nil {
		t.Errorf("a report that does not tell all passes for one that does: %+v", got)
	}
}

func TestProvenance(t *testing.T) {
	const commit = "abababababababababababababababababababab"
	ours := func(kind, external, source string) string {
		return `{"buildDefinition":{"buildType":"https://plimsoll.dev/provenance#` + kind + `","externalParameters":` + external + `,"resolvedDependencies":[{"name":"builder"},` + source + `]},
			"runDetails":{"builder":{"id":"` + provenance.Platform + `"},"metadata":{"startedOn":"2026-03-01T08:00:00Z","finishedOn":"2026-03-01T08:01:00Z"}}}`
	}
	const git = `{"name":"source","uri":"git+https://ann:token@git.example/shop?x=y","digest":{"plimsollTree1":"00","gitCommit":"` + commit + `"}}`
	const dirty = `{"name":"source","uri":"git+https://git.example/shop","digest":{"plimsollTree1":"00"},"annotations":{"basedOnCommit":"` + commit + `","clean":"false"}}`
	const github = `{"buildDefinition":{"buildType":"https://actions.github.io/buildtypes/workflow/v1","externalParameters":{"workflow":{"ref":"refs/heads/main"}},
		"resolvedDependencies":[{"uri":"git+https://github.com/team/shop@refs/heads/main","digest":{"gitCommit":"` + commit + `"}}]},"runDetails":{"builder":{"id":"https://github.com/actions/runner/github-hosted"}}}`
	const older = `{"builder":{"id":"https://builder.example"},"buildType":"x","invocation":{"configSource":{"uri":"git+ssh://git@git.example/team/shop@refs/tags/v1","digest":{"sha1":"` + commit + `"}}},
		"metadata":{"buildStartedOn":"2026-03-01T08:00:00Z","buildFinishedOn":"2026-03-01T09:00:00Z"}}`
	known := []Builder{{ID: provenance.Platform, Level: 2}, {ID: "https://builder.example", Level: 3, By: []string{"ci"}}, {ID: "https://github.com/actions/runner/github-hosted", Level: 9}}
	clean := &artifact.SourceFacts{Kind: "git", URL: "https://git.example/shop", Revision: commit, Ref: "main", Clean: true}
	rebased := *clean
	rebased.Ref = ""
	for _, tt := range []struct {
		name, reason string
		claims       []claim
		builder      string
		level        int
		source       *artifact.SourceFacts
	}{
		{"none", "nobody says", nil, "", 0, nil},
		{"ours", "passwords are left out", claims(artifact.PredicateProvenance, ours("build-v1", `{"source":{"ref":"main"}}`, git)), provenance.Platform, 2, clean},
		{"a work tree with changes", "it is no commit", claims(artifact.PredicateProvenance, ours("build-v1", `{}`, dirty)), provenance.Platform, 2, &artifact.SourceFacts{Kind: "directory", URL: "https://git.example/shop"}},
		{"a folder", "it has no address", claims(artifact.PredicateProvenance, ours("build-v1", `{}`, `{"name":"source","digest":{"plimsollTree1":"00"}}`)), provenance.Platform, 2, &artifact.SourceFacts{Kind: "directory"}},
		{"an archive", "its own hash", claims(artifact.PredicateProvenance, ours("build-v1", `{}`, `{"name":"source","uri":"https://dl.example/a.tgz","digest":{"sha256":"00"}}`)), provenance.Platform, 2, &artifact.SourceFacts{Kind: "archive", URL: "https://dl.example/a.tgz", Revision: "sha256:00", Clean: true}},
		{"a rebase", "as the image before it had signed", claims(artifact.PredicateProvenance, ours("rebase-v1", `{}`, git)), provenance.Platform, 2, &rebased},
		{"a rebase of what a stranger made", "nobody who is trusted said where it is from", claims(artifact.PredicateProvenance, ours("rebase-v1", `{"vouched":true}`, git)), provenance.Platform, 2, nil},
		{"a rebase, hiding that", "it cannot be read", claims(artifact.PredicateProvenance, ours("rebase-v1", `{"vouched":"no"}`, git)), "", 0, nil},
		{"GitHub's", "levels end at 3", claims(artifact.PredicateProvenance, github), "https://github.com/actions/runner/github-hosted", 3, &artifact.SourceFacts{URL: "https://github.com/team/shop", Ref: "refs/heads/main", Revision: commit, Clean: true}},
		{"an older one", "its signer may not speak for the builder", claims(oldProvenance, older), "https://builder.example", 0, &artifact.SourceFacts{URL: "ssh://git@git.example/team/shop", Ref: "refs/tags/v1", Revision: commit, Clean: true}},
		{"an older one", "its signer may", []claim{{"ci", json.RawMessage(older), oldProvenance}}, "https://builder.example", 3, &artifact.SourceFacts{URL: "ssh://git@git.example/team/shop", Ref: "refs/tags/v1", Revision: commit, Clean: true}},
		{"a builder that nobody knows", "it has no level", claims(artifact.PredicateProvenance, `{"runDetails":{"builder":{"id":"x"}}}`), "x", 0, nil},
		{"two", "the higher level counts", append(claims(artifact.PredicateProvenance, ours("build-v1", `{"source":{"ref":"main"}}`, git)), claims(oldProvenance, older)...), provenance.Platform, 2, clean},
		{"one that cannot be read beside one that can", "as if it were not there", claims(artifact.PredicateProvenance, `{"runDetails":[]}`, ours("build-v1", `{"source":{"ref":"main"}}`, git)), provenance.Platform, 2, clean},
		{"no builder", "nobody built it", claims(artifact.PredicateProvenance, `{}`), "", 0, nil},
		{"a wide one", "it is a bomb", claims(artifact.PredicateProvenance, `{"buildDefinition":{"resolvedDependencies":[{}`+strings.Repeat(`,{}`, 2<<20)+`]},"runDetails":{"builder":{"id":"x"}}}`), "", 0, nil},
		{"a deep one", "it is a bomb", claims(artifact.PredicateProvenance, `{"runDetails":{"builder":{"id":"x"}},"x":`+strings.Repeat(`[`, 1<<20)+strings.Repeat(`]`, 1<<20)+`}`), "", 0, nil},
		{"an address that is none", "it is left out", claims(artifact.PredicateProvenance, ours("build-v1", `{}`, `{"name":"source","uri":"git+https://git.example/\u001b[2J","digest":{"gitCommit":"`+commit+`"}}`)), provenance.Platform, 2, &artifact.SourceFacts{Kind: "git", Revision: commit, Clean: true}},
	} {
		t.Run(tt.name+", "+tt.reason, func(t *testing.T) {
			build, source := provenanceOf(tt.claims, known)
			if diff := cmp.Diff(tt.source, source); diff != "" {
				t.Errorf("source (-want +got)\n%s", diff)
			}
			if build == nil {
				build = &artifact.ProvenanceFacts{}
			}
			if build.Builder != tt.builder || build.Level != tt.level {
				t.Errorf("%+v, want %q at level %d", build, tt.builder, tt.level)
			}
		})
	}
}

// FuzzClaims reads anything as claims of every type: what it gives is bounded, and nothing
// that cannot be read is good news.
func FuzzClaims(f *testing.F) {
	for _, seed := range []string{
		`{"result":"PASSED","failedTests":["x"]}`, `{"result":"clean","layers":[{"layer":"a","infected":[{"path":"x","signature":"y"}]}]}`,
		`{"buildDefinition":{"buildType":"https://plimsoll.dev/provenance#build-v1","externalParameters":{},"resolvedDependencies":[{"name":"source","uri":"git+https://a:b@c/d@e","digest":{"gitCommit":"x"}}]},"runDetails":{"builder":{"id":"x"}}}`,
		`{"builder":{"id":"x"},"invocation":{"configSource":{"uri":"git+https://a/b@c","digest":{"sha1":"x"}}}}`,
		`{"spdxVersion":"SPDX-2.3","packages":[{"externalRefs":[{"referenceType":"purl","referenceLocator":"pkg:npm/a@1"}]}]}`,
		`{"bomFormat":"CycloneDX","components":[{"purl":"pkg:golang/A/b@v1","components":[{"purl":"pkg:pypi/A_b@1"}]}]}`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, predicate string) {
		readable := json.Valid([]byte(predicate))
		if got := testsOf(claims(artifact.PredicateTestResult, predicate)); got.Result != "FAILED" && !readable {
			t.Errorf("tests came to %s", got.Result)
		}
		if got := malwareOf(Input{}, claims(artifact.PredicateMalware, predicate), []string{"a"}); got.Result == "clean" && !readable {
			t.Error("no malware was found")
		}
		for _, kind := range []string{artifact.PredicateProvenance, oldProvenance} {
			build, source := provenanceOf(claims(kind, predicate), nil)
			if build != nil && (!readable || len(build.Builder) > maxText+3) {
				t.Errorf("built by %q", build.Builder)
			}
			if source != nil && (len(source.URL) > maxText+3 || strings.Contains(source.URL, "?")) {
				t.Errorf("from %q", source.URL)
			}
		}
		contents := artifact.Contents{Packages: []artifact.Package{{Type: "npm", Name: "a", Version: "1"}}}
		for _, format := range formats() {
			got := sbomOf(nil, claims(format.predicate, predicate), contents)
			if !readable && len(got.Unlisted) != 1 {
				t.Errorf("a bill that cannot be read names %+v", got)
			}
		}
	})
}

func TestSignatures(t *testing.T) {
	const issuer, workflow = "https://git.example", "https://git.example/team/app/build.yaml@refs/heads/main"
	at := time.Date(2026, 3, 1, 8, 0, 0, 0, time.FixedZone("", 3600))
	signature := func(c attest.Check) attest.Check {
		c.Predicate, c.Verified = artifact.PredicateSignature, true
		return c
	}
	report := attest.Report{Checks: []attest.Check{
		signature(attest.Check{By: workflow + " (" + issuer + ")", Issuer: issuer, SignedAt: &at}),
		signature(attest.Check{By: "release"}), signature(attest.Check{By: "release"}),
		signature(attest.Check{By: "odd (" + issuer + ")"}), // a key may be called so
		{Predicate: artifact.PredicateSignature, By: "stranger", Why: "no trusted key verifies it"},
		{Predicate: artifact.PredicateSPDX, Verified: true, By: "release"},
	}}
	want := []artifact.SignatureFacts{{By: workflow, Issuer: issuer, Keyless: true, At: at.UTC()}, {By: "odd (" + issuer + ")"}, {By: "release"}}
	if diff := cmp.Diff(want, signatures(report)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if got := signatures(attest.Report{}); got == nil || len(got) > 0 {
		t.Errorf("got %#v, want it known that there is none", got)
	}
}
