package policy

import (
	"fmt"
	"testing"
	"time"

	"plimsoll.dev/plimsoll/artifact"
)

// BenchmarkDecide prints what a verdict costs by fifteen rules on an image of 300 packages and
// 80 findings: from facts that are ready, and from facts as they come.
func BenchmarkDecide(b *testing.B) {
	set := compileFile(b, "testdata/fifteen.yaml")
	now, facts := theNow(), largeFacts(300, 80)
	b.Run("prepared", func(b *testing.B) {
		subject := Prepare(facts)
		for b.Loop() {
			set.DecideOn(subject, Where{}, now)
		}
		b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N), "µs/verdict")
	})
	b.Run("from facts", func(b *testing.B) {
		for b.Loop() {
			set.Decide(facts, Where{}, now)
		}
		b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N), "µs/verdict")
	})
	b.Run("passing", func(b *testing.B) {
		passing := facts
		passing.Findings = []artifact.Finding{}
		subject := Prepare(passing)
		for b.Loop() {
			set.DecideOn(subject, Where{}, now)
		}
		b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N), "µs/verdict")
	})
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
