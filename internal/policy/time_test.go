package policy

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"plimsoll.dev/plimsoll/artifact"
)

func TestGrace(t *testing.T) {
	const graceful = `
apiVersion: plimsoll.dev/v1alpha1
kind: ImagePolicy
metadata: {name: p}
spec:
  gates: {registry: deny, admission: audit}
  rules:
  - name: patched
    title: t
    reason: r
    expression: findings.all(f, !f.fixable)
    grace: {period: 7d, since: "findings.filter(f, f.fixable).map(f, f.published).min()"}
`
	set := compile(t, graceful)
	published := theNow()
	facts := artifact.Facts{Findings: []artifact.Finding{
		{ID: "CVE-1", Fixed: "2", Published: published.Add(time.Hour)}, {ID: "CVE-2", Fixed: "2", Published: published}, {ID: "CVE-3", Published: published.AddDate(-1, 0, 0)},
	}}
	deadline := published.AddDate(0, 0, 7)
	tests := []struct {
		name     string
		now      time.Time
		want     artifact.Action
		deadline *time.Time
	}{
		{"at once", published, artifact.ActionWarn, &deadline},
		{"shortly before", deadline.Add(-time.Nanosecond), artifact.ActionWarn, &deadline},
		{"then", deadline, artifact.ActionDeny, nil},
		{"later", deadline.AddDate(1, 0, 0), artifact.ActionDeny, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			v := set.Decide(facts, Where{}, tt.now)
			want := map[artifact.Gate]artifact.Action{artifact.GateRegistry: tt.want, artifact.GateAdmission: artifact.ActionAudit}
			if diff := cmp.Diff(want, v.Gates); diff != "" {
				t.Errorf("gates (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff([]*time.Time{tt.deadline, tt.deadline}, []*time.Time{v.Results[0].Deadline, v.Until}); diff != "" {
				t.Errorf("deadline and until (-want +got):\n%s", diff)
			}
		})
	}
	t.Run("nobody knows since when", func(t *testing.T) {
		facts := artifact.Facts{Findings: []artifact.Finding{{ID: "CVE-1", Fixed: "2"}}}
		if v := set.Decide(facts, Where{}, published); v.At(artifact.GateRegistry) != artifact.ActionDeny || v.Until != nil {
			t.Errorf("got %v until %v, want a denial for ever", v.Gates, v.Until)
		}
	})
}

func TestUntil(t *testing.T) {
	now := theNow()
	soon := now.Add(time.Minute)
	tests := []struct {
		name string
		text string
		want *time.Time
	}{
		{"of facts alone", rules("", `size(signatures) == 0`), nil},
		{"of the time", rules("", `now > timestamp("2020-01-01T00:00:00Z")`), &soon},
		{"of an age", rules("", `age.image < duration("1h")`), &soon},
		{"of a variable that is of the time", rules("variables: [{name: a, expression: now}, {name: b, expression: variables.a}]", `variables.b > now`), &soon},
		{"of a condition", rules(`matchConditions: [{name: a, expression: now > timestamp("2020-01-01T00:00:00Z")}]`, `true`), &soon},
		{"of a variable that nobody reads", rules("variables: [{name: a, expression: now}]", `true`), nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, compile(t, tt.text).Decide(artifact.Facts{}, Where{}, now).Until); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestTimeThatIsToComeIsNoAge(t *testing.T) {
	now := theNow()
	set := compile(t, rules("", `age.image < duration("1h")`, `age.advisories < duration("1h")`))
	v := set.Decide(artifact.Facts{Image: artifact.ImageFacts{Created: now.AddDate(10, 0, 0)}, Advisories: now.Add(time.Minute)}, Where{}, now)
	got := []string{outcome(v.Results[0]), v.Results[0].Why, outcome(v.Results[1])}
	if diff := cmp.Diff([]string{"missing", "image.created lies in the future: title 0", "pass"}, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}
