package cli

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/vuln/report"
)

func TestWantedTypesAreKnown(t *testing.T) {
	got, err := verifyOptions{want: []string{"spdx", "https://example.com/mine"}}.wanted()
	if err != nil || len(got) != 2 || got[0] != artifact.PredicateSPDX || got[1] != "https://example.com/mine" {
		t.Errorf("%q, %v", got, err)
	}
	if got, err := (verifyOptions{want: []string{"sbom"}}).wanted(); fault.KindOf(err) != fault.Usage || err == nil {
		t.Errorf("%q, %v; want a refusal of a word that is no type", got, err)
	}
}

// TestImportGoesWhereTheUserSays: names in a bundle are nobody's word, so they choose
// neither a registry nor a place outside of the path that --to gives.
func TestImportGoesWhereTheUserSays(t *testing.T) {
	for _, c := range []struct{ name, to, want string }{
		{"shop:1", "", "shop:1"},
		{"registry.example.com/team/shop:1", "", "team/shop:1"},
		{"registry.example.com/team/shop:1", "far.example.com/in/", "far.example.com/in/team/shop:1"},
		{"here.example.com/prod.example.com/shop:1", "far.example.com/in", "far.example.com/in/prod.example.com/shop:1"},
		{"here.example.com/prod.example.com/shop:1", "", ""},
		{"here.example.com/localhost/shop:1", "", ""},
		{"here.example.com/../../prod/shop:1", "far.example.com/in", ""},
		{"here.example.com/a/../../prod/shop:1", "far.example.com/in", ""},
	} {
		got, err := importOptions{to: c.to}.target(c.name)
		switch {
		case c.want == "" && (err == nil || fault.KindOf(err) != fault.Usage):
			t.Errorf("%s to %q: %s, %v; want a refusal", c.name, c.to, got, err)
		case c.want != "" && (err != nil || got.String() != c.want):
			t.Errorf("%s to %q: %s, %v; want %s", c.name, c.to, got, err, c.want)
		}
	}
}

// TestScanTellsOfGaps: what could not be read must not look as if nothing were wrong with it.
func TestScanTellsOfGaps(t *testing.T) {
	s := report.Scan{Contents: artifact.Contents{
		Platform: "linux/\x1b[2J", Gaps: []artifact.Gap{{Path: "var/lib/dpkg/status", Why: "dpkg: it has too many bytes"}},
	}}
	var table bytes.Buffer
	printScan(&table, s, false)
	text, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	for form, out := range map[string]string{"table": table.String(), "JSON": string(text)} {
		if !strings.Contains(out, "var/lib/dpkg/status") || strings.Contains(out, "\x1b") {
			t.Errorf("the %s is %q", form, out)
		}
	}
}
