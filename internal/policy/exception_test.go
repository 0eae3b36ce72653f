package policy

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"plimsoll.dev/plimsoll/artifact"
)

// exceptionOf gives a PolicyException that ends in 2027; more goes into its spec.
func exceptionOf(name, more string) string {
	text := fmt.Sprintf("apiVersion: plimsoll.dev/v1alpha1\nkind: PolicyException\nmetadata: {name: %s}\nspec:\n  owner: ann\n  reason: because\n%s", name, indent(more))
	if !strings.Contains(more, "expires:") {
		text += "  expires: 2027-01-01T00:00:00Z\n"
	}
	if !strings.Contains(more, "rules:") {
		text += "  rules: [p/r0]\n"
	}
	return text
}

func TestException(t *testing.T) {
	now := theNow()
	digest := "sha256:" + strings.Repeat("a", 64)
	facts := artifact.Facts{Image: artifact.ImageFacts{Repository: "team/app", Digest: digest, Kind: artifact.KindImage, Labels: map[string]string{"a": "b"}}}
	tests := []struct {
		name, spec string
		where      Where
		want       string
	}{
		{"by repository", "scope: {repositories: [team/*]}", Where{}, "excused by e"},
		{"of another repository", "scope: {repositories: [other/*]}", Where{}, "fail"},
		{"by digest", "digests: [" + digest + "]", Where{}, "excused by e"},
		{"of another digest", "digests: [sha256:" + strings.Repeat("b", 64) + "]", Where{}, "fail"},
		{"of another digest in the scope", "digests: [sha256:" + strings.Repeat("b", 64) + "]\nscope: {repositories: ['**']}", Where{}, "fail"},
		{"by labels", "scope: {labels: {matchLabels: {a: b}}}", Where{}, "excused by e"},
		{"by any name", "scope: {repositories: ['**']}\nrules: ['*/*']", Where{}, "excused by e"},
		{"by a part of a name", "scope: {repositories: ['**']}\nrules: ['p/r*']", Where{}, "excused by e"},
		{"of another rule", "scope: {repositories: ['**']}\nrules: [p/r1]", Where{}, "fail"},
		{"of another policy", "scope: {repositories: ['**']}\nrules: [q/r0]", Where{}, "fail"},
		{"that has ended", "scope: {repositories: ['**']}\nexpires: 2026-11-23T12:00:00Z", Where{}, "fail"},
		{"that is about to end", "scope: {repositories: ['**']}\nexpires: 2026-11-23T12:00:01Z", Where{}, "excused by e"},
		{"that matches", "scope: {repositories: ['**']}\nmatch: image.kind == 'image'", Where{}, "excused by e"},
		{"that does not match", "scope: {repositories: ['**']}\nmatch: image.kind == 'index'", Where{}, "fail"},
		{"whose match cannot be evaluated", "scope: {repositories: ['**']}\nmatch: base.verified", Where{}, "fail"},
		{"by namespace", "scope: {namespaces: [dev]}", Where{Namespace: "dev"}, "excused by e"},
		{"by a namespace that nobody knows", "scope: {namespaces: [dev]}", Where{}, "fail"},
		{"by an environment that nobody knows", "scope: {environments: [test]}", Where{}, "fail"},
		{"of findings that the image does not have", "scope: {repositories: ['**']}\nfindings: [CVE-1]", Where{}, "fail"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			v := compile(t, rules("", `size(signatures) > 0`), exceptionOf("e", tt.spec)).Decide(facts, tt.where, now)
			if got := outcome(v.Results[0]); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
			used := tt.want != "fail"
			if got := v.At(artifact.GateRegistry) == artifact.ActionAllow; got != used {
				t.Errorf("the gate is open: %t, want %t", got, used)
			}
			if got := len(v.Exceptions) == 1 && v.Exceptions[0].Rules[0] == "p/r0" && v.Until != nil && v.Until.Equal(v.Exceptions[0].Expires); got != used {
				t.Errorf("in use: %+v until %v, want %t", v.Exceptions, v.Until, used)
			}
		})
	}
}

func TestExceptionForFindings(t *testing.T) {
	now := theNow()
	finding := func(id, alias string, days int) artifact.Finding {
		return artifact.Finding{ID: id, Aliases: []string{alias}, Fixed: "2", Published: now.AddDate(0, 0, -days)}
	}
	const graceful = `
apiVersion: plimsoll.dev/v1alpha1
kind: ImagePolicy
metadata: {name: p}
spec:
  gates: {registry: deny}
  rules:
  - name: r0
    title: t
    reason: r
    expression: findings.all(f, !f.fixable)
    messageExpression: findings.map(f, f.id).join(" ")
    grace: {period: 7d, since: "findings.map(f, f.published).min()"}
`
	everywhere := "scope: {repositories: ['**']}\n"
	one, two := finding("CVE-1", "GHSA-1", 10), finding("CVE-2", "GHSA-2", 1)
	tests := []struct {
		name       string
		findings   []artifact.Finding
		exceptions []string
		want, why  string
		inUse      []string
	}{
		{"none", []artifact.Finding{one}, nil, "fail", "CVE-1", nil},
		{"all of them", []artifact.Finding{one}, []string{exceptionOf("e", everywhere+"findings: [CVE-1]")}, "excused by e", "CVE-1", []string{"e"}},
		{"by alias", []artifact.Finding{one}, []string{exceptionOf("e", everywhere+"findings: [GHSA-1]")}, "excused by e", "CVE-1", []string{"e"}},
		{"one of two, and the other has time", []artifact.Finding{one, two}, []string{exceptionOf("e", everywhere+"findings: [CVE-1]")}, "grace", "CVE-2", []string{"e"}},
		{"the one that has time", []artifact.Finding{one, two}, []string{exceptionOf("e", everywhere+"findings: [CVE-2]")}, "fail", "CVE-1", []string{"e"}},
		{"two exceptions together", []artifact.Finding{one, two}, []string{
			exceptionOf("e", everywhere+"findings: [CVE-1]"), exceptionOf("f", everywhere+"findings: [CVE-2]"),
		}, "excused by e, f", "CVE-1 CVE-2", []string{"e", "f"}},
		{"one of two is enough", []artifact.Finding{one}, []string{
			exceptionOf("e", everywhere+"findings: [CVE-1]"), exceptionOf("f", everywhere+"findings: [CVE-1, CVE-2]"),
		}, "excused by e", "CVE-1", []string{"e"}},
		{"others", []artifact.Finding{one}, []string{exceptionOf("e", everywhere+"findings: [CVE-3]")}, "fail", "CVE-1", nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			v := compile(t, append([]string{graceful}, tt.exceptions...)...).Decide(artifact.Facts{Image: artifact.ImageFacts{Repository: "app"}, Findings: tt.findings}, Where{}, now)
			var inUse []string
			for _, e := range v.Exceptions {
				inUse = append(inUse, e.Name)
			}
			got := []string{outcome(v.Results[0]), v.Results[0].Why}
			if diff := cmp.Diff([]string{tt.want, tt.why}, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			if diff := cmp.Diff(tt.inUse, inUse); diff != "" {
				t.Errorf("exceptions (-want +got):\n%s", diff)
			}
		})
	}
	t.Run("do not stand for facts", func(t *testing.T) {
		v := compile(t, graceful, exceptionOf("e", everywhere+"findings: [CVE-1]")).Decide(artifact.Facts{Image: artifact.ImageFacts{Repository: "app"}}, Where{}, now)
		if outcome(v.Results[0]) != "missing" {
			t.Errorf("got %s", outcome(v.Results[0]))
		}
	})
}

func TestVerdictEndsWithTheFirstException(t *testing.T) {
	v := compile(t, rules("", "false", "false"),
		exceptionOf("late", "scope: {repositories: ['**']}\nrules: [p/r0]\nexpires: 2027-06-01T00:00:00Z"),
		exceptionOf("early", "scope: {repositories: ['**']}\nrules: [p/r1]\nexpires: 2027-02-01T00:00:00Z"),
	).Decide(artifact.Facts{Image: artifact.ImageFacts{Repository: "app"}}, Where{}, theNow())
	want := time.Date(2027, 2, 1, 0, 0, 0, 0, time.UTC)
	if v.Until == nil || !v.Until.Equal(want) {
		t.Errorf("until %v, want %v", v.Until, want)
	}
}
