package match_test

import (
	"context"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/vuln/advisory"
	"plimsoll.dev/plimsoll/internal/vuln/match"
	"plimsoll.dev/plimsoll/internal/vuln/osv"
)

// real gives the records in testdata.
func real(t testing.TB) iter.Seq2[*osv.Record, error] {
	t.Helper()
	paths, err := filepath.Glob("testdata/osv/*.json")
	if err != nil || len(paths) == 0 {
		t.Fatal("no records", err)
	}
	return func(yield func(*osv.Record, error) bool) {
		for _, path := range paths {
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if !yield(osv.Parse(text)) {
				return
			}
		}
	}
}

func TestRealRecords(t *testing.T) {
	db := database(t, advisory.Feed{Name: "real", Records: real(t)})
	deb := func(source, sourceVersion, version string) artifact.Package {
		return artifact.Package{Type: "deb", Namespace: "debian", Name: "libssl3t64", Distro: "debian-13.2",
			Source: source, SourceVersion: sourceVersion, Version: version}
	}
	tests := []struct {
		name string
		p    artifact.Package
		want []string // ID and fix
	}{
		{"the standard library, as a binary names its Go", artifact.Package{Type: "golang", Name: "stdlib", Version: "go1.22.3"}, []string{"CVE-2024-24790 1.22.4"}},
		{"its first line", artifact.Package{Type: "golang", Name: "stdlib", Version: "1.21.10"}, []string{"CVE-2024-24790 1.21.11"}},
		{"a release candidate", artifact.Package{Type: "golang", Name: "stdlib", Version: "go1.22rc1"}, []string{"CVE-2024-24790 1.22.4"}},
		{"a candidate of a line that never had the flaw", artifact.Package{Type: "golang", Name: "stdlib", Version: "go1.23rc1"}, nil},
		{"built with experiments", artifact.Package{Type: "golang", Name: "stdlib", Version: "go1.22.3 X:boringcrypto"}, []string{"CVE-2024-24790 1.22.4"}},
		{"a development version of Go", artifact.Package{Type: "golang", Name: "stdlib", Version: "devel go1.22-abc"}, nil},
		{"a record about three CVEs", artifact.Package{Type: "golang", Name: "stdlib", Version: "1.4.2"},
			[]string{"CVE-2015-5739 1.4.3", "CVE-2015-5740 1.4.3", "CVE-2015-5741 1.4.3", "CVE-2024-24790 1.21.11"}},
		{"a module", artifact.Package{Type: "golang", Namespace: "golang.org/x", Name: "text", Version: "v0.3.6"}, []string{"CVE-2021-38561 v0.3.7"}},
		{"its pseudo-version", artifact.Package{Type: "golang", Namespace: "golang.org/x", Name: "text", Version: "v0.3.7-0.20210524175448-3115f89c4b99"}, []string{"CVE-2021-38561 v0.3.7"}},
		{"its fix", artifact.Package{Type: "golang", Namespace: "golang.org/x", Name: "text", Version: "v0.3.7"}, nil},
		{"npm", artifact.Package{Type: "npm", Name: "lodash", Version: "4.17.15"}, []string{"NSWG-ECO-516 4.17.19"}},
		{"npm, before", artifact.Package{Type: "npm", Name: "lodash", Version: "4.17.10"}, []string{"CVE-2018-16487 4.17.11"}},
		{"PyPI, spelt otherwise", artifact.Package{Type: "pypi", Name: "Requests", Version: "2.30"}, []string{"CVE-2023-32681 2.31.0"}},
		{"PyPI, before it began", artifact.Package{Type: "pypi", Name: "urllib3", Version: "1.25.11"}, nil},
		{"Debian by source", deb("openssl", "3.5.1-1", "3.5.1-1+b1"), []string{"CVE-2025-15467 3.5.4-1~deb13u2"}},
		{"Debian, the source's version is the binary's", deb("openssl", "", "3.5.1-1+b1"), []string{"CVE-2025-15467 3.5.4-1~deb13u2"}},
		{"Debian by binary", deb("", "", "3.5.1-1"), nil},
		{"Debian, fixed", deb("openssl", "3.5.4-1~deb13u2", "3.5.4-1~deb13u2"), nil},
		{"nobody's", artifact.Package{Type: "generic", Name: "lodash", Version: "4.17.15"}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var got []string
			for _, f := range findings(t, db, tt.p) {
				got = append(got, f.ID+" "+f.Fixed)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestIdentify(t *testing.T) {
	tests := []struct {
		name    string
		p       artifact.Package
		key     advisory.Key
		version string
	}{
		{"a rebuild's version", artifact.Package{Type: "deb", Name: "a", Version: "1:1.0-1+b12", Distro: "debian-13"}, advisory.Key{Ecosystem: "Debian:13", Name: "a"}, "1:1.0-1"},
		{"a source's version that looks like one", artifact.Package{Type: "deb", Name: "a", Version: "2.0", Source: "s", SourceVersion: "1.0-1+b1", Distro: "debian-13"}, advisory.Key{Ecosystem: "Debian:13", Name: "s"}, "1.0-1+b1"},
		{"a build of upstream's", artifact.Package{Type: "deb", Name: "a", Version: "1.0+b1-1", Distro: "debian-13"}, advisory.Key{Ecosystem: "Debian:13", Name: "a"}, "1.0+b1-1"},
		{"a signed kernel", artifact.Package{Type: "deb", Name: "linux-image-6.12", Version: "6.12.48-1", Source: "linux-signed-amd64", SourceVersion: "6.12.48+1", Distro: "debian-13"}, advisory.Key{Ecosystem: "Debian:13", Name: "linux"}, "6.12.48+1"},
		{"a scope", artifact.Package{Type: "npm", Namespace: "@babel", Name: "core", Version: "7.0.0"}, advisory.Key{Ecosystem: "npm", Name: "@babel/core"}, "7.0.0"},
		{"Maven", artifact.Package{Type: "maven", Namespace: "org.x", Name: "y", Version: "1"}, advisory.Key{Ecosystem: "Maven", Name: "org.x:y"}, "1"},
		{"a candidate of a point release", artifact.Package{Type: "golang", Name: "stdlib", Version: "go1.20.1rc2"}, advisory.Key{Ecosystem: "Go", Name: "stdlib"}, "1.20.1-rc.2"},
		{"the go command", artifact.Package{Type: "golang", Name: "toolchain", Version: "go1.22.3"}, advisory.Key{Ecosystem: "Go", Name: "toolchain"}, "1.22.3"},
		{"a program from a work tree", artifact.Package{Type: "golang", Namespace: "example.com", Name: "x", Version: "(devel)"}, advisory.Key{Ecosystem: "Go", Name: "example.com/x"}, ""},
		{"no ecosystem", artifact.Package{Type: "generic", Name: "x", Version: "1"}, advisory.Key{}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if key, version := match.Identify(tt.p); key != tt.key || version != tt.version {
				t.Errorf("%v at %q, want %v at %q", key, version, tt.key, tt.version)
			}
		})
	}
}

// debian is a record about src in Debian 13, fixed in a version or not.
func debian(id, fixed, words string) string {
	events := `{"introduced":"0"}`
	if fixed != "" {
		events += fmt.Sprintf(`,{"fixed":%q}`, fixed)
	}
	return fmt.Sprintf(`{"id":%q,"upstream":["CVE-2025-1"],"affected":[{"package":{"ecosystem":"Debian:13","name":"src"},"ranges":[{"type":"ECOSYSTEM","events":[%s]}],"ecosystem_specific":{%s}}]}`,
		id, events, words)
}

const rated = `{"id":"GHSA-1","aliases":["CVE-2025-1"],"severity":[{"type":"CVSS_V3","score":"CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"}]}`

func TestWhatTheDistributionSaysIsKept(t *testing.T) {
	upstream := `{"id":"GHSA-2","aliases":["CVE-2025-1"],"affected":[{"package":{"ecosystem":"Debian:13","name":"src"},"ranges":[{"type":"ECOSYSTEM","events":[{"introduced":"0"},{"fixed":"9.0"}]}]}]}`
	type said struct {
		State, Fixed, Source string
		Severity             artifact.Severity
	}
	tests := []struct {
		name  string
		feeds map[string][]string
		want  []said
	}{
		{"a fix", map[string][]string{"a": {debian("DEBIAN-CVE-2025-1", "2.0", "")}}, []said{{"fixed", "2.0", "a", "unknown"}}},
		{"none", map[string][]string{"a": {debian("DEBIAN-CVE-2025-1", "", `"state":"open"`)}}, []said{{"affected", "", "a", "unknown"}}},
		{"no-dsa", map[string][]string{"a": {debian("DEBIAN-CVE-2025-1", "", `"state":"no-dsa","urgency":"high"`)}}, []said{{"no-dsa", "", "a", "high"}}},
		{"postponed, and fixed after all", map[string][]string{"a": {debian("DEBIAN-CVE-2025-1", "2.0", `"state":"postponed"`)}}, []said{{"fixed", "2.0", "a", "unknown"}}},
		{"end of life", map[string][]string{"a": {debian("DEBIAN-CVE-2025-1", "", `"urgency":"end-of-life"`)}}, []said{{"end-of-life", "", "a", "unknown"}}},
		{"unimportant, whatever its score", map[string][]string{"a": {rated, debian("DEBIAN-CVE-2025-1", "", `"urgency":"unimportant"`)}}, []said{{"unimportant", "", "a", "low"}}},
		{"a score before a word", map[string][]string{"a": {rated, debian("DEBIAN-CVE-2025-1", "", `"urgency":"low"`)}}, []said{{"affected", "", "a", "critical"}}},
		{"a word not yet said", map[string][]string{"a": {debian("DEBIAN-CVE-2025-1", "", `"urgency":"not yet assigned"`)}}, []said{{"affected", "", "a", "unknown"}}},
		{"two feeds of its own: affected by any, fixed by both", map[string][]string{
			"b": {debian("DEBIAN-CVE-2025-1", "2.0", "")}, "a": {debian("DEBIAN-CVE-2025-1", "3.0", "")},
		}, []said{{"fixed", "3.0", "a,b", "unknown"}}},
		{"its own fix before upstream's", map[string][]string{"a": {debian("DEBIAN-CVE-2025-1", "1.0-1", ""), upstream}}, nil},
		{"its own silence leaves upstream's", map[string][]string{"a": {upstream}}, []said{{"fixed", "9.0", "a", "unknown"}}},
	}
	p := artifact.Package{Type: "deb", Name: "bin", Source: "src", SourceVersion: "1.0-1", Version: "1.0-1", Distro: "debian-13"}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var feeds []advisory.Feed
			for name, texts := range tt.feeds {
				feeds = append(feeds, advisory.Feed{Name: name, Records: feed(t, texts...)})
			}
			var got []said
			for _, f := range findings(t, database(t, feeds...), p) {
				got = append(got, said{f.State, f.Fixed, f.Source, f.Severity})
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// TestPublishedIsTheFixs asks since when a fix could be had: the record that names it says so,
// not the one that only tells of the flaw.
func TestPublishedIsTheFixs(t *testing.T) {
	dated := func(id, fixed, published string) string {
		return strings.Replace(debian(id, fixed, ""), "{", `{"published":"`+published+`",`, 1)
	}
	tests := []struct {
		name, reason string
		records      []string
		want         string
	}{
		{"one record", "it is its date", []string{dated("DEBIAN-CVE-2025-1", "2.0", "2025-03-01T10:00:00.5Z")}, "2025-03-01T10:00:00Z"},
		{"a flaw long before its fix", "no fix could be had before", []string{`{"id":"DEBIAN-CVE-2025-1","published":"2024-01-01T00:00:00Z","upstream":["CVE-2025-1"],"affected":[{"package":{"ecosystem":"Debian:13","name":"src"},"versions":["1.0-1"]}]}`,
			dated("DSA-1-1", "2.0", "2025-03-01T00:00:00Z")}, "2025-03-01T00:00:00Z"},
		{"two that name the fix", "the first told of it", []string{dated("DEBIAN-CVE-2025-1", "2.0", "2025-04-01T00:00:00Z"), dated("DSA-1-1", "2.0", "2025-03-01T00:00:00Z")}, "2025-03-01T00:00:00Z"},
		{"two fixes, of which one does not suffice", "the other's counts", []string{dated("DEBIAN-CVE-2025-1", "2.0", "2025-03-01T00:00:00Z"), dated("DSA-1-1", "3.0", "2025-04-01T00:00:00Z")}, "2025-04-01T00:00:00Z"},
		{"no fix", "since when it is known", []string{dated("DEBIAN-CVE-2025-1", "", "2024-01-01T00:00:00Z")}, "2024-01-01T00:00:00Z"},
		{"no date", "nobody knows", []string{debian("DEBIAN-CVE-2025-1", "2.0", "")}, "0001-01-01T00:00:00Z"},
		{"the fix has no date", "what is known of the flaw has to do", []string{dated("DEBIAN-CVE-2025-1", "2.0", "2025-03-01T00:00:00Z"), debian("DSA-1-1", "3.0", "")}, "2025-03-01T00:00:00Z"},
	}
	p := artifact.Package{Type: "deb", Name: "bin", Source: "src", SourceVersion: "1.0-1", Version: "1.0-1", Distro: "debian-13"}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := findings(t, database(t, advisory.Feed{Name: "a", Records: feed(t, tt.records...)}), p)
			if len(got) != 1 || got[0].Published.Format(time.RFC3339) != tt.want {
				t.Errorf("%s: %+v, want it published %s", tt.reason, got, tt.want)
			}
		})
	}
}

func TestContents(t *testing.T) {
	db := database(t, advisory.Feed{Name: "real", Records: real(t)})
	lodash := artifact.Package{Type: "npm", Name: "lodash", Version: "4.17.15", Layer: "app"}
	stdlib := artifact.Package{Type: "golang", Name: "stdlib", Version: "1.4.2", Layer: "base"}
	c := artifact.Contents{Layers: []string{"base", "app"}, BaseLayers: 1, Packages: []artifact.Package{stdlib, {Type: "npm", Name: "x", Version: "1.0.0"}, lodash}}
	got, err := match.Contents(t.Context(), db, c)
	if err != nil {
		t.Fatal(err)
	}
	var want []artifact.Finding
	for _, id := range []string{"CVE-2015-5739", "CVE-2015-5740", "CVE-2015-5741", "CVE-2024-24790"} {
		want = append(want, artifact.Finding{ID: id, Package: stdlib, Remedy: artifact.RemedyRebase})
	}
	want = append(want, artifact.Finding{ID: "NSWG-ECO-516", Package: lodash, Remedy: artifact.RemedyOverride,
		Fixed: "4.17.19", Severity: "medium", Score: 6.3, State: "fixed", Source: "real"})
	rest := cmpopts.IgnoreFields(artifact.Finding{}, "Aliases", "Summary", "Severity", "Score", "Vector", "Source", "Fixed", "State", "Published")
	if diff := cmp.Diff(want, got, rest); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if diff := cmp.Diff(want[4], got[4], cmpopts.IgnoreFields(artifact.Finding{}, "Summary", "Vector")); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// TestPackagesAsOneByOne matches more packages than are matched at a time.
func TestPackagesAsOneByOne(t *testing.T) {
	db := database(t, advisory.Feed{Name: "generated", Records: generated(3000)})
	var packages []artifact.Package
	for i := range 8 {
		packages = append(packages, contents(uint64(i)).Packages...)
	}
	i, found := 0, 0
	for got, err := range match.Packages(t.Context(), db, slices.Values(packages)) {
		if err != nil {
			t.Fatal(err)
		}
		want := match.Result{Package: packages[i], Findings: findings(t, db, packages[i])}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("package %d (-want +got)\n%s", i, diff)
		}
		i++
		found += len(got.Findings)
	}
	if i != len(packages) || found == 0 {
		t.Errorf("%d results of %d, %d findings", i, len(packages), found)
	}
	for range match.Packages(t.Context(), db, slices.Values(packages)) {
		break // and nothing is left running: the race detector and the test's end would tell
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, err := range match.Packages(ctx, db, slices.Values(packages)) {
		if fault.KindOf(err) != fault.Canceled {
			t.Errorf("after a cancel: %v", err)
		}
	}
}

func TestADamagedDatabaseIsAnError(t *testing.T) {
	path := filepath.Join(t.TempDir(), "advisories")
	if _, err := advisory.Build(t.Context(), path, []advisory.Feed{{Name: "real", Records: real(t)}}, advisory.Exploitation{}); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := 16; i < 1000; i++ { // the records, not the tables, which Open looks at
		data[i] ^= 1
	}
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
	db, err := advisory.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	c := artifact.Contents{Packages: []artifact.Package{{Type: "golang", Name: "stdlib", Version: "1.4.2"}, {Type: "npm", Name: "lodash", Version: "4.17.15"}}}
	if _, err := match.Contents(t.Context(), db, c); err == nil {
		t.Error("damaged records gave findings")
	}
}
