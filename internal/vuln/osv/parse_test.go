package osv

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func published(t testing.TB, id string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", id+".json"))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestReadsWhatIsPublished(t *testing.T) {
	redis := Affected{
		Package:   Package{Ecosystem: "Debian:13", Name: "redis", PURL: "pkg:deb/debian/redis?arch=source"},
		Ranges:    []Range{{Type: ECOSYSTEM, Events: []Event{{Introduced: "0"}, {Fixed: "5:8.0.2-3+deb13u1"}}}},
		Ecosystem: EcosystemSpecific{Urgency: "medium"},
	}
	valkey := redis
	valkey.Package = Package{Ecosystem: "Debian:13", Name: "valkey", PURL: "pkg:deb/debian/valkey?arch=source"}
	valkey.Ranges = []Range{{Type: ECOSYSTEM, Events: []Event{{Introduced: "0"}, {Fixed: "8.1.1+dfsg1-3+deb13u1"}}}}
	tests := map[string]*Record{
		"DEBIAN-CVE-2025-49844": {
			SchemaVersion: "1.7.0", ID: "DEBIAN-CVE-2025-49844", Upstream: []string{"CVE-2025-49844"},
			Modified:  time.Date(2025, 10, 7, 19, 33, 4, 0, time.UTC),
			Published: time.Date(2025, 10, 7, 18, 0, 58, 0, time.UTC),
			Summary:   "Fixed in Debian 13 as the package's own changelog records.",
			Affected:  []Affected{redis, valkey},
		},
		"GO-2020-0001": {
			SchemaVersion: "1.3.1", ID: "GO-2020-0001", Aliases: []string{"CVE-2020-36567", "GHSA-6vm3-jj99-7229"},
			Published: time.Date(2021, 4, 14, 20, 4, 52, 0, time.UTC), // it is modified in year 1
			Summary:   "Arbitrary log line injection in github.com/gin-gonic/gin",
			Affected: []Affected{{
				Package: Package{Ecosystem: "Go", Name: "github.com/gin-gonic/gin"},
				Ranges:  []Range{{Type: SEMVER, Events: []Event{{Introduced: "0"}, {Fixed: "1.6.0"}}}},
				Ecosystem: EcosystemSpecific{Imports: []Import{{
					Path:    "github.com/gin-gonic/gin",
					Symbols: []string{"Default", "Logger", "LoggerWithConfig", "LoggerWithFormatter", "LoggerWithWriter"},
				}}},
			}},
			References: []Reference{
				{Type: "FIX", URL: "https://github.com/gin-gonic/gin/pull/2237"},
				{Type: "FIX", URL: "https://github.com/gin-gonic/gin/commit/a71af9c144f9579f6dbe945341c1df37aaf09c0d"},
			},
			Database: DatabaseSpecific{Review: "REVIEWED", URL: "https://pkg.go.dev/vuln/GO-2020-0001"},
		},
		"NSWG-ECO-1": {
			SchemaVersion: "1.7.0", ID: "NSWG-ECO-1", Aliases: []string{"CVE-2014-7205"},
			Modified:  time.Date(2016, 4, 28, 0, 0, 0, 0, time.UTC),
			Published: time.Date(2014, 9, 27, 0, 0, 0, 0, time.UTC),
			Summary:   "Arbitrary JavaScript Execution",
			Severity:  []Severity{{Type: "CVSS_V3", Score: "CVSS:3.0/AV:N/AC:L/PR:N/UI:N/S:U/C:L/I:L/A:N"}},
			Affected: []Affected{{
				Package: Package{Ecosystem: "npm", Name: "bassmaster", PURL: "pkg:npm/bassmaster"},
				Ranges:  []Range{{Type: SEMVER, Events: []Event{{Introduced: "0"}, {LastAffected: "1.5.1"}}}},
			}},
		},
	}
	for id, want := range tests {
		t.Run(id, func(t *testing.T) {
			got, err := Parse(published(t, id))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestReadsGitRangesAndSloppyAliases(t *testing.T) {
	got, err := Parse(published(t, "PYSEC-2022-184"))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"CVE-2022-1053", "GHSA-jf66-3q76-h5p5"}, got.Aliases[:2]); diff != "" {
		t.Errorf("the database leaves a comma behind an alias: -want +got:\n%s", diff)
	}
	ranges := got.Affected[0].Ranges
	if len(ranges) != 2 || ranges[0].Type != GIT || ranges[0].Repo == "" || ranges[1].Type != ECOSYSTEM {
		t.Errorf("want a git range and one of versions, got %+v", ranges)
	}
}

// record gives a sound record with one text in the place of another.
func record(old, new string) []byte {
	const sound = `{"id":"X-1","modified":"2026-01-02T03:04:05Z","affected":[{"package":{"ecosystem":"Go","name":"m"},` +
		`"ranges":[{"type":"SEMVER","events":[{"introduced":"0"},{"fixed":"1.0.0"}]}],"versions":["0.1.0"]}]}`
	return []byte(strings.Replace(sound, old, new, 1))
}

func TestRefuses(t *testing.T) {
	if _, err := Parse(record("", "")); err != nil {
		t.Fatalf("the sound one: %v", err)
	}
	tests := []struct{ name, old, new, says string }{
		{"text that goes on", `]}]}`, `]}]} {}`, "after top-level value"},
		{"half a record", `"versions":["0.1.0"]}]}`, ``, "unexpected end"},
		{"a field in capitals only", `"id"`, `"ID"`, "id"},
		{"no id", `"id":"X-1",`, ``, "id"},
		{"an id that is a path", `X-1`, `../X-1`, "id"},
		{"an id that is long", `X-1`, strings.Repeat("x", 129), "id"},
		{"no time of modification", `"modified":"2026-01-02T03:04:05Z",`, ``, "modified"},
		{"a time that is none", `2026-01-02T03:04:05Z`, `yesterday`, "yesterday"},
		{"a time before all", `2026-01-02T03:04:05Z`, `0000-01-02T03:04:05Z`, "year"},
		{"a package without a name", `"name":"m"`, `"name":""`, "affected[0].package.name"},
		{"a package without an ecosystem", `"ecosystem":"Go",`, ``, "affected[0].package.ecosystem"},
		{"no package for a range of versions", `"package":{"ecosystem":"Go","name":"m"},`, ``, "no package"},
		{"a name that moves the cursor", `"name":"m"`, `"name":"m\u001b[2J"`, "control characters"},
		{"a range of no type", `SEMVER`, `CALVER`, "ranges[0].type"},
		{"a git range without a repository", `SEMVER`, `GIT`, "ranges[0].repo"},
		{"a range without an introduction", `{"introduced":"0"},`, ``, "introduced"},
		{"an event that says nothing", `{"fixed":"1.0.0"}`, `{}`, "events[1]"},
		{"an event that says two things", `{"fixed":"1.0.0"}`, `{"fixed":"1.0.0","limit":"2.0.0"}`, "events[1]"},
		{"both kinds of end", `{"fixed":"1.0.0"}`, `{"fixed":"1.0.0"},{"last_affected":"0.9.0"}`, "last_affected"},
		{"a version without an end", `"0.1.0"`, `"` + strings.Repeat("0", maxVersion+1) + `"`, "versions[0]"},
		{"a number for a text", `"X-1"`, `1`, "number"},
		{"nesting without an end", `"versions":["0.1.0"]`, `"x":` + strings.Repeat("[", 20000) + strings.Repeat("]", 20000), "depth"},
		{"a record without an end", `"versions":["0.1.0"]`, `"x":"` + strings.Repeat("x", MaxRecord) + `"`, "larger"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Parse(record(tt.old, tt.new))
			if err == nil || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("want an error that says %q, got %v", tt.says, err)
			}
		})
	}
}

func TestForgives(t *testing.T) {
	tests := []struct {
		name, reason, old, new string
		check                  func(*Record) bool
	}{
		{"a field of a later schema", "unknown fields are ignored", `"id"`, `"credits":[{"name":"x"}],"id"`, func(r *Record) bool { return r.ID == "X-1" }},
		{"null lists", "the schema allows them", `"id"`, `"aliases":null,"severity":null,"id"`, func(r *Record) bool { return r.Aliases == nil }},
		{"an alias that is a link", "nobody is called so", `"id"`, `"aliases":["https://x","CVE-2026-1"],"id"`, func(r *Record) bool { return cmp.Equal(r.Aliases, []string{"CVE-2026-1"}) }},
		{"specifics of any shape", "they are the database's own", `"id"`, `"database_specific":[1],"id"`, func(r *Record) bool { return r.Database == DatabaseSpecific{} }},
		{"a severity that is a list", "it is not understood", `"id"`, `"database_specific":{"severity":["HIGH"]},"id"`, func(r *Record) bool { return r.Database.Severity == "" }},
		{"imports that cannot be read", "then all of the module is affected", `"versions"`, `"ecosystem_specific":{"imports":"all"},"versions"`, func(r *Record) bool { return r.Affected[0].Ecosystem.Imports == nil }},
		{"details for a summary", "people read a line", `"id"`, `"details":"One\tline.\nTwo.","id"`, func(r *Record) bool { return r.Summary == "One line." }},
		{"a long summary", "it is one line of a table", `"id"`, `"summary":"` + strings.Repeat("é", 300) + `","id"`, func(r *Record) bool { return len(r.Summary) <= maxSummary && strings.HasSuffix(r.Summary, "é…") }},
		{"a link to run", "only those of advisories and fixes are kept", `"id"`, `"references":[{"type":"WEB","url":"https://x"}],"id"`, func(r *Record) bool { return len(r.References) == 0 }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r, err := Parse(record(tt.old, tt.new))
			if err != nil {
				t.Fatal(err)
			}
			if !tt.check(r) {
				t.Errorf("%s: got %+v", tt.reason, r)
			}
		})
	}
}

// FuzzParse holds that whatever is accepted can be written and read again as the same.
func FuzzParse(f *testing.F) {
	for _, id := range []string{"DEBIAN-CVE-2025-49844", "GO-2020-0001", "NSWG-ECO-1", "PYSEC-2022-184"} {
		f.Add(published(f, id))
	}
	f.Add(record("", ""))
	f.Fuzz(func(t *testing.T, text []byte) {
		first, err := Parse(text)
		if err != nil {
			return
		}
		again, err := json.Marshal(first)
		if err != nil {
			t.Fatal(err)
		}
		second, err := Parse(again)
		if err != nil {
			t.Fatalf("%s: %v", again, err)
		}
		if diff := cmp.Diff(first, second, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("-first +second:\n%s", diff)
		}
	})
}
