package cases

import (
	"errors"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/policy"
)

func TestTable(t *testing.T) {
	policies, err := policy.Load("testdata/policies.yaml")
	if err != nil {
		t.Fatal(err)
	}
	table, err := Load("testdata/team.yaml")
	if err != nil {
		t.Fatal(err)
	}
	results, err := Run(policies, table)
	if err != nil {
		t.Fatal(err)
	}
	if len(results) != 7 {
		t.Errorf("%d results, want one for each row", len(results))
	}
	for _, r := range results {
		if !r.Passed || r.File != "testdata/team.yaml" {
			t.Errorf("%s: %s: %q", r.File, r.Name, r.Problems)
		}
	}
}

func TestRowThatDoesNotHoldSaysWhy(t *testing.T) {
	policies, err := policy.Load("testdata/policies.yaml")
	if err != nil {
		t.Fatal(err)
	}
	table, err := Read("t.yaml", []byte(`
now: 2026-11-23T00:00:00Z
cases:
- name: a
  facts: {image: {repository: team/app}, signatures: []}
  want: {registry: allow, admission: warn, rules: {team/signed: pass, team/patched: missing, team/nosuch: pass}}
`), none)
	if err != nil {
		t.Fatal(err)
	}
	results, err := Run(policies, table)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"registry: want allow, got deny",
		"team/nosuch: want pass, got absent",
		"team/signed: want pass, got fail: It is signed",
	}
	if diff := cmp.Diff(want, results[0].Problems); diff != "" || results[0].Passed {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// TestDocumentedTables runs the tables of the documents by the policies that stand there.
func TestDocumentedTables(t *testing.T) {
	fence := regexp.MustCompile("(?s)```yaml\n(.*?)```")
	for _, file := range []string{"../../../docs/policy.md", "../../../docs/adding-a-policy.md"} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		policies, table := &policy.Documents{}, []Case(nil)
		for _, example := range fence.FindAllStringSubmatch(string(text), -1) {
			if strings.HasPrefix(example[1], "apiVersion:") {
				d, err := policy.Read(file, []byte(example[1]))
				if err != nil {
					t.Fatal(err)
				}
				policies.Add(d)
				continue
			}
			some, err := Read(file, []byte(example[1]), none)
			if err != nil {
				t.Fatal(err)
			}
			table = append(table, some...)
		}
		results, err := Run(policies, table)
		if err != nil || len(results) < 3 {
			t.Fatalf("%s: %d cases, %v", file, len(results), err)
		}
		for _, r := range results {
			if !r.Passed {
				t.Errorf("%s: %s: %q", file, r.Name, r.Problems)
			}
		}
	}
}

func TestWrongTable(t *testing.T) {
	tests := []struct {
		name, text, want string
	}{
		{"no rows", "now: 2026-11-23T00:00:00Z\n", "read policy tests: t.yaml: line 1: cases: want at least one, at most 10000"},
		{"unknown field", "cases:\n- name: a\n  wants: {}\n", "read policy tests: t.yaml: line 3: cases[0].wants: unknown field"},
		{"unknown fact", "now: 2026-11-23T00:00:00Z\ncases:\n- name: a\n  facts: {image: {tag: x}}\n  want: {registry: deny}\n", `read policy tests: t.yaml: line 4: cases[0].facts: unknown field "image.tag"`},
		{"no name", "cases:\n- want: {registry: deny}\n", "read policy tests: t.yaml: line 2: cases[0].name: say what it shows"},
		{"no time", "cases:\n- name: a\n  want: {registry: deny}\n", "read policy tests: t.yaml: line 2: cases[0].now: want the time of the verdict here, or once for all rows"},
		{"nothing is wanted", "cases:\n- name: a\n  now: 2026-11-23T00:00:00Z\n", "read policy tests: t.yaml: line 2: cases[0].want: a row that wants nothing cannot fail"},
		{"no action", "cases:\n- name: a\n  now: 2026-11-23T00:00:00Z\n  want: {registry: block}\n", `read policy tests: t.yaml: line 4: cases[0].want.registry: want allow, audit, warn or deny, got "block"`},
		{"no outcome", "cases:\n- name: a\n  now: 2026-11-23T00:00:00Z\n  want: {rules: {a/b: ok}}\n", `read policy tests: t.yaml: line 4: cases[0].want.rules.a/b: want pass, fail, grace, missing, excused or absent, got "ok"`},
		{"a file that is not there", "cases:\n- name: a\n  now: 2026-11-23T00:00:00Z\n  factsFrom: x.yaml\n  want: {registry: deny}\n", "read policy tests: t.yaml: line 2: cases[0].facts: factsFrom: there is no x.yaml"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Read("t.yaml", []byte(tt.text), none)
			if err == nil || err.Error() != tt.want || fault.KindOf(err) != fault.Usage {
				t.Errorf("got  %v\nwant %s", err, tt.want)
			}
		})
	}
}

func TestWrongExceptionOfARow(t *testing.T) {
	table, err := Read("t.yaml", []byte("cases:\n- name: a\n  now: 2026-11-23T00:00:00Z\n  exceptions: [{metadata: {name: e}}]\n  want: {registry: deny}\n"), none)
	if err != nil {
		t.Fatal(err)
	}
	_, err = Run(&policy.Documents{}, table)
	if fault.KindOf(err) != fault.Usage || !strings.Contains(err.Error(), `case "a": compile policies: PolicyException: e: owner: say who answers for it`) {
		t.Errorf("got %v", err)
	}
}

func none(path string) ([]byte, error) { return nil, errors.New("there is no " + path) }

func FuzzRead(f *testing.F) {
	f.Add([]byte("now: 2026-11-23T00:00:00Z\ncases:\n- name: a\n  facts: {image: {repository: team/app}, signatures: [], findings: null}\n  want: {registry: deny, rules: {a/b: pass}}\n"))
	f.Add([]byte("cases: [{name: a, now: 2026-11-23T00:00:00Z, exceptions: [{metadata: {name: e}, spec: {owner: a}}], want: {gateway: warn}}]"))
	f.Fuzz(func(t *testing.T, text []byte) {
		table, err := Read("t.yaml", text, none)
		if err != nil {
			return
		}
		if _, err := Run(&policy.Documents{}, table); err != nil && fault.KindOf(err) != fault.Usage {
			t.Error(err)
		}
	})
}
