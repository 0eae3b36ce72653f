package policy

import (
	"encoding/json"
	"testing"
	"time"

	"plimsoll.dev/plimsoll/artifact"
)

func TestFirst(t *testing.T) {
	d, err := Load("testdata/first.yaml")
	if err != nil {
		t.Fatal(err)
	}
	s, err := d.Compile(Options{})
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)
	f := artifact.Facts{Image: artifact.ImageFacts{Repository: "app", Digest: "sha256:1"}, Findings: []artifact.Finding{{ID: "CVE-1", Severity: "high", Fixed: "2", Published: now.Add(-48 * time.Hour)}}}
	out, _ := json.MarshalIndent(s.Decide(f, Where{}, now), "", " ")
	t.Logf("%s", out)
}
