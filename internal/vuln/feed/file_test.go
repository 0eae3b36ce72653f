package feed

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zip"

	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/vuln/osv"
)

// These are laid out as their keepers publish them, cut to a few.
const (
	kevText = `{"title":"CISA Catalog of Known Exploited Vulnerabilities","catalogVersion":"2026.01.05","dateReleased":"2026-01-05T15:00:25.1372Z","count":2,
"vulnerabilities":[
{"cveID":"CVE-2024-3094","vendorProject":"XZ","product":"Utils","vulnerabilityName":"XZ","dateAdded":"2024-04-01","shortDescription":"x","requiredAction":"y","dueDate":"2024-04-22","knownRansomwareCampaignUse":"Unknown","notes":"","cwes":["CWE-506"]},
{"cveID":"CVE-2021-44228","vendorProject":"Apache","product":"Log4j2","vulnerabilityName":"Log4Shell","dateAdded":"2021-12-10","shortDescription":"x","requiredAction":"y","dueDate":"2021-12-24","knownRansomwareCampaignUse":"Known","notes":"","cwes":[]}]}`

	epssText = "#model_version:v2026.01.01,score_date:2026-01-05T00:00:00+0000\ncve,epss,percentile\nCVE-2021-44228,0.97547,0.99995\nCVE-2024-3094,0.1,0.5\n"

	trackerText = `{"curl":{"CVE-2025-0001":{"description":"a leak","debianbug":1,"scope":"remote","releases":{
 "trixie":{"status":"resolved","repositories":{"trixie":"8.14.1-2"},"fixed_version":"8.14.1-2","urgency":"not yet assigned"},
 "bookworm":{"status":"open","repositories":{"bookworm":"7.88.1-10"},"urgency":"low**","nodsa":"Minor issue","nodsa_reason":""}}},
"CVE-2025-0002":{"description":"b","releases":{"trixie":{"status":"open","repositories":{},"urgency":"unimportant"}}}},
"libcurl-gnu":{"CVE-2025-0001":{"description":"a leak","releases":{
 "trixie":{"status":"resolved","fixed_version":"0","urgency":"unimportant"}}},
"TEMP-0000000-ABCDEF":{"releases":{"bookworm":{"status":"undetermined","urgency":"not yet assigned"}}},
"CVE-2025-0003":{"releases":{"trixie":{"status":"open","urgency":"low","nodsa":"later","nodsa_reason":"postponed"},"sid":{"status":"open","urgency":"low"}}}}}`
)

// single is a site that syncs a feed of one file.
func single(t testing.TB, kind Kind, text []byte) (*site, *export) {
	e := &export{t.TempDir()}
	e.put(t, "file", text)
	s := newSite(t, e.dir+"/file")
	s.feed.Kind, s.feed.Ecosystems = kind, nil
	return s, e
}

func zipped(t testing.TB, text string) []byte {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	if _, err := w.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestKEV(t *testing.T) {
	s, _ := single(t, KEV, []byte(kevText))
	s.mustSync(t)
	var got []Exploited
	for v, err := range s.Exploited(s.feed) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, v)
	}
	want := []Exploited{
		{CVE: "CVE-2021-44228", Added: "2021-12-10", Due: "2021-12-24", Ransomware: "Known"},
		{CVE: "CVE-2024-3094", Added: "2024-04-01", Due: "2024-04-22", Ransomware: "Unknown"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if len(s.have(t)) != 0 {
		t.Error("a kev feed has no advisories")
	}
}

func TestEPSS(t *testing.T) {
	for _, text := range [][]byte{[]byte(epssText), zipped(t, epssText)} {
		s, _ := single(t, EPSS, text)
		s.mustSync(t)
		var got []Score
		for v, err := range s.Scores(s.feed) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, v)
		}
		if diff := cmp.Diff([]Score{{"CVE-2021-44228", 0.97547, 0.99995}, {"CVE-2024-3094", 0.1, 0.5}}, got); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
	}
}

func TestTrackerKeepsItsWords(t *testing.T) {
	s, _ := single(t, Tracker, []byte(trackerText))
	s.feed.Ecosystems = []string{"Debian:12=bookworm", "Debian:13=trixie"}
	s.mustSync(t)
	type said struct{ Package, Urgency, State, Fixed string }
	got := map[string][]said{}
	for id, r := range s.have(t) {
		for _, a := range r.Affected {
			events := a.Ranges[0].Events
			got[id] = append(got[id], said{a.Package.Ecosystem + " " + a.Package.Name, a.Ecosystem.Urgency, a.Ecosystem.State, events[len(events)-1].Fixed})
		}
	}
	want := map[string][]said{
		"DEBIAN-CVE-2025-0001": {
			{"Debian:12 curl", "low", "no-dsa", ""},
			{"Debian:13 curl", "not yet assigned", "resolved", "8.14.1-2"},
			{"Debian:13 libcurl-gnu", "unimportant", "resolved", "0"}, // it never was affected
		},
		"DEBIAN-CVE-2025-0002":       {{"Debian:13 curl", "unimportant", "open", ""}},
		"DEBIAN-CVE-2025-0003":       {{"Debian:13 libcurl-gnu", "low", "postponed", ""}},
		"DEBIAN-TEMP-0000000-ABCDEF": {{"Debian:12 libcurl-gnu", "not yet assigned", "undetermined", ""}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if r := s.have(t)["DEBIAN-CVE-2025-0001"]; r.Summary != "a leak" || !slices.Equal(r.Upstream, []string{"CVE-2025-0001"}) {
		t.Errorf("got %+v", r)
	}
}

// TestOtherReleasesAreReadOfTheSameFile holds that a change of the configuration counts,
// though the file did not change.
func TestOtherReleasesAreReadOfTheSameFile(t *testing.T) {
	s, _ := single(t, Tracker, []byte(trackerText))
	for _, releases := range [][]string{{"Debian:13=trixie"}, {"Debian:13=trixie", "Debian:12=bookworm"}} {
		s.feed.Ecosystems = releases
		s.mustSync(t)
		if got := len(s.have(t)["DEBIAN-CVE-2025-0001"].Affected); got != len(releases)+1 {
			t.Errorf("%q: %d packages are affected", releases, got)
		}
	}
}

func TestFilesThatAreNone(t *testing.T) {
	change := func(text, old, new string) []byte { return []byte(strings.Replace(text, old, new, 1)) }
	tests := []struct {
		name string
		kind Kind
		good string
		bad  []byte
	}{
		{"kev: a page", KEV, kevText, []byte("<html>")},
		{"kev: half", KEV, kevText, []byte(kevText[:len(kevText)/2])},
		{"kev: another count", KEV, kevText, change(kevText, `"count":2`, `"count":9`)},
		{"kev: no day", KEV, kevText, change(kevText, "2024-04-01", "soon")},
		{"kev: no CVE", KEV, kevText, change(kevText, "CVE-2024-3094", "XZ")},
		{"kev: the same twice", KEV, kevText, change(kevText, "CVE-2024-3094", "CVE-2021-44228")},
		{"kev: older", KEV, kevText, change(kevText, "2026-01-05T", "2026-01-04T")},
		{"kev: a bomb", KEV, kevText, zipped(t, strings.Replace(kevText, "{", `{"title":"`+strings.Repeat("x", maxExploit)+`",`, 1))},
		{"epss: empty", EPSS, epssText, nil},
		{"epss: no day", EPSS, epssText, change(epssText, "score_date", "day")},
		{"epss: other columns", EPSS, epssText, change(epssText, "epss,percentile", "percentile,epss")},
		{"epss: a probability of two", EPSS, epssText, change(epssText, "0.97547", "2")},
		{"epss: not a number", EPSS, epssText, change(epssText, "0.97547", "NaN")},
		{"epss: half a gzip", EPSS, epssText, zipped(t, epssText)[:40]},
		{"epss: a bomb", EPSS, epssText, zipped(t, epssText+strings.Repeat("CVE-2024-1000,0.1,0.1\n", 1<<18))},
		{"tracker: a list", Tracker, trackerText, []byte("[]")},
		{"tracker: half", Tracker, trackerText, []byte(trackerText[:len(trackerText)/2])},
		{"tracker: a package that is a path", Tracker, trackerText, change(trackerText, `"curl"`, `"../curl"`)},
		{"tracker: a status of its own", Tracker, trackerText, change(trackerText, `"open","repositories":{}`, `"maybe","repositories":{}`)},
		{"tracker: a version that is none", Tracker, trackerText, change(trackerText, `"fixed_version":"8.14.1-2"`, `"fixed_version":"a b"`)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, e := single(t, tt.kind, []byte(tt.good))
			if tt.kind == Tracker {
				s.feed.Ecosystems = []string{"Debian:13=trixie"}
			}
			s.mustSync(t)
			before := s.status()
			e.put(t, "file", tt.bad)
			if err := s.sync(t); fault.KindOf(err) != fault.Denied {
				t.Errorf("want it denied, got %v", err)
			}
			after := s.status()
			after.Error = ""
			if diff := cmp.Diff(before, after); diff != "" || before.Records == 0 {
				t.Errorf("-before +after:\n%s", diff)
			}
		})
	}
}

func TestFilesAreVouchedForToo(t *testing.T) {
	s, e := single(t, EPSS, []byte(epssText))
	sum, err := sumOf(s.feed.URL)
	if err != nil {
		t.Fatal(err)
	}
	e.put(t, sumsFile, []byte(sum+" *file\n"))
	s.feed.Checksums = "required"
	s.mustSync(t)
	e.put(t, "file", []byte(strings.Replace(epssText, "0.97547", "0.00001", 1)))
	if err := s.sync(t); fault.KindOf(err) != fault.Denied {
		t.Errorf("want it denied, got %v", err)
	}
}

// FuzzFiles holds that no text makes a parser panic, or gives entries that could not be kept.
func FuzzFiles(f *testing.F) {
	f.Add([]byte(kevText), uint8(0))
	f.Add([]byte(epssText), uint8(1))
	f.Add([]byte(trackerText), uint8(2))
	tracker := trackerParser(Feed{Ecosystems: []string{"Debian:13=trixie", "Debian:12=bookworm"}})
	f.Fuzz(func(t *testing.T, text []byte, which uint8) {
		read := []parse{parseKEV, parseEPSS, tracker}[which%3]
		entries, err := read(bytes.NewReader(text), day(1))
		if err != nil {
			return
		}
		for _, e := range entries {
			got, err := readLine(bytes.TrimSuffix(e.appendLine(nil), []byte("\n")))
			if err != nil || got.id != e.id || !got.modified.Equal(e.modified) || !bytes.Equal(got.json, e.json) || !json.Valid(e.json) {
				t.Errorf("%+v was kept as %+v (%v)", e, got, err)
			}
		}
	})
}

// FuzzChanges holds that a list of changes gives ids that can stand in an address.
func FuzzChanges(f *testing.F) {
	f.Add([]byte("2026-01-05T15:00:25.1372Z,GHSA-xxxx-yyyy-zzzz\r\n2024-01-01T00:00:00Z,GO-2020-0001\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		modified, err := parseChanges(text)
		if err != nil {
			return
		}
		for _, id := range slices.Sorted(maps.Keys(modified)) {
			if !osv.ValidID(id) {
				t.Errorf("%q is no id", id)
			}
		}
	})
}

// FuzzArchive holds that an archive gives sound records in order, or none.
func FuzzArchive(f *testing.F) {
	text, err := json.Marshal(record("T-0001", 1))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(zipOf(f, map[string][]byte{"T-0001.json": text, "T-0002.json": []byte("{}")}))
	f.Fuzz(func(t *testing.T, packed []byte) {
		archive, err := zip.NewReader(bytes.NewReader(packed), int64(len(packed)))
		if err != nil {
			return
		}
		records, err := openArchive(archive, uint64(len(packed)))
		if err != nil {
			return
		}
		last := ""
		for e, err := range records.entries() {
			if err != nil {
				return
			}
			if !osv.ValidID(e.id) || e.id <= last {
				t.Errorf("%q comes after %q", e.id, last)
			}
			last = e.id
		}
	})
}

func TestMadeFallsBackOnNow(t *testing.T) {
	s := &syncer{Options: Options{Now: func() time.Time { return day(3) }}}
	for _, tt := range []struct {
		modified string
		want     time.Time
	}{{"", day(3)}, {"Thu, 01 Jan 2026 12:00:00 GMT", day(1)}, {"yesterday", day(3)}} {
		if got := s.made(validators{Modified: tt.modified}); !got.Equal(tt.want) {
			t.Errorf("made(%q) = %s, want %s", tt.modified, got, tt.want)
		}
	}
}
