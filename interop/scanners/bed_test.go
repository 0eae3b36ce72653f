package scanners

import (
	"bufio"
	"bytes"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/package-url/packageurl-go"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/vuln/advisory"
	"plimsoll.dev/plimsoll/internal/vuln/match"
	"plimsoll.dev/plimsoll/internal/vuln/osv"
)

// finding is what the scanners are compared by: a package URL and the name of a
// vulnerability, which is plimsoll's, whatever record tells of it.
type finding struct{ Package, ID string }

// record is an advisory: its text for scanners that read it themselves, and as plimsoll
// reads it.
type record struct {
	text []byte
	osv  *osv.Record
}

// records gives the advisories in testdata by ecosystem.
func records(t *testing.T) map[string][]record {
	t.Helper()
	all := map[string][]record{}
	for _, path := range files(t, "testdata/records/*.jsonl") {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		ecosystem := strings.TrimSuffix(filepath.Base(path), ".jsonl")
		for line := range bytes.Lines(text) {
			r, err := osv.Parse(line)
			if err != nil {
				t.Fatalf("%s: %v", path, err)
			}
			all[ecosystem] = append(all[ecosystem], record{line, r})
		}
	}
	return all
}

// sets gives the package sets in testdata by name.
func sets(t *testing.T) map[string][]artifact.Package {
	t.Helper()
	all := map[string][]artifact.Package{}
	for _, path := range files(t, "testdata/sets/*.txt") {
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		name := strings.TrimSuffix(filepath.Base(path), ".txt")
		for lines := bufio.NewScanner(f); lines.Scan(); {
			all[name] = append(all[name], packageOf(t, lines.Text()))
		}
	}
	return all
}

func files(t *testing.T, pattern string) []string {
	t.Helper()
	paths, err := filepath.Glob(pattern)
	if err != nil || len(paths) == 0 {
		t.Fatal(pattern, "names no file", err)
	}
	return paths
}

func packageOf(t *testing.T, text string) artifact.Package {
	t.Helper()
	purl, err := packageurl.FromString(text)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	q := purl.Qualifiers.Map()
	p := artifact.Package{Type: purl.Type, Namespace: purl.Namespace, Name: purl.Name, Version: purl.Version, Arch: q["arch"], Distro: q["distro"]}
	if p.Type == "deb" {
		p.Source, p.SourceVersion, _ = strings.Cut(q["upstream"], "@")
		if p.Source == "" {
			p.Source = p.Name
		}
	}
	return p
}

// plimsoll gives plimsoll's findings, and the database they are from.
func plimsoll(t *testing.T, advisories map[string][]record, packages []artifact.Package) (map[finding]bool, *advisory.Database) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "advisories")
	feed := advisory.Feed{Name: "all", Records: func(yield func(*osv.Record, error) bool) {
		for _, ecosystem := range slices.Sorted(maps.Keys(advisories)) {
			for _, r := range advisories[ecosystem] {
				if !yield(r.osv, nil) {
					return
				}
			}
		}
	}}
	if _, err := advisory.Build(t.Context(), path, []advisory.Feed{feed}, advisory.Exploitation{}); err != nil {
		t.Fatal(err)
	}
	db, err := advisory.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	found := map[finding]bool{}
	for result, err := range match.Packages(t.Context(), db, slices.Values(packages)) {
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range result.Findings {
			found[finding{f.Package.PURL(), f.ID}] = true
		}
	}
	return found, db
}

// add notes what a scanner found by a record's id: each vulnerability that the record is of.
func add(t *testing.T, db *advisory.Database, found map[finding]bool, p artifact.Package, record string) {
	t.Helper()
	of, err := db.Named(record)
	if err != nil || len(of) == 0 {
		t.Fatalf("%s is of nothing: %v", record, err)
	}
	for _, v := range of {
		found[finding{p.PURL(), v.ID}] = true
	}
}

// difference is one that is known, and why.
type difference struct {
	Scanner string `json:"scanner"`
	Package string `json:"package"` // package URL, its end open when it ends with *
	ID      string `json:"id"`      // the vulnerability's, or *
	Only    string `json:"only"`    // who reports it: "plimsoll" or "scanner"
	Why     string `json:"why"`
}

func (d difference) covers(scanner, only string, f finding) bool {
	start, open := strings.CutSuffix(d.Package, "*")
	return d.Scanner == scanner && d.Only == only && (d.ID == "*" || d.ID == f.ID) &&
		(d.Package == f.Package || open && strings.HasPrefix(f.Package, start))
}

// compare fails for each difference that testdata/differences.json does not explain, and for
// each explanation that explains none.
func compare(t *testing.T, scanner string, ours, theirs map[finding]bool) {
	t.Helper()
	text, err := os.ReadFile("testdata/differences.json")
	if err != nil {
		t.Fatal(err)
	}
	var known []difference
	if err := json.Unmarshal(text, &known); err != nil {
		t.Fatal(err)
	}
	used := make([]bool, len(known))
	explain := func(only string, f finding) {
		for i, d := range known {
			if d.covers(scanner, only, f) {
				used[i] = true
				return
			}
		}
		t.Errorf("only %s: %s %s", map[string]string{"plimsoll": "plimsoll", "scanner": scanner}[only], f.ID, f.Package)
	}
	same := 0
	for f := range ours {
		if theirs[f] {
			same++
			continue
		}
		explain("plimsoll", f)
	}
	for f := range theirs {
		if !ours[f] {
			explain("scanner", f)
		}
	}
	for i, d := range known {
		if d.Scanner == scanner && !used[i] {
			t.Errorf("this explains nothing any more: %+v", d)
		}
		if d.Why == "" {
			t.Errorf("no reason: %+v", d)
		}
	}
	if same == 0 {
		t.Error("the scanners agree on nothing: they were not given the same")
	}
	t.Logf("%d findings alike, %d only plimsoll's, %d only %s's", same, len(ours)-same, len(theirs)-same, scanner)
}
