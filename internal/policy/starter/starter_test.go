package starter_test

import (
	"cmp"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/policy"
	"plimsoll.dev/plimsoll/internal/policy/cases"
	"plimsoll.dev/plimsoll/internal/policy/starter"
)

// documents gives the policies of a profile as a home would have them.
func documents(t testing.TB, profile string) *policy.Documents {
	t.Helper()
	text, err := starter.Policies(profile)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), profile+".yaml")
	if err := os.WriteFile(path, text, 0o644); err != nil {
		t.Fatal(err)
	}
	d, err := policy.Load(path)
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return d
}

// TestCases runs the tables, and holds that they show of each rule, for each kind of manifest, what
// passes, what does not, and what comes of not knowing.
func TestCases(t *testing.T) {
	type ruleOf struct {
		rule string
		kind artifact.Kind
	}
	wanted := map[ruleOf]map[cases.Outcome]bool{}
	for _, profile := range starter.Profiles() {
		t.Run(profile.Name, func(t *testing.T) {
			table, err := cases.Load(filepath.Join("testdata", profile.Name+".yaml"))
			if err != nil {
				t.Fatal(err)
			}
			results, err := cases.Run(documents(t, profile.Name), table)
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range results {
				if !r.Passed {
					t.Errorf("%s:\n\t%s", r.Name, strings.Join(r.Problems, "\n\t"))
				}
				for name, outcome := range r.Want.Rules {
					of, rule, _ := strings.Cut(name, "/")
					kind := map[string]artifact.Kind{"index": artifact.KindIndex, "artifact": artifact.KindArtifact}[strings.TrimPrefix(of, profile.Name+"-")]
					at := ruleOf{rule, cmp.Or(kind, artifact.KindImage)}
					if wanted[at] == nil {
						wanted[at] = map[cases.Outcome]bool{}
					}
					wanted[at][outcome] = true
				}
			}
		})
	}
	// What these read is always known, or asked for.
	known := []string{"signed", "advised", "not-infected", "no-vague-tag", "known-type"}
	for _, rule := range starter.Rules() {
		for _, kind := range rule.Kinds {
			got := wanted[ruleOf{rule.Name, kind}]
			if !got[cases.Pass] || !got[cases.Fail] || !got[cases.Missing] && !slices.Contains(known, rule.Name) {
				t.Errorf("%s of an %s: tables want only %v", rule.Name, kind, slices.Sorted(maps.Keys(got)))
			}
		}
	}
}

func TestEveryRuleIsInAProfile(t *testing.T) {
	chosen := map[string]bool{}
	for _, p := range starter.Profiles() {
		for _, c := range p.Rules {
			chosen[c.Name] = true
		}
	}
	for _, r := range starter.Rules() {
		if !chosen[r.Name] {
			t.Errorf("no profile has %s", r.Name)
		}
		delete(chosen, r.Name)
	}
	if len(chosen) > 0 {
		t.Errorf("there are no rules %v", chosen)
	}
}

// TestRemedies holds that every rule that fails says what to do, and that what an image says of
// itself is no more than a name in a command.
func TestRemedies(t *testing.T) {
	table, err := cases.Load("testdata/regulated.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for i := range table {
		facts := &table[i].Facts
		if facts.Base != nil {
			facts.Base.Name = "run:1; rm -rf /"
		}
		if facts.Source != nil {
			facts.Source.URL = "https://git.example.com/$(id)"
		}
	}
	results, err := cases.Run(documents(t, "regulated"), table)
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, result := range results {
		for _, r := range result.Verdict.Results {
			if r.Passed {
				continue
			}
			seen++
			if r.Remedy == "" || strings.ContainsAny(r.Remedy, ";()`|&<>\n") || r.Why == "" {
				t.Errorf("%s: %s: why %q, remedy %q", result.Name, r.Rule, r.Why, r.Remedy)
			}
		}
	}
	if seen < 50 {
		t.Errorf("only %d rules failed", seen)
	}
}

func TestUnknownProfile(t *testing.T) {
	if _, err := starter.Policies("paranoid"); fault.KindOf(err) != fault.Usage {
		t.Errorf("%v, want wrong usage", err)
	}
}

// BenchmarkRestricted decides on an image of 300 packages and 80 findings.
func BenchmarkRestricted(b *testing.B) {
	table, err := cases.Load("testdata/restricted.yaml")
	if err != nil {
		b.Fatal(err)
	}
	facts := table[0].Facts
	facts.Packages, facts.InBase, facts.Findings = nil, nil, nil
	for i := range 300 {
		p := artifact.Package{
			Type: "deb", Namespace: "debian", Name: fmt.Sprintf("package-%d", i), Version: "1.2.3-4", Arch: "amd64", Distro: "debian-13",
			Source: fmt.Sprintf("source-%d", i), Licenses: []string{"MIT", "Apache-2.0"}, Paths: []string{"var/lib/dpkg/status"}, Layer: fmt.Sprintf("sha256:%064d", i%8),
		}
		facts.Packages, facts.InBase = append(facts.Packages, p), append(facts.InBase, i%3 > 0)
		if i < 80 {
			severity := []artifact.Severity{artifact.SeverityMedium, artifact.SeverityLow, artifact.SeverityHigh, artifact.SeverityNone}[i%4]
			facts.Findings = append(facts.Findings, artifact.Finding{
				ID: fmt.Sprintf("CVE-2026-%04d", i), Severity: severity, Source: "debian", Package: p, Fixed: map[bool]string{true: "1.2.3-5"}[i%5 == 0],
				State: "fixed", Remedy: artifact.RemedyRebase, Published: table[0].Now.Add(-time.Duration(i) * time.Hour),
			})
		}
	}
	set, err := documents(b, "restricted").Compile(policy.Options{})
	if err != nil {
		b.Fatal(err)
	}
	subject := policy.Prepare(facts)
	b.Run("known", func(b *testing.B) {
		for b.Loop() {
			set.DecideOn(subject, policy.Where{}, table[0].Now)
		}
		b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N), "µs/verdict")
	})
	b.Run("with-preparation", func(b *testing.B) {
		for b.Loop() {
			set.Decide(facts, policy.Where{}, table[0].Now)
		}
		b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N), "µs/verdict")
	})
}
