package report_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/in-toto/attestation/go/predicates/vulns/v02"
	"github.com/xeipuuv/gojsonschema"
	"google.golang.org/protobuf/encoding/protojson"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/vuln/match"
	"plimsoll.dev/plimsoll/internal/vuln/report"
)

var (
	libssl = artifact.Package{Type: "deb", Namespace: "debian", Name: "libssl3t64", Version: "3.5.1-1", Source: "openssl", SourceVersion: "3.5.1-1", Distro: "debian-13", Arch: "amd64", Paths: []string{"var/lib/dpkg/status.d/libssl3t64"}}
	cli    = artifact.Package{Type: "deb", Namespace: "debian", Name: "openssl", Version: "3.5.1-1", Source: "openssl", SourceVersion: "3.5.1-1", Distro: "debian-13", Arch: "amd64", Paths: []string{"var/lib/dpkg/status.d/openssl"}}
	lodash = artifact.Package{Type: "npm", Name: "lodash", Version: "4.17.15", Paths: []string{"workspace/node modules/a:b/package.json"}}
	stdlib = artifact.Package{Type: "golang", Name: "stdlib", Version: "1.22.3"}
)

// scan has a finding of every kind. Its order is none that a table may have.
func scan() report.Scan {
	const vector = "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"
	return report.Scan{
		Reference: "app:1", Contents: artifact.Contents{Image: "sha256:" + strings.Repeat("a", 64), Platform: "linux/amd64", Packages: []artifact.Package{libssl, cli, lodash, stdlib}},
		Version: "1.0", Database: report.Database{Version: "7", Updated: time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)},
		Started: time.Date(2026, 1, 3, 0, 0, 0, 0, time.UTC), Finished: time.Date(2026, 1, 3, 0, 0, 1, 0, time.UTC),
		Findings: []artifact.Finding{
			{ID: "CVE-4", Severity: "low", Score: 9.8, Vector: vector, Source: "a", Package: libssl, State: "unimportant", Remedy: "none", Published: time.Date(2025, 12, 1, 0, 0, 0, 0, time.UTC)},
			{ID: "CVE-3", Severity: "unknown", Source: "a", Package: lodash, State: "fixed", Fixed: "4.17.19", Remedy: "override"},
			{ID: "CVE-2", Severity: "medium", Score: 6.9, Vector: "CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:L/VI:N/VA:N/SC:N/SI:N/SA:N", Source: "a", Package: stdlib, State: "fixed", Fixed: "1.22.4", Remedy: "rebuild", EPSS: 0.97},
			{ID: "CVE-1", Aliases: []string{"GHSA-1"}, Summary: "It leaks", Severity: "critical", Score: 9.8, Vector: vector, Source: "a,b", Package: libssl, State: "fixed", Fixed: "3.5.1-1+deb13u1", Remedy: "rebase", KnownExploited: true},
			{ID: "CVE-1", Aliases: []string{"GHSA-1"}, Summary: "It leaks", Severity: "critical", Score: 9.8, Vector: vector, Source: "a,b", Package: cli, State: "fixed", Fixed: "3.5.1-1+deb13u1", Remedy: "rebase", KnownExploited: true},
			{ID: "CVE-0", Severity: "high", Score: 7.5, Vector: "AV:N/AC:L/Au:N/C:P/I:P/A:P", Source: "a", Package: lodash, State: "affected", Remedy: "none",
				Suppressed: &artifact.Suppression{Status: "not_affected", Justification: "vulnerable_code_not_in_execute_path", Statement: "Never called.", Author: "Ann", From: "vex.json"}},
			{ID: "CVE-9", Severity: "high", Source: "a", Package: lodash, State: "affected", Remedy: "none", Suppressed: &artifact.Suppression{Status: "fixed"}},
		},
	}
}

func TestTable(t *testing.T) {
	want := []report.Group{
		{Remedy: "rebase", Rows: []report.Row{{"critical", "CVE-1", "openssl", []string{"libssl3t64", "openssl"}, "3.5.1-1", "3.5.1-1+deb13u1", "fixed", []string{"exploited"}}}},
		{Remedy: "rebuild", Rows: []report.Row{{"medium", "CVE-2", "stdlib", []string{"stdlib"}, "1.22.3", "1.22.4", "fixed", []string{"EPSS 97%"}}}},
		{Remedy: "override", Rows: []report.Row{{"unknown", "CVE-3", "lodash", []string{"lodash"}, "4.17.15", "4.17.19", "fixed", nil}}},
		{Remedy: "none", Rows: []report.Row{{"low", "CVE-4", "openssl", []string{"libssl3t64"}, "3.5.1-1", "", "unimportant", nil}}},
	}
	findings := scan().Findings
	for range 2 {
		got := report.Table(findings)
		for i := range got {
			if got[i].Title == "" {
				t.Errorf("%s has no title", got[i].Remedy)
			}
			got[i].Title = ""
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
		slices.Reverse(findings)
	}
	if got := report.Table(nil); len(got) != 0 {
		t.Errorf("no findings have the groups %v", got)
	}
}

func TestRowsAreSortedByHowBadTheyAre(t *testing.T) {
	finding := func(severity artifact.Severity, name, id string) artifact.Finding {
		return artifact.Finding{ID: id, Severity: severity, Remedy: "none", Package: artifact.Package{Type: "npm", Name: name, Version: "1"}}
	}
	var got []string
	for _, row := range report.Table([]artifact.Finding{
		finding("unknown", "a", "1"), finding("low", "a", "2"), finding("high", "b", "4"), finding("high", "a", "5"), finding("high", "a", "3"), finding("critical", "z", "6"),
	})[0].Rows {
		got = append(got, row.ID)
	}
	if diff := cmp.Diff([]string{"6", "3", "5", "4", "2", "1"}, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestPackageOfARow(t *testing.T) {
	tests := []struct {
		row  report.Row
		want string
	}{
		{report.Row{Name: "openssl", Packages: []string{"openssl"}}, "openssl"},
		{report.Row{Name: "openssl", Packages: []string{"libssl3t64", "openssl"}}, "openssl (libssl3t64)"},
		{report.Row{Name: "util-linux", Packages: []string{"bsdutils", "libblkid1", "libmount1", "util-linux"}}, "util-linux (bsdutils and 2 more)"},
		{report.Row{Name: "@a/b", Packages: []string{"b"}}, "@a/b"},
		{report.Row{Name: "org.x:y", Packages: []string{"y"}}, "org.x:y"},
	}
	for _, tt := range tests {
		if got := tt.row.Package(); got != tt.want {
			t.Errorf("%q, want %q", got, tt.want)
		}
	}
}

func TestCount(t *testing.T) {
	want := report.Counts{
		Total: 5, Suppressed: 2, Fixable: 4, Exploited: 2,
		Severity: map[artifact.Severity]int{"critical": 2, "medium": 1, "low": 1, "unknown": 1},
		Remedy:   map[artifact.Remedy]int{"rebase": 2, "rebuild": 1, "override": 1, "none": 1},
	}
	if diff := cmp.Diff(want, report.Count(scan().Findings)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestRule(t *testing.T) {
	tests := []struct {
		rule string
		want []string
	}{
		{"critical", []string{"CVE-1", "CVE-1"}},
		{"high", []string{"CVE-1", "CVE-1"}},
		{"medium", []string{"CVE-2", "CVE-1", "CVE-1"}},
		{"low", []string{"CVE-4", "CVE-2", "CVE-1", "CVE-1"}},
		{"unknown", []string{"CVE-3"}},
		{"any", []string{"CVE-4", "CVE-3", "CVE-2", "CVE-1", "CVE-1"}},
		{"fixable", []string{"CVE-3", "CVE-2", "CVE-1", "CVE-1"}},
		{"medium+fixable+epss=0.9", []string{"CVE-2"}},
		{"exploited, unknown", []string{"CVE-3", "CVE-1", "CVE-1"}},
		{"kev", []string{"CVE-1", "CVE-1"}},
		{"epss=0.98", nil},
	}
	for _, tt := range tests {
		t.Run(tt.rule, func(t *testing.T) {
			rule, err := report.ParseRule(tt.rule)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, f := range rule.Failing(scan().Findings) {
				got = append(got, f.ID)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
	if failing := (report.Rule{}).Failing(scan().Findings); failing != nil {
		t.Errorf("no rule fails %v", failing)
	}
	for _, bad := range []string{"", "severe", "high,", "high+", "epss=2", "epss=x", "epss=NaN", "none", "incomplete+high"} {
		if _, err := report.ParseRule(bad); fault.KindOf(err) != fault.Usage || fault.HintOf(err) == "" {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// valid holds a document to the schema in a file, which refers to others by their addresses.
func valid(t *testing.T, document []byte, schema string, others map[string]string) {
	t.Helper()
	read := func(path string) gojsonschema.JSONLoader {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return gojsonschema.NewBytesLoader(text)
	}
	loader := gojsonschema.NewSchemaLoader()
	for address, path := range others {
		if err := loader.AddSchema(address, read(path)); err != nil {
			t.Fatal(err)
		}
	}
	compiled, err := loader.Compile(read(schema))
	if err != nil {
		t.Fatal(err)
	}
	result, err := compiled.Validate(gojsonschema.NewBytesLoader(document))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range result.Errors() {
		t.Errorf("%s", e)
	}
}

// blind is a scan that did not look at all there is.
func blind() report.Scan {
	s := scan()
	s.Unmatched = []match.Unmatched{{Ecosystem: "Alpine:v3.18", Packages: 14}, {Ecosystem: "npm", Packages: 1}, {Packages: 3}}
	s.Contents.Gaps = []artifact.Gap{{Path: "app/x.jar", Layer: "l", Why: "it is no archive"}}
	return s
}

func TestIncomplete(t *testing.T) {
	want := []string{"no advisories for Alpine:v3.18 (14 packages), npm (1 package), packages of no ecosystem (3 packages)", "not read: /app/x.jar: it is no archive"}
	if diff := cmp.Diff(want, blind().Incomplete()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if got := scan().Incomplete(); got != nil {
		t.Errorf("a whole scan lacks %v", got)
	}
	for text, want := range map[string]bool{"incomplete": true, "epss=0.98, incomplete": true, "any": false} {
		rule, err := report.ParseRule(text)
		if err != nil || rule.FailsIncomplete() != want {
			t.Errorf("%s: %t, %v", text, rule.FailsIncomplete(), err)
		}
	}
	var sarif, cyclonedx bytes.Buffer
	text, err := json.Marshal(blind())
	if err := errors.Join(err, report.WriteSARIF(&sarif, blind()), report.WriteCycloneDX(&cyclonedx, blind())); err != nil {
		t.Fatal(err)
	}
	for _, line := range want {
		if !strings.Contains(sarif.String(), line) || !strings.Contains(cyclonedx.String(), line) {
			t.Errorf("SARIF or CycloneDX leaves out %q", line)
		}
	}
	if !bytes.Contains(text, []byte(`"unmatched":[{"ecosystem":"Alpine:v3.18","packages":14},{"ecosystem":"npm","packages":1},{"ecosystem":"","packages":3}]`)) {
		t.Errorf("%s", text)
	}
}

func TestSARIFIsValid(t *testing.T) {
	for _, s := range []report.Scan{scan(), blind(), {}} {
		var out bytes.Buffer
		if err := report.WriteSARIF(&out, s); err != nil {
			t.Fatal(err)
		}
		valid(t, out.Bytes(), "testdata/sarif-2.1.0-rtm.5.json", nil)
	}
}

// TestSARIFIsWhatCodeScanningReads looks at what GitHub's "SARIF support for code scanning"
// asks for and the schema does not.
func TestSARIFIsWhatCodeScanningReads(t *testing.T) {
	var out bytes.Buffer
	if err := report.WriteSARIF(&out, scan()); err != nil {
		t.Fatal(err)
	}
	var log struct {
		Runs []struct {
			Tool struct {
				Driver struct {
					Rules []struct {
						ID         string
						Properties map[string]any
					}
				}
			}
			Results []struct {
				RuleID              string
				RuleIndex           int
				Level               string
				PartialFingerprints map[string]string
				Locations           []struct {
					PhysicalLocation struct {
						ArtifactLocation struct{ URI string }
						Region           struct{ StartLine int }
					}
				}
				Suppressions []struct{ Kind, Justification string }
			}
		}
	}
	if err := json.Unmarshal(out.Bytes(), &log); err != nil {
		t.Fatal(err)
	}
	rules, results := log.Runs[0].Tool.Driver.Rules, log.Runs[0].Results
	severities := map[string]any{}
	for _, r := range rules {
		severities[r.ID] = r.Properties["security-severity"]
	}
	want := map[string]any{"CVE-0": "7.5", "CVE-1": "9.8", "CVE-2": "6.9", "CVE-3": nil, "CVE-4": "2.0", "CVE-9": "8.0"}
	if diff := cmp.Diff(want, severities); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if len(results) != len(scan().Findings) {
		t.Fatalf("%d results", len(results))
	}
	suppressed := 0
	for _, r := range results {
		if rules[r.RuleIndex].ID != r.RuleID || len(r.PartialFingerprints) == 0 || r.Locations[0].PhysicalLocation.Region.StartLine != 1 {
			t.Errorf("%+v", r)
		}
		suppressed += len(r.Suppressions)
	}
	if uri := results[1].Locations[0].PhysicalLocation.ArtifactLocation.URI; uri != "workspace/node%20modules/a%3Ab/package.json" || suppressed != 2 {
		t.Errorf("located in %q; %d suppressed", uri, suppressed)
	}
}

func TestCycloneDXIsValid(t *testing.T) {
	where, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/CycloneDX/cyclonedx-go").Output()
	if err != nil {
		t.Fatal(err)
	}
	schema := func(name string) string { return filepath.Join(strings.TrimSpace(string(where)), "schema", name) }
	for _, s := range []report.Scan{scan(), blind(), {Contents: artifact.Contents{Image: "sha256:0"}}} {
		var out, again bytes.Buffer
		if err := report.WriteCycloneDX(&out, s); err != nil {
			t.Fatal(err)
		}
		if err := report.WriteCycloneDX(&again, s); err != nil || !bytes.Equal(out.Bytes(), again.Bytes()) {
			t.Errorf("the same scan twice differs: %v", err)
		}
		valid(t, out.Bytes(), schema("bom-1.6.schema.json"), map[string]string{
			"http://cyclonedx.org/schema/spdx.schema.json":     schema("spdx.schema.json"),
			"http://cyclonedx.org/schema/jsf-0.82.schema.json": schema("jsf-0.82.schemax.json"), // so it is spelt there
		})
	}
}

func TestCycloneDXSaysWhatVEXSays(t *testing.T) {
	s := scan()
	elsewhere := s.Findings[5]
	elsewhere.Suppressed = nil // the same package in another place, where it counts
	elsewhere.ID = "CVE-5"
	hidden := elsewhere
	hidden.Suppressed = &artifact.Suppression{Status: "fixed"}
	s.Findings = append(s.Findings, hidden, elsewhere, hidden)
	var out bytes.Buffer
	if err := report.WriteCycloneDX(&out, s); err != nil {
		t.Fatal(err)
	}
	var bom struct {
		Vulnerabilities []struct {
			ID       string
			Analysis struct{ State, Justification, Detail string }
		}
	}
	if err := json.Unmarshal(out.Bytes(), &bom); err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, v := range bom.Vulnerabilities {
		got[v.ID] = strings.Join([]string{v.Analysis.State, v.Analysis.Justification, v.Analysis.Detail}, "|")
	}
	want := map[string]string{
		"CVE-0": "not_affected|code_not_reachable|vulnerable_code_not_in_execute_path: Never called.: Ann",
		"CVE-1": "in_triage||", "CVE-2": "in_triage||", "CVE-3": "in_triage||", "CVE-4": "in_triage||", "CVE-5": "in_triage||", "CVE-9": "resolved||",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// TestEvidenceIsTheirPredicate reads the predicate with in-toto's own types, which refuse
// fields that they do not know.
func TestEvidenceIsTheirPredicate(t *testing.T) {
	e, err := report.Evidence(scan())
	if err != nil {
		t.Fatal(err)
	}
	if e.PredicateType != artifact.PredicateVulns || e.Subject != scan().Contents.Image {
		t.Errorf("%s about %s", e.PredicateType, e.Subject)
	}
	p := new(v02.Vulns)
	if err := protojson.Unmarshal(e.Predicate, p); err != nil {
		t.Fatal(err)
	}
	if n := len(p.GetScanner().GetResult()); n != len(scan().Findings) {
		t.Errorf("%d results", n)
	}
	first := p.GetScanner().GetResult()[0]
	if first.GetId() != "CVE-4" || first.GetSeverity()[1].GetScore() != "9.8" || first.GetAnnotations()[0].GetFields()["remedy"].GetStringValue() != "none" ||
		first.GetAnnotations()[0].GetFields()["published"].GetStringValue() != "2025-12-01T00:00:00Z" {
		t.Errorf("%v", first)
	}
}

func TestJSON(t *testing.T) {
	text, err := json.Marshal(scan())
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Reference, Image string
		Packages         int
		Counts           report.Counts
		Findings         []artifact.Finding
	}
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(scan().Findings, got.Findings); diff != "" || got.Packages != 4 || got.Counts.Total != 5 || got.Reference != "app:1" {
		t.Errorf("%+v (-want +got)\n%s", got.Counts, diff)
	}
	empty, err := json.Marshal(report.Scan{})
	if err != nil || !bytes.Contains(empty, []byte(`"findings":[]`)) {
		t.Errorf("%s, %v", empty, err)
	}
}
