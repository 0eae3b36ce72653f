package policy

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/types"
	"k8s.io/apimachinery/pkg/util/version"
	"k8s.io/apiserver/pkg/cel/environment"

	"plimsoll.dev/plimsoll/artifact"
)

// BenchmarkDecide prints what a verdict costs by fifteen rules on an image of 300 packages and
// 80 findings: from facts that are ready, from facts as they come, and of an image without
// findings.
func BenchmarkDecide(b *testing.B) {
	set := compileFile(b, "testdata/fifteen.yaml")
	facts := largeFacts(300, 80)
	passing := facts
	passing.Findings = []artifact.Finding{}
	ready, readyPassing := Prepare(facts), Prepare(passing)
	for _, way := range []struct {
		name   string
		decide func()
	}{
		{"prepared", func() { set.DecideOn(ready, Where{}, theNow()) }},
		{"from facts", func() { set.Decide(facts, Where{}, theNow()) }},
		{"passing", func() { set.DecideOn(readyPassing, Where{}, theNow()) }},
	} {
		b.Run(way.name, func(b *testing.B) {
			for b.Loop() {
				way.decide()
			}
			b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N), "µs/verdict")
		})
	}
}

// BenchmarkBesideKubernetes evaluates conditions over findings as they are here, and with the
// programs of Kubernetes' environment, which count every step; it prints how many times as long
// those take.
func BenchmarkBesideKubernetes(b *testing.B) {
	conditions := []string{
		`findings.filter(f, !f.suppressed).filter(f, f.fixed != "").all(f, f.severity != "critical")`,
		`findings.all(f, !f.knownExploited)`, `findings.filter(f, f.fixable).map(f, f.published).min() < now`,
	}
	q := newQuestion(&Set{}, Prepare(largeFacts(300, 80)), Where{}, theNow())
	var ours []*expression
	var theirs []cel.Program
	for _, condition := range conditions {
		e, wrong := newScope().compile(condition, cel.BoolType)
		if wrong != nil {
			b.Fatal(wrong.text)
		}
		ours, theirs = append(ours, e), append(theirs, kubernetesProgram(b, condition))
	}
	var here, there time.Duration
	for b.Loop() {
		start := time.Now()
		for _, e := range ours {
			q.spent = 0
			if v, err := q.eval(e); v != types.True {
				b.Fatal(v, err)
			}
		}
		here += time.Since(start)
		start = time.Now()
		for _, program := range theirs {
			if v, _, err := program.Eval(q); v != types.True {
				b.Fatal(v, err)
			}
		}
		there += time.Since(start)
	}
	b.ReportMetric(float64(here.Microseconds())/float64(b.N), "µs/here")
	b.ReportMetric(float64(there.Microseconds())/float64(b.N), "µs/kubernetes")
	b.ReportMetric(float64(there)/float64(here), "×")
}

func kubernetesProgram(b *testing.B, condition string) cel.Program {
	env := environment.MustBaseEnvSet(version.MajorMinor(1, 33), true).NewExpressionsEnv()
	provide := newProvider(env.CELTypeProvider(), env.CELTypeAdapter())
	options := []cel.EnvOption{cel.CustomTypeProvider(provide), cel.CustomTypeAdapter(provide)}
	for _, v := range allVariables {
		options = append(options, cel.Variable(v.name, v.typ))
	}
	env, err := env.Extend(options...)
	if err != nil {
		b.Fatal(err)
	}
	checked, issues := env.Compile(condition)
	if issues.Err() != nil {
		b.Fatal(issues.Err())
	}
	program, err := env.Program(checked)
	if err != nil {
		b.Fatal(err)
	}
	return program
}

func BenchmarkCompile(b *testing.B) {
	for b.Loop() {
		compileFile(b, "testdata/fifteen.yaml")
	}
}

func compileFile(t testing.TB, file string) *Set {
	t.Helper()
	d, err := Load(file)
	if err != nil {
		t.Fatal(err)
	}
	set, err := d.Compile(Options{})
	if err != nil {
		t.Fatal(err)
	}
	return set
}

func theNow() time.Time { return time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC) }

// largeFacts are of an image about which everything is known and all is well, but for what the
// findings say.
func largeFacts(packages, findings int) artifact.Facts {
	now := theNow()
	f := artifact.Facts{
		Image: artifact.ImageFacts{
			Repository: "team/app", Digest: fmt.Sprintf("sha256:%064d", 1), Tags: []string{"1.2", "1.2.3"}, Kind: artifact.KindImage,
			Platform: "linux/amd64", Created: now.Add(-time.Hour), Pushed: now.Add(-time.Minute), Size: 50 << 20, Layers: 12, User: "65532",
			Labels: map[string]string{"team": "a"},
		},
		Base:       &artifact.BaseFacts{Name: "base/run:1", Digest: fmt.Sprintf("sha256:%064d", 2), Created: now.Add(-48 * time.Hour), Verified: true, By: "release"},
		Source:     &artifact.SourceFacts{Kind: "git", URL: "https://git.example.com/team/app", Revision: "abc", Clean: true},
		Provenance: &artifact.ProvenanceFacts{Builder: "https://plimsoll.dev/builder", By: "release", Level: 3, Started: now.Add(-time.Hour), Finished: now.Add(-time.Hour)},
		SBOM:       &artifact.SBOMFacts{Formats: []string{"cyclonedx", "spdx"}, Packages: packages, Complete: true},
		Tests:      &artifact.TestFacts{Result: "PASSED", Passed: []string{"starts"}},
		Malware:    &artifact.MalwareFacts{Result: "clean", Signatures: now.Add(-time.Hour)},
		Hardening:  &artifact.HardeningFacts{NumericUser: true},
		Signatures: []artifact.SignatureFacts{{By: "release"}},
		Packages:   []artifact.Package{}, InBase: []bool{}, Findings: []artifact.Finding{}, Licenses: []string{"Apache-2.0", "BSD-3-Clause", "GPL-2.0-only", "MIT", "Zlib"},
		Advisories: now.Add(-time.Hour),
	}
	for i := range packages {
		f.Packages = append(f.Packages, artifact.Package{
			Type: "deb", Namespace: "debian", Name: fmt.Sprintf("libpackage%d", i), Version: fmt.Sprintf("1.%d-1", i), Arch: "amd64", Distro: "debian-13",
			Source: fmt.Sprintf("package%d", i), SourceVersion: fmt.Sprintf("1.%d-1", i), Licenses: []string{"MIT"}, Layer: fmt.Sprintf("sha256:%064d", i%12),
			Paths: []string{fmt.Sprintf("var/lib/dpkg/status.d/libpackage%d", i)}, FoundBy: []string{"image"},
		})
		f.InBase = append(f.InBase, i%12 < 8)
	}
	severities := []artifact.Severity{artifact.SeverityHigh, artifact.SeverityMedium, artifact.SeverityLow, artifact.SeverityUnknown}
	for i := range findings {
		finding := artifact.Finding{
			ID: fmt.Sprintf("CVE-2026-%04d", i), Aliases: []string{fmt.Sprintf("DSA-%d", i)}, Summary: "An overflow in the parser of something", Severity: severities[i%4],
			Score: 5.5, Vector: "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H", Source: "debian", Package: f.Packages[i], State: "fixed", Published: now.AddDate(0, 0, -i), EPSS: 0.01,
		}
		if i%2 == 0 {
			finding.Fixed = "2.0-1"
		}
		f.Findings = append(f.Findings, finding)
	}
	return f
}
