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
	in := func(d time.Duration) *time.Time { at := now.Add(d); return &at }
	facts := artifact.Facts{
		Image: artifact.ImageFacts{Created: now.Add(-time.Hour), Pushed: now.Add(time.Hour)}, Findings: []artifact.Finding{{Published: now}},
	}
	tests := []struct {
		name string
		text string
		want *time.Time
	}{
		{"of facts alone", rules("", `size(signatures) == 0`), nil},
		{"of an age", rules("", `age.image < duration("3h")`), in(2 * time.Hour)},
		{"of an age on the right", rules("", `duration("3h") >= age.image`), in(2 * time.Hour)},
		{"of an age that is just enough", rules("", `age.image <= duration("1h")`), in(1)},
		{"of an age that is long past", rules("", `age.image < duration("1m")`), nil},
		{"of an age that is not known", rules("", `age.base < duration("3h")`), nil},
		{"of an age of what is to come", rules("", `age.pushed < duration("3h")`), in(55 * time.Minute)},
		{"of an age and a parameter", rules("parameters: {oldest: 2h}", `age.image < duration(params.oldest)`), in(time.Hour)},
		{"of two ages", rules("", `age.image < duration("5h") && age.image < duration("3h")`), in(2 * time.Hour)},
		{"of the time", rules("", `now < timestamp("2026-11-23T14:00:00Z")`), in(2 * time.Hour)},
		{"of the time and a fact", rules("", `now > image.created + duration("4h")`), in(3 * time.Hour)},
		{"of a time that is past", rules("", `now > timestamp("2020-01-01T00:00:00Z")`), nil},
		{"of the time in a loop", rules("", `findings.all(f, now < f.published + duration("4h"))`), in(time.Minute)},
		{"of an age that is computed with", rules("", `age.image + age.image < duration("9h")`), in(time.Minute)},
		{"of the hour", rules("", `now.getHours() < 20`), in(time.Minute)},
		{"of a variable that is of the time", rules("variables: [{name: a, expression: now}, {name: b, expression: variables.a}]", `variables.b > image.created`), in(time.Minute)},
		{"of a variable that compares", rules("variables: [{name: a, expression: 'age.image < duration(\"3h\")'}]", `variables.a`), in(2 * time.Hour)},
		{"of a variable that its words read first", "apiVersion: plimsoll.dev/v1alpha1\nkind: ImagePolicy\nmetadata: {name: p}\nspec:\n  gates: {registry: deny}\n" +
			"  variables: [{name: a, expression: 'age.image < duration(\"3h\")'}]\n  rules:\n" +
			"  - {name: a, title: t, reason: r, expression: 'false', messageExpression: 'string(variables.a)'}\n" +
			"  - {name: b, title: t, reason: r, expression: variables.a}\n", in(2 * time.Hour)},
		{"of a condition", rules(`matchConditions: [{name: a, expression: now > timestamp("2026-11-23T14:00:00Z")}]`, `true`), in(2 * time.Hour)},
		{"of a variable that nobody reads", rules("variables: [{name: a, expression: now}]", `true`), nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, compile(t, tt.text).Decide(facts, Where{}, now).Until); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

// TestVerdictStandsUntilItsEnd goes through a month in steps, and holds that nothing changes
// before a verdict says so.
func TestVerdictStandsUntilItsEnd(t *testing.T) {
	start := theNow()
	set := compile(t, rules("",
		`age.image < duration("100h") || age.pushed > duration("200h")`, `duration("150h") <= age.image`, `!(age.advisories > duration("48h"))`,
		`now >= timestamp("2026-12-01T00:00:00Z") && now < timestamp("2026-12-10T00:30:00Z")`, `now.getHours() < 12`,
		`age.base < duration("1h")`, `findings.all(f, f.published + duration("300h") > now)`),
		exceptionOf("e", "scope: {repositories: ['**']}\nrules: [p/r1]\nexpires: 2026-11-25T00:00:00Z\nmatch: age.image > duration('20h')"))
	subject := Prepare(artifact.Facts{
		Image:      artifact.ImageFacts{Repository: "app", Created: start.Add(-time.Hour), Pushed: start.Add(20 * time.Hour)},
		Base:       &artifact.BaseFacts{Created: start.Add(100 * time.Hour)},
		Advisories: start.Add(30 * time.Hour), Findings: []artifact.Finding{{Published: start}, {Published: start.Add(time.Hour)}},
	})
	standing, changes := set.DecideOn(subject, Where{}, start), 0
	for at := start; at.Before(start.AddDate(0, 1, 0)); at = at.Add(7 * time.Minute) {
		next := set.DecideOn(subject, Where{}, at)
		diff := cmp.Diff(outcomes(standing), outcomes(next))
		if diff != "" && (standing.Until == nil || at.Before(*standing.Until)) {
			t.Fatalf("of %s, to stand until %v, and at %s (-then +now):\n%s", standing.Decided, standing.Until, at, diff)
		}
		if diff != "" {
			changes++
		}
		if diff != "" || standing.Until != nil && !at.Before(*standing.Until) {
			standing = next
		}
	}
	if changes < 10 {
		t.Errorf("only %d changes", changes)
	}
}

func outcomes(v artifact.Verdict) []string {
	var all []string
	for _, r := range v.Results {
		all = append(all, r.Rule+": "+outcome(r))
	}
	return all
}

func TestTimesAreWrittenAlikeEverywhere(t *testing.T) {
	zone := time.FixedZone("elsewhere", 3600)
	set := compile(t, rules("", "false"), exceptionOf("e", "scope: {repositories: ['**']}\nexpires: 2027-01-01T00:00:00+01:00"))
	v := set.Decide(artifact.Facts{Image: artifact.ImageFacts{Repository: "app"}}, Where{}, theNow().In(zone))
	for _, at := range []time.Time{v.Decided, *v.Until, v.Exceptions[0].Expires} {
		if at.Location() != time.UTC {
			t.Errorf("%s is not written in UTC", at)
		}
	}
}

func TestTimeThatIsToComeIsNoAge(t *testing.T) {
	now := theNow()
	set := compile(t, rules("", `age.image < duration("1h")`, `age.advisories < duration("1h")`))
	v := set.Decide(artifact.Facts{Image: artifact.ImageFacts{Created: now.AddDate(10, 0, 0)}, Advisories: now.Add(time.Minute)}, Where{}, now)
	got := []string{outcome(v.Results[0]), v.Results[0].Why, outcome(v.Results[1])}
	if diff := cmp.Diff([]string{"missing", "image.created lies in the future (wanted: title 0)", "pass"}, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}
