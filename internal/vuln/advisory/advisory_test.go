package advisory_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
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
	"plimsoll.dev/plimsoll/internal/vuln/osv"
)

// records gives the records of JSON texts.
func records(t testing.TB, texts ...string) iter.Seq2[*osv.Record, error] {
	t.Helper()
	return func(yield func(*osv.Record, error) bool) {
		for _, text := range texts {
			r := new(osv.Record)
			if err := json.Unmarshal([]byte(text), r); err != nil {
				t.Fatalf("%v in %s", err, text)
			}
			if !yield(r, nil) {
				return
			}
		}
	}
}

func build(t testing.TB, known advisory.Exploitation, feeds ...advisory.Feed) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "advisories")
	if _, err := advisory.Build(t.Context(), path, feeds, known); err != nil {
		t.Fatal(err)
	}
	return path
}

func open(t testing.TB, path string) *advisory.Database {
	t.Helper()
	db, err := advisory.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

// one is a database of one feed.
func one(t testing.TB, texts ...string) *advisory.Database {
	t.Helper()
	return open(t, build(t, advisory.Exploitation{}, advisory.Feed{Name: "test", Records: records(t, texts...)}))
}

// record is a record with an affected package, all versions before fixed.
func record(id, ecosystem, name, fixed, more string) string {
	return fmt.Sprintf(`{"id":%q,"affected":[{"package":{"ecosystem":%q,"name":%q},"ranges":[{"type":"ECOSYSTEM","events":[{"introduced":"0"},{"fixed":%q}]}]}]%s}`,
		id, ecosystem, name, fixed, more)
}

// told is what a lookup gives, with the IDs in place of what an entry hides.
type told struct {
	ID     string
	Claims []advisory.Claim
}

func lookup(t testing.TB, db *advisory.Database, ecosystem, name string) []told {
	t.Helper()
	entries, err := db.Lookup(advisory.KeyOf(ecosystem, name))
	if err != nil {
		t.Fatal(err)
	}
	var all []told
	for _, e := range entries {
		v, err := db.Describe(e)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, told{v.ID, e.Claims})
	}
	return all
}

func ids(all []told) []string {
	var out []string
	for _, e := range all {
		out = append(out, e.ID)
	}
	return out
}

func TestLookupGivesWhatTheRecordSays(t *testing.T) {
	db := one(t, `{"id":"GHSA-1","published":"2025-03-01T10:00:00.5+02:00","aliases":["CVE-2025-2"],"summary":"It leaks","affected":[
		{"package":{"ecosystem":"npm","name":"@s/p"},"versions":["2.0.0","1.0.0","1.0.0"],"ranges":[
			{"type":"SEMVER","events":[{"fixed":"1.2.0"},{"introduced":"0"},{"limit":"3.0.0"}]},
			{"type":"GIT","events":[{"introduced":"0"},{"last_affected":"abc"}]}]},
		{"package":{"ecosystem":"Debian:13","name":"p"},"ecosystem_specific":{"urgency":"low","state":"no-dsa"},"versions":["1-1"]}]}`)
	published := time.Date(2025, 3, 1, 8, 0, 0, 0, time.UTC)
	want := []told{{"CVE-2025-2", []advisory.Claim{{
		Record: "GHSA-1", Feed: "test", Published: published, Versions: []string{"1.0.0", "2.0.0", "abc"},
		Ranges: []advisory.Range{{Scheme: "SemVer", Limits: []string{"3.0.0"}, Events: []advisory.Event{
			{Kind: advisory.Introduced, Version: "0"}, {Kind: advisory.Fixed, Version: "1.2.0"},
		}}},
	}}}}
	if diff := cmp.Diff(want, lookup(t, db, "npm", "@s/p")); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	want = []told{{"CVE-2025-2", []advisory.Claim{{
		Record: "GHSA-1", Feed: "test", Rank: 2, Urgency: "low", State: "no-dsa", Published: published, Versions: []string{"1-1"},
	}}}}
	if diff := cmp.Diff(want, lookup(t, db, "Debian:13", "p")); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	for _, absent := range [][2]string{{"npm", "p"}, {"npm", ""}, {"zzz", "zzz"}, {"", ""}, {"Debian:12", "p"}, {"Debian", "p"}} {
		if got := lookup(t, db, absent[0], absent[1]); got != nil {
			t.Errorf("%q has %v", absent, got)
		}
	}
}

func TestNamesOfOneVulnerabilityAreJoined(t *testing.T) {
	tests := []struct {
		name    string
		records []string
		want    []string // IDs for p
	}{
		{"by alias, whoever names it", []string{
			record("GO-2025-1", "Go", "p", "1.0.0", `,"aliases":["GHSA-1"]`),
			record("GHSA-1", "Go", "p", "1.0.1", ""), `{"id":"CVE-2025-1","aliases":["GHSA-1"]}`,
		}, []string{"CVE-2025-1"}},
		{"by upstream, when it is one", []string{
			record("DEBIAN-CVE-2025-1", "Debian:13", "p", "1-1", `,"upstream":["CVE-2025-1"]`),
		}, []string{"CVE-2025-1"}},
		{"a bulletin is about each, and joins none", []string{
			record("DSA-1-1", "Debian:13", "p", "1-1", `,"upstream":["CVE-2025-1","CVE-2025-2"]`),
			record("DEBIAN-CVE-2025-2", "Debian:13", "p", "1-1", `,"upstream":["CVE-2025-2"]`),
		}, []string{"CVE-2025-1", "CVE-2025-2"}},
		{"an old bulletin has them as related", []string{
			record("DSA-1-1", "Debian:13", "p", "1-1", `,"related":["CVE-2025-1","CVE-2025-2","DSA-0-1"]`),
		}, []string{"CVE-2025-1", "CVE-2025-2"}},
		{"two CVEs are two, by number", []string{
			record("GO-2025-1", "Go", "p", "1.0.0", `,"aliases":["CVE-2025-10000","CVE-2025-9999","GHSA-0"]`),
		}, []string{"CVE-2025-9999", "CVE-2025-10000"}},
		{"a name between two CVEs joins them not", []string{
			record("GO-2025-1", "Go", "p", "1.0.0", `,"aliases":["CVE-2025-1","GHSA-0"]`),
			record("GO-2025-2", "Go", "p", "1.0.0", `,"aliases":["CVE-2025-2","GHSA-0"]`),
		}, []string{"CVE-2025-1", "CVE-2025-2"}},
		{"GitHub's name before others'", []string{record("GO-2025-1", "Go", "p", "1.0.0", `,"aliases":["GHSA-9"]`)}, []string{"GHSA-9"}},
		{"withdrawn records are silent", []string{
			record("GHSA-1", "Go", "p", "1.0.0", `,"withdrawn":"2025-01-01T00:00:00Z","aliases":["GO-2025-1"]`),
			record("GO-2025-1", "Go", "p", "1.0.0", ""),
		}, []string{"GO-2025-1"}},
		{"related is another vulnerability", []string{
			record("GHSA-1", "Go", "p", "1.0.0", `,"related":["GHSA-2"]`), record("GHSA-2", "Go", "p", "1.0.0", ""),
		}, []string{"GHSA-1", "GHSA-2"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			db := one(t, tt.records...)
			got := ids(append(lookup(t, db, "Go", "p"), lookup(t, db, "Debian:13", "p")...))
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestReleasesAndSpellings(t *testing.T) {
	tests := []struct{ name, in, as, ecosystem, asked string }{
		{"a point release is its release", "Debian:13.2", "p", "Debian:13", "p"},
		{"asked by point release", "Debian:13", "p", "Debian:13.12", "p"},
		{"a record for all releases", "Debian", "p", "Debian:13", "p"},
		{"long term support", "Ubuntu:24.04:LTS", "p", "Ubuntu:24.04", "p"},
		{"PEP 503", "PyPI", "Zope.Interface", "PyPI", "zope-interface"},
		{"PEP 503, asked", "PyPI", "zope-interface", "PyPI", "Zope__.interface"},
		{"case does not count for NuGet", "NuGet", "Newtonsoft.Json", "NuGet", "newtonsoft.json"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			db := one(t, record("X-1", tt.in, tt.as, "1", ""))
			if got := lookup(t, db, tt.ecosystem, tt.asked); len(got) != 1 {
				t.Errorf("%s is not found as %s", tt.as, tt.asked)
			}
		})
	}
	db := one(t, record("X-1", "Debian:12", "p", "1", ""), record("X-2", "Ubuntu:Pro:24.04:LTS", "p", "1", ""))
	for _, ecosystem := range []string{"Debian:13", "Debian", "Ubuntu:24.04"} {
		if got := lookup(t, db, ecosystem, "p"); got != nil {
			t.Errorf("%s has %v of another release", ecosystem, got)
		}
	}
}

func TestOneVulnerabilityInReleaseAndFamilyIsOneEntry(t *testing.T) {
	db := one(t,
		record("DEBIAN-CVE-2025-1", "Debian", "p", "1-1", `,"upstream":["CVE-2025-1"]`),
		record("GHSA-1", "Debian:13", "p", "3-1", `,"aliases":["CVE-2025-1"]`),
		record("DSA-1-1", "Debian:13", "p", "2-1", `,"upstream":["CVE-2025-1","CVE-2025-2"]`))
	got := lookup(t, db, "Debian:13", "p")
	ranks := map[string]int{}
	for _, c := range got[0].Claims {
		ranks[c.Record] = c.Rank
	}
	want := map[string]int{"DSA-1-1": 0, "DEBIAN-CVE-2025-1": 1, "GHSA-1": 2}
	if diff := cmp.Diff(want, ranks); diff != "" || len(got) != 2 {
		t.Errorf("%d entries, ranks (-want +got)\n%s", len(got), diff)
	}
}

func TestVulnerabilityIsPutTogetherFromAllRecords(t *testing.T) {
	const (
		v2 = "AV:N/AC:L/Au:N/C:C/I:C/A:C"
		v3 = "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:N/A:N"
		v4 = "CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:L/VI:N/VA:N/SC:N/SI:N/SA:N"
	)
	severity := func(of ...string) string {
		var all []string
		for i := 0; i < len(of); i += 2 {
			all = append(all, fmt.Sprintf(`{"type":%q,"score":%q}`, of[i], of[i+1]))
		}
		return `,"severity":[` + strings.Join(all, ",") + `]`
	}
	debian := record("DEBIAN-CVE-2025-1", "Debian:13", "p", "1-1", `,"upstream":["CVE-2025-1"],"summary":"Fixed in Debian"`)
	tests := []struct {
		name    string
		records []string
		want    advisory.Vulnerability
	}{
		{"nobody rates it", []string{debian},
			advisory.Vulnerability{Summary: "Fixed in Debian", Severity: artifact.SeverityUnknown}},
		{"the vector and the words of another record", []string{debian, `{"id":"GHSA-1","aliases":["CVE-2025-1"],"summary":"It leaks"` + severity("CVSS_V3", v3) + `}`},
			advisory.Vulnerability{Summary: "It leaks", Severity: artifact.SeverityHigh, Score: 7.5, Vector: v3}},
		{"the newest CVSS counts, not the worst", []string{debian, `{"id":"CVE-2025-1"` + severity("CVSS_V2", v2, "CVSS_V3", v3, "CVSS_V4", v4) + `}`},
			advisory.Vulnerability{Summary: "Fixed in Debian", Severity: artifact.SeverityMedium, Score: 6.9, Vector: v4}},
		{"CVSS 2", []string{debian, `{"id":"CVE-2025-1"` + severity("CVSS_V2", v2) + `}`},
			advisory.Vulnerability{Summary: "Fixed in Debian", Severity: artifact.SeverityCritical, Score: 10, Vector: v2}},
		{"a vector that is none", []string{debian, `{"id":"CVE-2025-1"` + severity("CVSS_V3", "CVSS:3.1/AV:X", "CVSS_V4", "CVSS:4.0/", "CVSS_V2", "") + `}`},
			advisory.Vulnerability{Summary: "Fixed in Debian", Severity: artifact.SeverityUnknown}},
		{"a word of GitHub's", []string{debian, `{"id":"GHSA-1","aliases":["CVE-2025-1"],"summary":"x","database_specific":{"severity":"MODERATE"}}`},
			advisory.Vulnerability{Summary: "x", Severity: artifact.SeverityMedium}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := one(t, tt.records...).Named("CVE-2025-1")
			if err != nil {
				t.Fatal(err)
			}
			tt.want.ID = "CVE-2025-1"
			tt.want.Keys = []advisory.Key{{Ecosystem: "Debian:13", Name: "p"}}
			if diff := cmp.Diff([]advisory.Vulnerability{tt.want}, got, cmpopts.IgnoreFields(tt.want, "Aliases")); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestExploitationIsJoinedByAnyName(t *testing.T) {
	known := advisory.Exploitation{Known: map[string]bool{"CVE-2025-2": true}, EPSS: map[string]float64{"CVE-2025-2": 0.5, "CVE-2025-3": 1}}
	db := open(t, build(t, known, advisory.Feed{Name: "a", Records: records(t, record("GO-2025-1", "Go", "p", "1.0.0", `,"aliases":["CVE-2025-2"]`))}))
	for _, name := range []string{"CVE-2025-2", "GO-2025-1"} {
		all, err := db.Named(name)
		if err != nil || len(all) != 1 || !all[0].KnownExploited || all[0].EPSS != 0.5 {
			t.Errorf("%s: %+v, %v", name, all, err)
		}
	}
	if all, err := db.Named("CVE-2025-3"); len(all) > 0 || err != nil {
		t.Errorf("what is in no package was found, %v", err)
	}
}

func TestABundleIsFoundByItsNameAndAddsNoOther(t *testing.T) {
	db := one(t, record("DSA-1-1", "Debian:13", "p", "1", `,"upstream":["CVE-2025-1","CVE-2025-2"]`),
		record("GO-2025-1", "Go", "q", "1.0.0", `,"aliases":["CVE-2025-1","CVE-2025-2","GHSA-1"]`))
	for _, name := range []string{"DSA-1-1", "GO-2025-1"} {
		all, err := db.Named(name)
		if err != nil || len(all) != 2 {
			t.Fatalf("%s: %v, %v", name, all, err)
		}
		for i, id := range []string{"CVE-2025-1", "CVE-2025-2"} {
			if diff := cmp.Diff([]string{"GO-2025-1"}, all[i].Aliases); all[i].ID != id || diff != "" {
				t.Errorf("%s, want %s, aliases (-want +got)\n%s", all[i].ID, id, diff)
			}
		}
	}
}

func TestBuildIsDeterministic(t *testing.T) {
	texts := []string{
		record("GO-2025-1", "Go", "p", "1.0.0", `,"aliases":["CVE-2025-1"],"summary":"a"`), record("GO-2025-2", "Go", "p", "1.0.0", `,"aliases":["CVE-2025-1"],"summary":"b"`),
		record("GHSA-3", "npm", "p", "1.0.0", ""), record("DSA-1-1", "Debian:13", "p", "1", `,"upstream":["CVE-2025-1","CVE-2025-4"]`),
	}
	read := func(texts []string) []byte {
		data, err := os.ReadFile(build(t, advisory.Exploitation{}, advisory.Feed{Name: "a", Records: records(t, texts...)}))
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	want := read(texts)
	slices.Reverse(texts)
	if !bytes.Equal(want, read(texts)) {
		t.Error("the order of the records changed the file")
	}
}

func TestAFeedThatBreaksReplacesNothing(t *testing.T) {
	path := build(t, advisory.Exploitation{}, advisory.Feed{Name: "a", Records: records(t, record("X-1", "Go", "p", "1.0.0", ""))})
	broken := errors.New("broken")
	feed := advisory.Feed{Name: "b", Records: func(yield func(*osv.Record, error) bool) { yield(nil, broken) }}
	if _, err := advisory.Build(t.Context(), path, []advisory.Feed{feed}, advisory.Exploitation{}); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	sound := advisory.Feed{Name: "c", Records: records(t, record("X-2", "Go", "p", "1.0.0", ""))}
	if _, err := advisory.Build(ctx, path, []advisory.Feed{sound}, advisory.Exploitation{}); fault.KindOf(err) != fault.Canceled {
		t.Errorf("got %v after a cancel", err)
	}
	if got := ids(lookup(t, open(t, path), "Go", "p")); !slices.Equal(got, []string{"X-1"}) {
		t.Errorf("the old file says %v", got)
	}
	if left, err := os.ReadDir(filepath.Dir(path)); err != nil || len(left) != 1 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// TestDamageIsNoticed changes every byte of a database, one at a time. Each change is told
// when the file is opened or when what it touched is read.
func TestEcosystems(t *testing.T) {
	tests := []struct {
		name    string
		records []string
		want    []string
	}{
		{"none", nil, nil},
		{"each once, in order", []string{
			record("X-1", "npm", "a", "1.0.0", ""), record("X-2", "npm", "b", "1.0.0", ""), record("X-3", "Debian:13.1", "a", "1", ""),
			record("X-4", "Debian:12", "a", "1", ""), record("X-5", "Debian", "z", "1", ""), record("X-6", "Go", "a", "1.0.0", ""),
		}, []string{"Debian", "Debian:12", "Debian:13", "Go", "npm"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := one(t, tt.records...).Ecosystems()
			if diff := cmp.Diff(tt.want, got); diff != "" || err != nil {
				t.Errorf("%v (-want +got)\n%s", err, diff)
			}
		})
	}
}

func TestDamageIsNoticed(t *testing.T) {
	path := build(t, advisory.Exploitation{}, advisory.Feed{Name: "a", Records: records(t,
		record("X-1", "Go", "p", "1.0.0", `,"aliases":["CVE-2025-1"]`), record("X-2", "npm", "q", "1.0.0", ""))})
	sound, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	readAll := func(data []byte) error {
		db, err := advisory.OpenBytes(data)
		if err != nil {
			return err
		}
		for key := range db.Keys() {
			entries, err := db.Lookup(key)
			if err != nil {
				return err
			}
			for _, e := range entries {
				if _, err := db.Describe(e); err != nil {
					return err
				}
			}
		}
		return nil
	}
	if err := readAll(sound); err != nil {
		t.Fatal(err)
	}
	for i := range sound {
		damaged := bytes.Clone(sound)
		damaged[i] ^= 0x10
		if err := readAll(damaged); !errors.Is(err, advisory.ErrUnusable) {
			t.Errorf("with byte %d of %d changed: %v", i, len(sound), err)
		}
		if err := readAll(sound[:i]); !errors.Is(err, advisory.ErrUnusable) {
			t.Errorf("with %d bytes of %d: %v", i, len(sound), err)
		}
	}
}

func TestOpenTellsWhatIsMissing(t *testing.T) {
	if _, err := advisory.Open(filepath.Join(t.TempDir(), "none")); fault.KindOf(err) != fault.NotFound {
		t.Errorf("got %v", err)
	}
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := advisory.Open(empty); !errors.Is(err, advisory.ErrUnusable) {
		t.Errorf("got %v", err)
	}
}

func TestChanged(t *testing.T) {
	database := func(known advisory.Exploitation, texts ...string) *advisory.Database {
		return open(t, build(t, known, advisory.Feed{Name: "a", Records: records(t, texts...)}))
	}
	same := record("X-1", "Go", "same", "1.0.0", "")
	old := database(advisory.Exploitation{}, same, record("X-2", "Go", "gone", "1.0.0", ""), record("X-3", "npm", "moved", "1.0.0", ""),
		record("X-4", "npm", "rated", "1.0.0", `,"aliases":["CVE-2025-4"]`), record("X-5", "npm", "scored", "1.0.0", `,"aliases":["CVE-2025-5"]`))
	new := database(advisory.Exploitation{EPSS: map[string]float64{"CVE-2025-5": 0.9}},
		record("A-0", "Go", "added", "1.0.0", ""), same, record("X-3", "npm", "moved", "1.0.1", ""),
		record("X-4", "npm", "rated", "1.0.0", `,"aliases":["CVE-2025-4"],"database_specific":{"severity":"HIGH"}`),
		record("X-5", "npm", "scored", "1.0.0", `,"aliases":["CVE-2025-5"]`))
	want := []advisory.Key{{"Go", "added"}, {"Go", "gone"}, {"npm", "moved"}, {"npm", "rated"}}
	for _, pair := range [][2]*advisory.Database{{old, new}, {new, old}} {
		got, err := advisory.Changed(pair[0], pair[1])
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
	}
	if got, err := advisory.Changed(old, old); len(got) != 0 || err != nil {
		t.Errorf("a database differs from itself: %v, %v", got, err)
	}
}

// FuzzOpen feeds anything to Open: it may be refused, and never crashes a reader.
func FuzzOpen(f *testing.F) {
	data, err := os.ReadFile(build(f, advisory.Exploitation{}, advisory.Feed{Name: "a", Records: records(f, record("X-1", "Go", "p", "1.0.0", ""))}))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add(data[:20])
	f.Fuzz(func(t *testing.T, input []byte) {
		db, err := advisory.OpenBytes(input)
		if err != nil {
			return
		}
		for key := range db.Keys() {
			entries, _ := db.Lookup(key)
			for _, e := range entries {
				_, _ = db.Describe(e)
			}
		}
		_, _ = db.Named("X-1")
		_, _ = db.Ecosystems()
	})
}

// FuzzBuild feeds any JSON to Build: a file comes out that can be read from end to end.
func FuzzBuild(f *testing.F) {
	f.Add(record("X-1", "Go", "p", "1.0.0", `,"aliases":["CVE-2025-1"]`))
	f.Add(record("DSA-1-1", "Debian:13.1", "p", "1:1-1", `,"upstream":["CVE-2025-1","CVE-2025-1"]`))
	f.Add(`{"id":"","affected":[{"package":{"ecosystem":":","name":"\u0000"},"versions":[""],"ranges":[{"events":[{},{"limit":"*"}]}]}]}`)
	f.Fuzz(func(t *testing.T, text string) {
		r := new(osv.Record)
		if json.Unmarshal([]byte(text), r) != nil {
			return
		}
		feed := func(yield func(*osv.Record, error) bool) { yield(r, nil) }
		db := open(t, build(t, advisory.Exploitation{}, advisory.Feed{Name: "fuzz", Records: feed}))
		for key := range db.Keys() {
			if lookup(t, db, key.Ecosystem, key.Name) == nil {
				t.Fatalf("%q is listed and not found", key)
			}
		}
	})
}
