package policy

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"plimsoll.dev/plimsoll/artifact"
)

// TestHugePolicyIsAnError holds that what could keep a gate busy is refused when it is written.
func TestHugePolicyIsAnError(t *testing.T) {
	long := strings.Repeat("true && ", maxExpression/8) + "true"
	many := make([]string, maxRules+1)
	for i := range many {
		many[i] = "true"
	}
	tests := []struct {
		name, text, want string
	}{
		{"long", rules("", long), "expression code point size exceeds limit"},
		{"deep", rules("", strings.Repeat("(", 500)+"true"+strings.Repeat(")", 500)), "expression recursion limit exceeded"},
		{"four loops", rules("", `packages.all(a, packages.all(b, packages.all(c, packages.all(d, a.name != d.name))))`), "more than 3 loops in one another"},
		{"a costly step", rules("", `image.labels["a"].contains(image.annotations["b"])`), "more than the 200000000 that an expression may"},
		{"many rules", rules("", many...), fmt.Sprintf("there are %d rules, more than %d", len(many), maxRules)},
		{"a long pattern", rules("", `image.user.matches("`+strings.Repeat("a", maxPattern+1)+`")`), "want a pattern of at most 1024 bytes"},
		{"a pattern that repeats", rules("", `image.user.matches("((a{100}){100}){100}")`), "invalid matches argument"},
		{"a wide format", rules("", `"%.999999999f".format([1.0]) == ""`), "want a format that is written out"},
		{"a format of the image's", rules("", `image.user.format([1.0]) == ""`), "want a format that is written out"},
		{"lists of lists", rules("variables: [{name: a, expression: 'packages.map(p, p.paths)'}]", `variables.a == variables.a`), "lists of lists can be looped over"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			start := time.Now()
			d, err := Read("f.yaml", []byte(tt.text))
			if err == nil {
				_, err = d.Compile(Options{})
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %s", err, tt.want)
			}
			if took := time.Since(start); took > time.Minute {
				t.Errorf("it took %s", took)
			}
		})
	}
	if _, err := Read("f.yaml", make([]byte, maxFile+1)); err == nil {
		t.Error("a huge file is read")
	}
	if _, err := Read("f.yaml", []byte(strings.Repeat("a: b\n---\n", maxDocuments+1))); err == nil {
		t.Error("a file of very many documents is read")
	}
}

// TestLoopingPolicyIsADenial holds that what costs too much when it runs does not pass, and
// that the rules after it are asked all the same.
func TestLoopingPolicyIsADenial(t *testing.T) {
	doubling := "variables:\n- {name: v0, expression: '[image.repository]'}\n"
	texts := "variables:\n- {name: v0, expression: image.repository}\n"
	for i := 1; i < maxVariables; i++ {
		doubling += fmt.Sprintf("- {name: v%d, expression: 'variables.v%d + variables.v%d'}\n", i, i-1, i-1)
		texts += fmt.Sprintf("- {name: v%d, expression: 'variables.v%d + variables.v%d'}\n", i, i-1, i-1)
	}
	tests := []struct {
		name, text, why string
	}{
		{"two long loops", rules("", `packages.all(a, packages.all(b, a.name + b.name != ""))`, "true"), "it costs more than a rule may (wanted: title 0)"},
		{"lists that double", rules(doubling, `size(variables.v63) == 0`, "true"), "an expression makes a value that is too large (wanted: title 0)"},
		{"texts that double", rules(texts, `size(variables.v63) == 0`, "true"), "an expression makes a value that is too large (wanted: title 0)"},
		{"texts that multiply", rules("variables: [{name: a, expression: 'image.labels[\"long\"].replace(\"\", image.labels[\"long\"])'}]",
			`variables.a.replace("", variables.a) == ""`, "true"), "an expression makes a value that is too large (wanted: title 0)"},
		{"texts that multiply in a list", rules("", `[image.labels["long"]].map(x, x.replace("", x))[0] == ""`, "true"), "an expression makes a value that is too large (wanted: title 0)"},
		{"texts that are joined", rules("", `packages.map(p, image.labels["long"]).join("") == ""`, "true"), "an expression makes a value that is too large (wanted: title 0)"},
		{"a text that is too long", rules("", `image.user == ""`, "true"), "image.user is longer than 1024 bytes (wanted: title 0)"},
		{"a list that is too long", rules("", `size(image.tags) > 0`, "true"), "image.tags has more than 1000 entries (wanted: title 0)"},
	}
	facts := largeFacts(2000, 0)
	facts.Image.Labels["long"] = strings.Repeat("x", 60_000)
	facts.Image.User = strings.Repeat("x", maxText+1)
	facts.Image.Tags = make([]string, maxList+1)
	subject := Prepare(facts)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			set := compile(t, tt.text)
			start := time.Now()
			v := set.DecideOn(subject, Where{}, theNow())
			if took := time.Since(start); took > time.Minute {
				t.Errorf("it took %s", took)
			}
			if v.At(artifact.GateRegistry) != artifact.ActionDeny || v.Results[0].Why != tt.why || v.Results[0].Missing || !v.Results[1].Passed {
				t.Errorf("got %+v, want %s", v.Results, tt.why)
			}
		})
	}
}

// TestVerdictHasALimit holds that many rules, each within its own, do not cost without end.
func TestVerdictHasALimit(t *testing.T) {
	var conditions []string
	for range 6 {
		conditions = append(conditions, `packages.all(a, packages.all(b, a.name + b.name != ""))`)
	}
	set := compile(t, rules("", conditions...))
	start := time.Now()
	v := set.Decide(largeFacts(700, 0), Where{}, theNow())
	if took := time.Since(start); took > time.Minute {
		t.Errorf("it took %s", took)
	}
	first, last := v.Results[0], v.Results[len(v.Results)-1]
	if !first.Passed || last.Passed || last.Why != "the policies cost more than a verdict may (wanted: title 5)" {
		t.Errorf("first %+v, last %+v", first, last)
	}
}

func TestVeryManyPackagesAreNoPass(t *testing.T) {
	facts := artifact.Facts{Packages: make([]artifact.Package, maxMany+1)}
	v := compile(t, rules("", `packages.all(p, p.name == "")`)).Decide(facts, Where{}, theNow())
	if want := "there are more than 20000 packages (wanted: title 0)"; v.Results[0].Passed || v.Results[0].Why != want {
		t.Errorf("got %+v, want %s", v.Results[0], want)
	}
	facts.Packages = facts.Packages[:maxMany]
	if v := compile(t, rules("", `packages.all(p, p.name == "")`)).Decide(facts, Where{}, theNow()); !v.Results[0].Passed {
		t.Errorf("as many as are allowed: %s", v.Results[0].Why)
	}
}
