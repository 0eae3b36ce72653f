package policy

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"plimsoll.dev/plimsoll/internal/fault"
)

const head = "apiVersion: plimsoll.dev/v1alpha1\nkind: ImagePolicy\nmetadata: {name: p}\n"

func TestWrongPolicyIsAnErrorWithItsPlace(t *testing.T) {
	rule := func(rest string) string {
		return head + "spec:\n  gates: {registry: deny}\n  rules:\n  - name: a\n    title: t\n    reason: r\n" + rest
	}
	exception := func(spec string) string {
		return "apiVersion: plimsoll.dev/v1alpha1\nkind: PolicyException\nmetadata: {name: e}\nspec: {" + spec + "}\n"
	}
	const all = "owner: a, reason: r, expires: 2027-01-01T00:00:00Z, rules: [p/a], scope: {repositories: [x]}"
	tests := []struct {
		name, text, want string
	}{
		{"not YAML", "a: [", "read policies: f.yaml: yaml: line 1: did not find expected node content"},
		{"another kind", "kind: Pod\n", `read policies: f.yaml: line 1: kind: want ImagePolicy or PolicyException, got "Pod"`},
		{"another kind in the second document", rule("    expression: 'true'\n") + "---\n# a comment\nkind: Pod\n", `read policies: f.yaml: line 13: kind: want ImagePolicy or PolicyException, got "Pod"`},
		{"unknown field", rule("    expression: 'true'\n    exprssion: 'true'\n"), "read policies: f.yaml: line 11: spec.rules[0].exprssion: unknown field"},
		{"wrong type", head + "spec: {rules: {}}\n", "read policies: f.yaml: line 4: spec.rules: want a list, got fields"},
		{"no rules", head + "spec: {gates: {registry: deny}}\n", "compile policies: f.yaml:4:7: p: rules: want at least one"},
		{"no name", strings.Replace(rule("    expression: 'true'\n"), "{name: p}", "{}", 1), `compile policies: f.yaml:3:11: metadata.name: want lower-case letters, digits, dots and dashes, got ""`},
		{"no gate", strings.Replace(rule("    expression: 'true'\n"), "{registry: deny}", "{}", 1), "compile policies: f.yaml:7:5: p/a: rules[0]: neither it nor the policy names a gate: it would do nothing"},
		{"no action", strings.Replace(rule("    expression: 'true'\n"), "deny", "block", 1), `compile policies: f.yaml:5:21: p: gates.registry: want deny, warn or audit, got "block" (and 1 more)`},
		{"plain", rule("    expression: size(imagee.tags) > 0\n"), "compile policies: f.yaml:10:22: p/a: rules[0].expression: undeclared reference to 'imagee'"},
		{"plain over two lines", rule("    expression: size(image.tags) > 0 &&\n      imagee.size > 0\n"), "compile policies: f.yaml:11:7: p/a: rules[0].expression: undeclared reference to 'imagee'"},
		{"single-quoted", rule("    expression: 'image.user == ''a'' && imagee'\n"), "compile policies: f.yaml:10:41: p/a: rules[0].expression: undeclared reference to 'imagee'"},
		{"double-quoted", rule("    expression: \"image.user == \\\"a\\\" &&\\n imagee\"\n"), "compile policies: f.yaml:10:43: p/a: rules[0].expression: undeclared reference to 'imagee'"},
		{"literal", rule("    expression: |\n      image.user == 'ä' &&\n\n        imagee.size > 0\n"), "compile policies: f.yaml:13:9: p/a: rules[0].expression: undeclared reference to 'imagee'"},
		{"folded", rule("    expression: >-\n      image.user == 'a' &&\n      imagee.size > 0\n"), "compile policies: f.yaml:12:7: p/a: rules[0].expression: undeclared reference to 'imagee'"},
		{"flow", head + "spec: {gates: {registry: deny}, rules: [{name: a, title: t, reason: r, expression: 'true && imagee'}]}\n", "compile policies: f.yaml:4:93: p/a: rules[0].expression: undeclared reference to 'imagee'"},
		{"in a later document", rule("    expression: 'true'\n") + "---\n" + strings.Replace(rule("    expression: 'imagee'\n"), "name: p", "name: q", 1), "compile policies: f.yaml:21:18: q/a: rules[0].expression: undeclared reference to 'imagee'"},
		{"an unknown field of a fact", rule("    expression: image.tag == 'a'\n"), "compile policies: f.yaml:10:22: p/a: rules[0].expression: undefined field 'tag'"},
		{"syntax", rule("    expression: image.size >\n"), "compile policies: f.yaml:10:17: p/a: rules[0].expression: Syntax error: mismatched input '<EOF>' expecting"},
		{"no truth", rule("    expression: image.size\n"), "compile policies: f.yaml:10:17: p/a: rules[0].expression: want bool, got int"},
		{"no time", rule("    expression: 'true'\n    grace: {period: 7d, since: image.size}\n"), "compile policies: f.yaml:11:32: p/a: rules[0].grace.since: want timestamp, got int"},
		{"grace without end", rule("    expression: 'true'\n    grace: {period: 7d, since: now}\n"), "compile policies: f.yaml:11:32: p/a: rules[0].grace.since: it depends on the time of the verdict, so the grace would never end"},
		{"grace of no time", rule("    expression: 'true'\n    grace: {period: soon, since: image.created}\n"), `compile policies: f.yaml:11:21: p/a: rules[0].grace.period: want a time such as 7d or 36h, got "soon"`},
		{"unknown parameter", rule("    expression: params.x\n"), "compile policies: f.yaml:10:17: p/a: rules[0].expression: there is no such name below params"},
		{"parameter of another type", strings.Replace(rule("    expression: params.x > 'a'\n"), "  rules:", "  parameters: {x: 1}\n  rules:", 1), "compile policies: f.yaml:11:26: p/a: rules[0].expression: found no matching overload for '_>_' applied to '(int, string)'"},
		{"parameter of no type", strings.Replace(rule("    expression: 'true'\n"), "  rules:", "  parameters: {x: {y: 1}}\n  rules:", 1), "compile policies: f.yaml:6:19: p: parameters.x: want text, a number, true or false, or a list of these"},
		{"parameter of two types", strings.Replace(rule("    expression: 'true'\n"), "  rules:", "  parameters: {x: [1, a]}\n  rules:", 1), "compile policies: f.yaml:6:19: p: parameters.x: want a list whose entries are of one kind"},
		{"variable of a later one", strings.Replace(rule("    expression: 'true'\n"), "  rules:", "  variables: [{name: a, expression: variables.b}, {name: b, expression: '1'}]\n  rules:", 1), "compile policies: f.yaml:6:37: p: variables[0].expression: there is no such name below variables"},
		{"bad pattern", strings.Replace(rule("    expression: 'true'\n"), "  rules:", "  scope: {repositories: [a//b]}\n  rules:", 1), `compile policies: f.yaml:6:26: p: scope.repositories[0]: want a pattern such as team/*/app or team/**, got "a//b"`},
		{"two messages", rule("    expression: 'true'\n    message: a\n    messageExpression: \"'b'\"\n"), "compile policies: f.yaml:12:24: p/a: rules[0].messageExpression: there is a plain text, too: want one of them"},
		{"the same twice", rule("    expression: 'true'\n") + "---\n" + rule("    expression: 'true'\n"), "compile policies: f.yaml:14:18: p: metadata.name: there is another ImagePolicy p"},
		{"hidden fact", rule("    expression: signatures.exists(image, image.by == 'a')\n"), "compile policies: f.yaml:10:34: p/a: rules[0].expression: the loop's variable image hides the fact of that name"},
		{"bad regex", rule("    expression: image.user.matches('(')\n"), "compile policies: f.yaml:10:36: p/a: rules[0].expression: invalid matches argument"},
		{"bad regex of a parameter", strings.Replace(rule("    expression: image.user.matches(params.x)\n"), "  rules:", "  parameters: {x: '('}\n  rules:", 1), "compile policies: f.yaml:11:17: p/a: rules[0].expression: error parsing regexp: missing closing ): `(`"},
		{"loop without order", rule("    expression: '{1: 2}.map(k, k)[0] == 1'\n"), "compile policies: f.yaml:10:28: p/a: rules[0].expression: a map has no order, unless it is a fact's: want a list to loop over"},
		{"in nothing", rule("    expression: (image.user in []) == false\n"), "compile policies: f.yaml:10:29: p/a: rules[0].expression: nothing is in an empty list"},
		{"regex from the image", rule("    expression: image.user.matches(image.digest)\n"), "compile policies: f.yaml:10:35: p/a: rules[0].expression: want a pattern that is written out, or a parameter"},
		{"whole facts", rule("    expression: findings.exists(f, packages.exists(p, f.package == p))\n"), "compile policies: f.yaml:10:65: p/a: rules[0].expression: want a field of it, such as name, instead of all of it"},
		{"made facts", rule("    expression: 'Base{name: \"a\"}.verified'\n"), "compile policies: f.yaml:10:22: p/a: rules[0].expression: facts cannot be made, only read"},
		{"dyn", rule("    expression: dyn(image.size) == 'a'\n"), "compile policies: f.yaml:10:20: p/a: rules[0].expression: dyn() hides a type from the checker"},
		{"exception without end", exception("owner: a, reason: r, rules: [p/a], scope: {repositories: [x]}"), "compile policies: f.yaml:4:7: e: expires: want the time it ends, such as 2027-01-31T00:00:00Z: no exception is for ever"},
		{"exception without reason", exception(strings.Replace(all, "reason: r", "reason: ' '", 1)), "compile policies: f.yaml:4:26: e: reason: say why"},
		{"exception without owner", exception(strings.Replace(all, "owner: a, ", "", 1)), "compile policies: f.yaml:4:7: e: owner: say who answers for it"},
		{"exception for everything", exception(strings.Replace(all, "{repositories: [x]}", "{}", 1)), "compile policies: f.yaml:4:81: e: scope: say for which images: repositories, labels, namespaces, environments, or digests"},
		{"exception of a rule", exception(strings.Replace(all, "p/a", "p", 1)), `compile policies: f.yaml:4:68: e: rules[0]: want POLICY/RULE, got "p"`},
		{"exception with a wrong match", exception(all + ", match: 'imagee'"), "compile policies: f.yaml:4:110: e: match: undeclared reference to 'imagee'"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d, err := Read("f.yaml", []byte(tt.text))
			if err == nil {
				_, err = d.Compile(Options{})
			}
			if err == nil {
				t.Fatal("no error")
			}
			if !strings.HasPrefix(err.Error(), tt.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("got  %s\nwant %s", err, tt.want)
			}
			if fault.KindOf(err) != fault.Usage || fault.HintOf(err) == "" && !strings.Contains(err.Error(), "larger") {
				t.Errorf("kind %v, hint %q", fault.KindOf(err), fault.HintOf(err))
			}
		})
	}
}

func TestCompileWithoutFilesNamesThePolicy(t *testing.T) {
	d, err := Read("f.yaml", []byte(rules("", "nothing")))
	if err != nil {
		t.Fatal(err)
	}
	_, err = Compile(d.Policies, nil, Options{})
	if want := "compile policies: ImagePolicy: p/r0: rules[0].expression:1:1: undeclared reference to 'nothing'"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestDocumentsOfNoFileAreNotTakenForOthers(t *testing.T) {
	read := func(file, name, condition string) *Documents {
		d, err := Read(file, []byte(strings.Replace(rules("", condition), "name: p", "name: "+name, 1)))
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	for _, tt := range []struct{ inFile, inNone, want string }{
		{"true", "wrong", "compile policies: ImagePolicy: none/r0: "},
		{"wrong", "true", "compile policies: f.yaml:7:56: file/r0: "},
	} {
		all := &Documents{Policies: read("f.yaml", "none", tt.inNone).Policies}
		all.Add(read("f.yaml", "file", tt.inFile))
		if _, err := all.Compile(Options{}); err == nil || !strings.HasPrefix(err.Error(), tt.want) {
			t.Errorf("got %v, want %s", err, tt.want)
		}
	}
}

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"b.yaml": rules("", "true"), "a.yml": strings.Replace(rules("", "true"), "name: p", "name: first", 1) + "---\n" + exceptionOf("e", "scope: {repositories: [a]}"),
		"notes.txt": "nothing", "c.yaml": "# only a comment\n---\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "more.yaml"), 0o700); err != nil {
		t.Fatal(err)
	}
	d, err := Load(dir, "testdata/first.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, p := range d.Policies {
		got = append(got, p.Name)
	}
	if diff := cmp.Diff([]string{"first", "p", "first"}, got); diff != "" || len(d.Exceptions) != 1 {
		t.Errorf("%d exceptions, policies (-want +got):\n%s", len(d.Exceptions), diff)
	}
	if _, err := Load(filepath.Join(dir, "none")); fault.KindOf(err) != fault.Usage {
		t.Errorf("a folder that is not there: %v", err)
	}
}
