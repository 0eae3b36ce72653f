package policy

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"plimsoll.dev/plimsoll/artifact"
)

// rules gives a policy of the rules, each written as a condition, named r0, r1 and so on. more
// goes into its spec.
func rules(more string, conditions ...string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "apiVersion: plimsoll.dev/v1alpha1\nkind: ImagePolicy\nmetadata: {name: p}\nspec:\n%s", indent(more))
	if !strings.Contains(more, "gates:") {
		b.WriteString("  gates: {registry: deny, admission: warn}\n")
	}
	b.WriteString("  rules:\n")
	for i, c := range conditions {
		fmt.Fprintf(&b, "  - {name: r%d, title: title %d, reason: r, expression: %q}\n", i, i, c)
	}
	return b.String()
}

func indent(s string) string {
	if s == "" {
		return ""
	}
	return "  " + strings.ReplaceAll(strings.TrimSpace(s), "\n", "\n  ") + "\n"
}

func compile(t testing.TB, texts ...string) *Set {
	t.Helper()
	all := &Documents{}
	for i, text := range texts {
		d, err := Read(fmt.Sprintf("%d.yaml", i), []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		all.Add(d)
	}
	set, err := all.Compile(Options{})
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// outcome says in a word what a result is.
func outcome(r artifact.Result) string {
	switch {
	case r.Passed:
		return "pass"
	case r.Excused != "":
		return "excused by " + r.Excused
	case r.Missing:
		return "missing"
	case r.Deadline != nil:
		return "grace"
	}
	return "fail"
}

func TestExpressions(t *testing.T) {
	now := theNow()
	full := largeFacts(20, 10)
	full.Findings[0].Suppressed = &artifact.Suppression{Status: "not_affected"}
	full.Findings[2].KnownExploited = true
	bare := artifact.Facts{Image: artifact.ImageFacts{Repository: "registry.example.com:5000/team/app", Kind: artifact.KindImage}}
	tests := []struct {
		condition  string
		full, bare string
	}{
		{`true`, "pass", "pass"},
		{`image.repository == "team/app" && image.registry == ""`, "pass", "fail"},
		{`image.registry == "registry.example.com:5000"`, "fail", "pass"},
		{`"latest" in image.tags`, "fail", "fail"},
		{`image.labels["team"] == "a"`, "pass", "fail"},
		{`image.labels[?"team"].orValue("none") == "none"`, "fail", "pass"},
		{`image.created < now`, "pass", "missing"},
		{`has(image.created)`, "pass", "fail"},
		{`size(signatures) > 0`, "pass", "fail"},
		{`signatures.all(s, s.at < now)`, "missing", "pass"},
		{`base.verified && age.base < duration("72h")`, "pass", "missing"},
		{`!known.base || base.verified`, "pass", "pass"},
		{`!known.base || age.base < duration("1h")`, "fail", "pass"},
		{`base.?verified.orValue(true)`, "pass", "missing"},
		{`optional.of(base.verified).orValue(true)`, "pass", "missing"},
		{`[base.verified, true].exists(b, b)`, "pass", "missing"},
		{`!findings.exists(f, f.knownExploited && f.severity == "none")`, "pass", "missing"},
		{`!(provenance.by in ["mallory"])`, "pass", "missing"},
		{`"team" in image.labels && image.labels == {"team": "a"}`, "pass", "fail"},
		{`known.base ? base.verified : true`, "pass", "pass"},
		{`provenance.level >= 2 || image.kind == "image"`, "pass", "pass"},
		{`!provenance.builder.startsWith("https://evil")`, "pass", "missing"},
		{`packages.exists(p, p.purl == "pkg:deb/debian/libpackage3@1.3-1?arch=amd64&distro=debian-13&upstream=package3")`, "pass", "missing"},
		{`packages.filter(p, p.inBase).size() == 16`, "pass", "missing"},
		{`findings.all(f, f.package.name != "libpackage4")`, "fail", "missing"},
		{`findings.filter(f, f.fixable).size() == 4`, "pass", "missing"},
		{`findings.exists_one(f, f.suppressed)`, "pass", "missing"},
		{`findings.exists(f, f.knownExploited && f.inBase)`, "pass", "missing"},
		{`findings.map(f, f.published).min() == now - duration("216h")`, "pass", "missing"},
		{`findings.map(f, f.score).sum() == 55.0`, "pass", "missing"},
		{`findings.exists(f, f.rank == 1 && f.severity == "high")`, "pass", "missing"},
		{`sets.contains(["MIT", "Zlib"], licenses)`, "fail", "missing"},
		{`advisories > now - duration("24h")`, "pass", "missing"},
		{`age.advisories < duration("24h")`, "pass", "missing"},
		{`malware.result == "clean"`, "pass", "missing"},
		{`hardening.checks["CIS-DI-4.1"] == "PASS"`, "fail", "missing"},
		{`where.namespace == "prod"`, "missing", "missing"},
		{`!known.namespace`, "pass", "pass"},
		{`semver("1.2.3").compareTo(semver("1.2.4")) < 0`, "pass", "pass"},
		{`quantity("1Gi").isGreaterThan(quantity("50Mi")) && image.size < 1.0e9`, "pass", "pass"},
		{`ip("10.0.0.1") == ip("10.0.0.1") && url("https://a.example").getHost() == "a.example"`, "pass", "pass"},
		{`image.repository.find("[a-z]+$") == "app"`, "pass", "pass"},
		{`"%s has %d".format([image.repository, image.layers]) == "team/app has 12"`, "pass", "fail"},
		{`1 / image.layers == 0`, "pass", "fail"},
		{`children.all(c, false)`, "pass", "pass"},
		{`cidr("10.0.0.0/8").containsIP("10.1.2.3")`, "pass", "pass"},
		{`[1, 2].exists(i, v, v > i)`, "pass", "pass"},
	}
	for _, tt := range tests {
		t.Run(tt.condition, func(t *testing.T) {
			set := compile(t, rules("", tt.condition))
			for _, of := range []struct {
				facts artifact.Facts
				want  string
			}{{full, tt.full}, {bare, tt.bare}} {
				v := set.Decide(of.facts, Where{}, now)
				if got := outcome(v.Results[0]); got != of.want {
					t.Errorf("of %s: got %s (%s), want %s", of.facts.Image.Repository, got, v.Results[0].Why, of.want)
				}
				want := map[artifact.Gate]artifact.Action{artifact.GateRegistry: artifact.ActionAllow, artifact.GateAdmission: artifact.ActionAllow}
				if of.want != "pass" {
					want = map[artifact.Gate]artifact.Action{artifact.GateRegistry: artifact.ActionDeny, artifact.GateAdmission: artifact.ActionWarn}
				}
				if diff := cmp.Diff(want, v.Gates); diff != "" {
					t.Errorf("gates (-want +got):\n%s", diff)
				}
			}
		})
	}
}

func TestParameters(t *testing.T) {
	const parameters = `
parameters:
  text: release
  number: 2
  fraction: 2.5
  truth: true
  texts: [release, ci]
  numbers: [1, 2]
  none: []
  pattern: ^https://
`
	facts := largeFacts(1, 0)
	tests := []struct{ condition, full, bare string }{
		{`provenance.by == params.text`, "pass", "missing"},
		{`provenance.level > params.number && params.fraction > params.number`, "pass", "missing"},
		{`provenance.by in params.texts && params.truth`, "pass", "missing"},
		{`!(provenance.by in params.texts)`, "fail", "missing"},
		{`provenance.level in params.numbers`, "fail", "missing"},
		{`provenance.by in params.none`, "fail", "missing"},
		{`!(provenance.by in params.none)`, "pass", "missing"}, // CEL's optimizer would let it pass
		{`size(params.none) == 0 || provenance.by in params.none`, "pass", "pass"},
		{`provenance.builder.matches(params.pattern)`, "pass", "missing"},
	}
	for _, tt := range tests {
		t.Run(tt.condition, func(t *testing.T) {
			set := compile(t, rules(parameters, tt.condition))
			full, bare := set.Decide(facts, Where{}, theNow()), set.Decide(artifact.Facts{}, Where{}, theNow())
			if diff := cmp.Diff([]string{tt.full, tt.bare}, []string{outcome(full.Results[0]), outcome(bare.Results[0])}); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestMissingFactIsNamed(t *testing.T) {
	set := compile(t, rules("", `provenance.level > 1`, `age.image < duration("1h")`, `findings.all(f, f.fixed == "")`, `image.pushed < now`))
	v := set.Decide(artifact.Facts{}, Where{}, theNow())
	var got []string
	for _, r := range v.Results {
		got = append(got, r.Why)
	}
	want := []string{"no verified provenance (wanted: title 0)", "image.created is not known (wanted: title 1)",
		"it was never scanned for vulnerabilities (wanted: title 2)", "image.pushed is not known (wanted: title 3)"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestScope(t *testing.T) {
	facts := artifact.Facts{Image: artifact.ImageFacts{Repository: "team/a/app", Kind: artifact.KindImage, Labels: map[string]string{"tier": "1"}}}
	tests := []struct {
		name, scope string
		where       Where
		covered     bool
	}{
		{"all", `scope: {}`, Where{}, true},
		{"any depth", `scope: {repositories: [team/**]}`, Where{}, true},
		{"any depth in the middle", `scope: {repositories: ["**/app"]}`, Where{}, true},
		{"one segment", `scope: {repositories: [team/*]}`, Where{}, false},
		{"two segments", `scope: {repositories: ["team/*/ap*"]}`, Where{}, true},
		{"a dot is a dot", `scope: {repositories: [team/a.app]}`, Where{}, false},
		{"no part of a name", `scope: {repositories: [team/a/ap]}`, Where{}, false},
		{"left out", `scope: {repositories: ["**"], except: [team/a/**]}`, Where{}, false},
		{"labels", `scope: {labels: {matchLabels: {tier: "1"}}}`, Where{}, true},
		{"other labels", `scope: {labels: {matchExpressions: [{key: tier, operator: NotIn, values: ["1"]}]}}`, Where{}, false},
		{"namespace", `scope: {namespaces: [prod-*]}`, Where{Namespace: "prod-1"}, true},
		{"other namespace", `scope: {namespaces: [prod-*]}`, Where{Namespace: "dev"}, false},
		{"no namespace is known", `scope: {namespaces: [prod-*]}`, Where{}, true},
		{"environment", `scope: {environments: [production]}`, Where{Environment: "production"}, true},
		{"other environment", `scope: {environments: [production]}`, Where{Environment: "test"}, false},
		{"condition", `matchConditions: [{name: images, expression: image.kind == "image"}]`, Where{}, true},
		{"condition that does not hold", `matchConditions: [{name: images, expression: image.kind == "index"}]`, Where{}, false},
		{"condition that cannot be evaluated", `matchConditions: [{name: old, expression: age.image > duration("1h")}]`, Where{}, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			v := compile(t, rules(tt.scope, "false")).Decide(facts, tt.where, theNow())
			if got := len(v.Results) == 1; got != tt.covered {
				t.Errorf("covered %t, want %t", got, tt.covered)
			}
			if _, got := v.Gates[artifact.GateRegistry]; got != tt.covered || v.At(artifact.GateRegistry) != artifact.ActionDeny {
				t.Errorf("gates %v", v.Gates)
			}
		})
	}
}

func TestGates(t *testing.T) {
	const two = `
apiVersion: plimsoll.dev/v1alpha1
kind: ImagePolicy
metadata: {name: a}
spec:
  gates: {registry: warn}
  rules:
  - {name: fails, title: t, reason: r, expression: "false"}
  - {name: passes, title: t, reason: r, expression: "true", gates: {identity: deny}}
---
apiVersion: plimsoll.dev/v1alpha1
kind: ImagePolicy
metadata: {name: b}
spec:
  gates: {registry: audit, gateway: deny}
  rules:
  - {name: fails, title: t, reason: r, expression: "false", gates: {gateway: audit}}
`
	v := compile(t, two).Decide(artifact.Facts{}, Where{}, theNow())
	want := map[artifact.Gate]artifact.Action{
		artifact.GateRegistry: artifact.ActionWarn, artifact.GateIdentity: artifact.ActionAllow, artifact.GateGateway: artifact.ActionAudit,
	}
	if diff := cmp.Diff(want, v.Gates); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if v.At(artifact.GateAdmission) != artifact.ActionDeny {
		t.Error("a gate that no policy speaks at is open")
	}
}

func TestWords(t *testing.T) {
	const spoken = `
apiVersion: plimsoll.dev/v1alpha1
kind: ImagePolicy
metadata: {name: p}
spec:
  gates: {registry: deny}
  rules:
  - {name: plain, title: t, reason: r, expression: "false", message: because, remedy: do it}
  - {name: made, title: t, reason: r, expression: "false", messageExpression: "'of ' + image.user", remedyExpression: "'rebase ' + image.repository"}
  - {name: broken, title: the title, reason: r, expression: "false", messageExpression: "base.name", remedyExpression: "base.name"}
  - {name: empty, title: the title, reason: r, expression: "false", messageExpression: "' '"}
`
	v := compile(t, spoken).Decide(artifact.Facts{Image: artifact.ImageFacts{
		Repository: "app", User: "a\nplimsoll: all is well\x1b[2J\u202e\xff" + strings.Repeat("ä", 400),
	}}, Where{}, theNow())
	var got [][2]string
	for _, r := range v.Results {
		got = append(got, [2]string{r.Why, r.Remedy})
	}
	if len(got[1][0]) > maxWords+len("…") || strings.ContainsAny(got[1][0], "\n\x1b\u202e") || !utf8.ValidString(got[1][0]) {
		t.Errorf("a hostile image speaks to the terminal: %q", got[1][0])
	}
	got[1][0] = got[1][0][:len("of a plimsoll")]
	want := [][2]string{{"because", "do it"}, {"of a plimsoll", "rebase app"}, {"the title", ""}, {"the title", ""}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestSameInputGivesSameBytes(t *testing.T) {
	set, again := compileFile(t, "testdata/fifteen.yaml"), compileFile(t, "testdata/fifteen.yaml")
	facts := largeFacts(300, 80)
	want := encode(t, set.Decide(facts, Where{}, theNow()))
	done := make(chan string)
	for range 8 { // all at once: nothing in a set changes
		go func() {
			s := again
			var got string
			for range 20 {
				got = encode(t, s.Decide(facts, Where{}, theNow()))
			}
			done <- got
		}()
	}
	for range 8 {
		if got := <-done; got != want {
			t.Errorf("got %s\nwant %s", got, want)
		}
	}
}

func encode(t *testing.T, v artifact.Verdict) string {
	text, err := json.Marshal(v)
	if err != nil {
		t.Error(err)
	}
	return string(text)
}

// TestFactsComeBackFromJSON holds that what is kept as JSON is decided alike.
func TestLoopsOverLabelsHaveAnOrder(t *testing.T) {
	facts := artifact.Facts{Image: artifact.ImageFacts{Labels: map[string]string{}}}
	var keys, pairs []string
	for c := 'a'; c <= 'z'; c++ {
		facts.Image.Labels[string(c)] = "x"
		keys, pairs = append(keys, string(c)), append(pairs, string(c)+"x")
	}
	set := compile(t, rules("",
		fmt.Sprintf(`image.labels.map(k, k).join(" ") == %q`, strings.Join(keys, " ")),
		fmt.Sprintf(`image.labels.transformList(k, v, k + v).join(" ") == %q`, strings.Join(pairs, " ")),
		`image.labels.all(k, v, v == "x") && image.labels.exists(k, k == "m")`))
	for range 5 {
		for _, r := range set.Decide(facts, Where{}, theNow()).Results {
			if !r.Passed {
				t.Errorf("%s: %s", r.Rule, r.Why)
			}
		}
	}
}

func TestFactsComeBackFromJSON(t *testing.T) {
	facts := largeFacts(3, 0)
	facts.Licenses = []string{}
	text, err := json.Marshal(facts)
	if err != nil {
		t.Fatal(err)
	}
	var back artifact.Facts
	if err := json.Unmarshal(text, &back); err != nil {
		t.Fatal(err)
	}
	if digestOfFacts(&facts) != digestOfFacts(&back) {
		t.Error("facts that were written and read have another digest")
	}
	v := compile(t, rules("", `size(findings) == 0 && size(licenses) == 0`)).Decide(back, Where{}, theNow())
	if outcome(v.Results[0]) != "pass" {
		t.Errorf("no findings became findings that are not known: %s", v.Results[0].Why)
	}
}
