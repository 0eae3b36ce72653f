package changelog

import (
	"bytes"
	"cmp"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"plimsoll.dev/plimsoll/internal/vuln/osv"
)

func TestEntries(t *testing.T) {
	const text = `curl (8.14.1-2+deb13u2) trixie-security; urgency=HIGH (it hurts), binary-only=no

  [ Some One ]
  * Fix one thing
    over two lines (CVE-2025-
    1234).
    - a part of it
  * Another.

 -- Some One <one@example.com>  Fri, 02 Jan 2026 03:04:05 +0100

curl (8.14.1-2+b1) sid; urgency=low, binary-only=yes

  * Binary-only non-maintainer upload for amd64; no source changes.

 -- buildd <b@example.com>  Thu, 1 Jan 2026 00:00:00 +0000

# Older entries have been removed from this changelog.
curl (8.14.1-2) unstable experimental; urgency=medium

  * No trailer follows.
curl (0.1) unstable; urgency=low
  * A weekday that is wrong, and a comma for the blanks.
 -- x <x>,Mon,  7 Feb 2000 10:00:00 +0000
Local variables:
mode: debian-changelog
End:
`
	var got []entry
	for e, err := range entries(strings.NewReader(text)) {
		if err != nil {
			t.Fatal(err)
		}
		e.items = slices.DeleteFunc(e.items, func(s string) bool { return s == "" })
		got = append(got, e)
	}
	want := []entry{
		{
			source: "curl", version: "8.14.1-2+deb13u2", suites: []string{"trixie-security"}, urgency: "high",
			items: []string{"[ Some One ]", "* Fix one thing over two lines (CVE-2025-1234).", "- a part of it", "* Another."},
			date:  time.Date(2026, 1, 2, 2, 4, 5, 0, time.UTC),
		},
		{
			source: "curl", version: "8.14.1-2+b1", suites: []string{"sid"}, urgency: "low", rebuilt: true,
			items: []string{"* Binary-only non-maintainer upload for amd64; no source changes."},
			date:  time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC),
		},
		{
			source: "curl", version: "8.14.1-2", suites: []string{"unstable", "experimental"}, urgency: "medium",
			items: []string{"* No trailer follows."},
		},
		{
			source: "curl", version: "0.1", suites: []string{"unstable"}, urgency: "low",
			items: []string{"* A weekday that is wrong, and a comma for the blanks."},
			date:  time.Date(2000, 2, 7, 10, 0, 0, 0, time.UTC),
		},
	}
	if diff := gocmp.Diff(want, got, gocmp.AllowUnexported(entry{})); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestExcerptRefuses(t *testing.T) {
	tests := []struct{ name, text string }{
		{"nothing", ""},
		{"no changelog", "<html>\n"},
		{"another package's", "wget (1.0-1) unstable; urgency=low\n\n  * x\n\n -- x <x>  Thu, 01 Jan 2026 00:00:00 +0000\n"},
		{"a line without an end", "curl (1.0-1) unstable; urgency=low\n  * " + strings.Repeat("x", maxLine)},
		{"an entry without an end", "curl (1.0-1) unstable; urgency=low\n" + strings.Repeat("  * "+strings.Repeat("x", 1000)+"\n", maxEntry/1000+1)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if text, err := Excerpt(strings.NewReader(tt.text), "curl"); err == nil {
				t.Errorf("it was taken: %.80q", text)
			}
		})
	}
}

// TestExcerptSaysTheSame holds that records of a changelog and of its excerpt are the same.
func TestExcerptSaysTheSame(t *testing.T) {
	text := "openssl (3.5.1-1) unstable; urgency=low\n\n  * Not named.\n  * Fix a leak\n    (CVE-2025-0001,\n    CVE-2025-0002). See\n    nothing else.\n    + Not affected by CVE-2025-0003.\n\n -- A <a@example.com>  Thu, 01 Jan 2026 00:00:00 +0000\n" +
		"shim (1.0) unstable; urgency=low\n\n  * CVE-2025-0004\n\n -- A <a@example.com>  Thu, 01 Jan 2026 00:00:00 +0000\n"
	excerpt, err := Excerpt(strings.NewReader(text), "openssl")
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(excerpt), "example.com") || strings.Contains(string(excerpt), "Not named") {
		t.Errorf("it keeps more than is needed:\n%s", excerpt)
	}
	a, err := Records("13", []Package{{"openssl", []byte(text)}})
	if err != nil {
		t.Fatal(err)
	}
	b, err := Records("13", []Package{{"openssl", excerpt}})
	if err != nil {
		t.Fatal(err)
	}
	if diff := gocmp.Diff(a, b); diff != "" || len(a) != 2 {
		t.Errorf("%d records; -changelog +excerpt:\n%s", len(a), diff)
	}
}

// TestAgreesWithAnotherReader compares with what somebody else made of the same changelogs,
// and explains each difference.
func TestAgreesWithAnotherReader(t *testing.T) {
	text, err := os.ReadFile("testdata/trixie.changelogs")
	if err != nil {
		t.Fatal(err)
	}
	var packages []Package
	for e, err := range entries(bytes.NewReader(text)) {
		if err != nil {
			t.Fatal(err)
		}
		var one bytes.Buffer
		e.write(&one)
		if last := len(packages) - 1; last >= 0 && packages[last].Source == e.source {
			packages[last].Changelog = append(packages[last].Changelog, one.Bytes()...)
			continue
		}
		packages = append(packages, Package{e.source, one.Bytes()})
	}
	records, err := Records("13", packages)
	if err != nil {
		t.Fatal(err)
	}
	ours := map[string]string{}
	for _, r := range records {
		for _, a := range r.Affected {
			ours[r.ID+"\t"+a.Package.Name] = a.Ranges[0].Events[len(a.Ranges[0].Events)-1].Fixed + "\t" + a.Ecosystem.UploadUrgency
		}
	}
	differences := map[string]struct{ why, ours string }{
		"DEBIAN-CVE-2025-27221\truby3.3": {
			"it was fixed before the release; the later entry removes the patch, since upstream has it",
			"3.3.7-2\tmedium",
		},
		"DEBIAN-CVE-2025-62408\tc-ares": {
			"the fixing entry has urgency medium; high is that of a later one, which drops the patch",
			"1.34.5-1+deb13u1\tmedium",
		},
		"DEBIAN-CVE-2026-33630\tc-ares": {
			"the entry of unstable that came with the update has the fix first; no version of the release lies between",
			"1.34.7-1\thigh",
		},
	}
	theirs, err := os.ReadFile("testdata/trixie.tsv")
	if err != nil {
		t.Fatal(err)
	}
	same := 0
	for line := range strings.Lines(string(theirs)) {
		fields := strings.SplitN(strings.TrimSpace(line), "\t", 3)
		key, want := fields[0]+"\t"+fields[1], fields[2]
		if known, ok := differences[key]; ok {
			want = known.ours
		} else {
			same++
		}
		if ours[key] != want {
			t.Errorf("%s: got %q, want %q", key, ours[key], want)
		}
		delete(ours, key)
	}
	if same != 367 {
		t.Errorf("%d are the same", same)
	}
	// What is left over is ours alone: fixed in unstable before the release, which the other
	// reader leaves out, or in a point release, which it did not read.
	for key, value := range ours {
		if strings.Contains(value, "deb13u") && !strings.HasPrefix(value, "1:10.0p1-7+deb13u3") {
			t.Errorf("%s: %s is ours alone", key, value)
		}
	}
}

func TestHistories(t *testing.T) {
	entry := func(version, suite, text string) string {
		return fmt.Sprintf("p (%s) %s; urgency=medium\n\n  * %s\n\n -- A <a>  Thu, 01 Jan 2026 00:00:00 +0000\n", version, suite, text)
	}
	events := func(versions ...string) []osv.Event {
		all := []osv.Event{{Introduced: "0"}}
		for i, v := range versions {
			if i%2 == 0 {
				all = append(all, osv.Event{Fixed: v})
			} else {
				all = append(all, osv.Event{Introduced: v})
			}
		}
		return all
	}
	tests := []struct {
		name    string
		entries []string // newest first
		want    []osv.Event
	}{
		{"once", []string{entry("2-1", "trixie", "Fix CVE-2025-1111.")}, events("2-1")},
		{"named again", []string{entry("3-1", "trixie", "Fix CVE-2025-1111."), entry("2-1", "trixie", "CVE-2025-1111")}, events("2-1")},
		{"the lowest version, not the lowest line", []string{entry("1-1+deb13u1", "trixie", "CVE-2025-1111"), entry("2-1", "unstable", "CVE-2025-1111")}, events("1-1+deb13u1")},
		{"with an epoch", []string{entry("1:1-1", "trixie", "CVE-2025-1111"), entry("9-1", "unstable", "CVE-2025-1111")}, events("9-1")},
		{"an update made from unstable", []string{entry("2.9.0-1~deb13u1", "trixie-security", "Rebuild for trixie."), entry("2.9.0-1", "unstable", "Fix CVE-2025-1111.")}, events("2.9.0-1~deb13u1")}, // expat
		{"two updates made from unstable", []string{ // openjdk-21
			entry("21.0.13.1+2-1~deb13u1", "trixie-security", "Rebuild for trixie."), entry("21.0.13.1+2-1", "unstable", "Else."),
			entry("21.0.12.1+1-1~deb13u1", "trixie-security", "Rebuild for trixie."), entry("21.0.12.1+1-1", "unstable", "CVE-2025-1111"),
		}, events("21.0.12.1+1-1~deb13u1")},
		{"an update made from a later version", []string{entry("1.34.9-1~deb13u1", "trixie-security", "CVE-2025-1111"), entry("1.34.7-1", "unstable", "CVE-2025-1111")}, events("1.34.7-1")}, // c-ares
		{"an update that leaves the fix out", []string{entry("2-1~deb13u1", "trixie", "Revert the fix for CVE-2025-1111."), entry("2-1", "unstable", "Fix CVE-2025-1111.")}, nil},
		{"an update that leaves the fix out at first", []string{entry("2-1~deb13u2", "trixie", "Fix CVE-2025-1111."), entry("2-1~deb13u1", "trixie", "Revert the fix for CVE-2025-1111."), entry("2-1", "unstable", "Fix CVE-2025-1111.")}, events("2-1~deb13u2")},
		{"two tries in an update", []string{entry("3-1~deb13u1", "trixie", "Rebuild."), entry("3-1", "unstable", "Complete fix of CVE-2025-1111."), entry("2-1", "unstable", "Fix CVE-2025-1111.")}, events("3-1~deb13u1")},
		{"in version 0, and again", []string{entry("1-1", "trixie", "CVE-2025-1111"), entry("0", "trixie", "CVE-2025-1111")}, events("0")},
		{"never released", []string{entry("3-1", "trixie", "Else."), entry("2-1", "UNRELEASED", "Fix CVE-2025-1111."), entry("1-1", "trixie", "Else.")}, events("3-1")},
		{"taken back", []string{entry("3-1", "trixie", "Revert the fix for CVE-2025-1111: it breaks."), entry("2-1", "trixie", "Fix CVE-2025-1111.")}, events("2-1", "3-1")},
		{"taken back and fixed again", []string{entry("4-1", "trixie", "Fix CVE-2025-1111 again."), entry("3-1", "trixie", "Revert \"CVE-2025-1111: check\""), entry("2-1", "trixie", "Fix CVE-2025-1111.")}, events("2-1", "3-1", "4-1")},
		{"taken back for a better one", []string{entry("3-1", "trixie", "Revert the fix for CVE-2025-1111.\n  * Fix CVE-2025-1111 as upstream does."), entry("2-1", "trixie", "Fix CVE-2025-1111.")}, events("2-1")},
		{"two tries", []string{entry("3-1", "trixie", "Complete fix of CVE-2025-1111."), entry("2-1", "trixie", "Fix CVE-2025-1111.")}, events("3-1")},
		{"a regression of a fix", []string{entry("3-1", "trixie", "Fix CVE-2025-1111 regression."), entry("2-1", "trixie", "Fix CVE-2025-1111.")}, events("2-1")},
		{"only a regression is told", []string{entry("3-1", "trixie", "Fix CVE-2025-1111 regression.")}, nil},
		{"only taken back", []string{entry("3-1", "trixie", "Revert fix for CVE-2025-1111.")}, nil},
		{"not affected", []string{entry("3-1", "trixie", "Not affected by CVE-2025-1111.")}, nil},
		{"a rebuild", []string{strings.Replace(entry("3-1+b1", "trixie", "CVE-2025-1111"), "medium", "low, binary-only=yes", 1)}, nil},
		{"of the future", []string{entry("3-1", "trixie", "CVE-2027-1111")}, nil},
		{"before the release", []string{strings.Replace(entry("3-1", "unstable", "CVE-2021-1111"), "2026", "2022", 1)}, nil},
		{"no version", []string{entry("not_a_version", "trixie", "CVE-2025-1111")}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			records, err := Records("13", []Package{{"p", []byte(strings.Join(tt.entries, "\n"))}})
			if err != nil {
				t.Fatal(err)
			}
			var got []osv.Event
			for _, r := range records {
				got = append(got, r.Affected[0].Ranges[0].Events...)
			}
			if diff := gocmp.Diff(tt.want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestRecordIsAsThePublicExport(t *testing.T) {
	text := "valkey (8.1.1+dfsg1-3+deb13u1) trixie-security; urgency=high\n\n  * Lua: fix use after free. (CVE-2025-49844, DSA-6020-1)\n\n -- A <a>  Tue, 07 Oct 2025 18:00:58 +0000\n"
	other := "redis (5:8.0.2-3+deb13u1) trixie-security; urgency=medium\n\n  * CVE-2025-49844\n\n -- A <a>  Tue, 07 Oct 2025 19:33:04 +0000\n"
	got, err := Records("13", []Package{{"valkey", []byte(text)}, {"redis", []byte(other)}})
	if err != nil {
		t.Fatal(err)
	}
	affected := func(name, fixed, urgency string) osv.Affected {
		return osv.Affected{
			Package:   osv.Package{Ecosystem: "Debian:13", Name: name, PURL: "pkg:deb/debian/" + name + "?arch=source"},
			Ranges:    []osv.Range{{Type: osv.ECOSYSTEM, Events: []osv.Event{{Introduced: "0"}, {Fixed: fixed}}}},
			Ecosystem: osv.EcosystemSpecific{UploadUrgency: urgency},
		}
	}
	want := []*osv.Record{{
		SchemaVersion: "1.7.0", ID: "DEBIAN-CVE-2025-49844", Upstream: []string{"CVE-2025-49844"}, Related: []string{"DSA-6020-1"},
		Published: time.Date(2025, 10, 7, 18, 0, 58, 0, time.UTC), Modified: time.Date(2025, 10, 7, 19, 33, 4, 0, time.UTC),
		Summary:  "CVE-2025-49844",
		Affected: []osv.Affected{affected("redis", "5:8.0.2-3+deb13u1", "medium"), affected("valkey", "8.1.1+dfsg1-3+deb13u1", "high")},
	}}
	if diff := gocmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// FuzzRecords holds that whatever stands in a changelog, its excerpt gives sound records, in
// order and the same ones each time.
func FuzzRecords(f *testing.F) {
	text, err := os.ReadFile("testdata/trixie.changelogs")
	if err != nil {
		f.Fatal(err)
	}
	for part := range slices.Chunk(text, 4096) {
		f.Add(part)
	}
	f.Add([]byte("p (1-1) trixie; urgency=low\n  * CVE-2025-{1111,2222}, -3333/4444 CVE: 2025-5555\n -- x <x>  Thu, 01 Jan 2026 00:00:00 +0000\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		first, _, _ := strings.Cut(string(text), " ")
		excerpt, err := Excerpt(bytes.NewReader(text), first)
		if err != nil {
			return
		}
		records, err := Records("14", []Package{{first, excerpt}})
		if err != nil {
			t.Fatalf("the excerpt cannot be read: %v\n%s", err, excerpt)
		}
		if !slices.IsSortedFunc(records, func(a, b *osv.Record) int { return cmp.Compare(a.ID, b.ID) }) {
			t.Error("they are not in order")
		}
		for _, r := range records {
			if !osv.ValidID(r.ID) || len(r.Affected) != 1 {
				t.Errorf("%+v", r)
			}
		}
		again, err := Records("14", []Package{{first, excerpt}})
		if diff := gocmp.Diff(records, again); diff != "" || err != nil {
			t.Errorf("not the same again: %v\n%s", err, diff)
		}
	})
}
