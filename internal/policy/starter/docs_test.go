package starter_test

import (
	"cmp"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"plimsoll.dev/plimsoll/api/v1alpha1"
	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/policy/cases"
	"plimsoll.dev/plimsoll/internal/policy/starter"
)

var update = flag.Bool("update", false, "write the tables of docs/policies/starter.md")

// controls are those that rules may name, by framework: what the frameworks themselves call them.
func controls() map[string]map[string]string {
	return map[string]map[string]string{
		"slsa": { // v1.1, "Producing artifacts" and "Verifying artifacts"
			"Build L1: Provenance Exists":                              "",
			"Build L2: Provenance is Authentic":                        "",
			"Verifying artifacts, step 2: canonical source repository": "",
		},
		"nist-800-190": { // SP 800-190, section 4
			"4.1.1": "image vulnerabilities",
			"4.1.2": "image configuration defects",
			"4.1.3": "embedded malware",
			"4.1.4": "embedded clear text secrets",
			"4.1.5": "use of untrusted images",
			"4.2.2": "stale images in registries",
		},
		"cis": { // Docker Benchmark 1.6, section 4
			"4.1":  "a user for the container has been created",
			"4.2":  "containers use only trusted base images",
			"4.3":  "unnecessary packages are not installed in the container",
			"4.4":  "images are scanned and rebuilt to include security patches",
			"4.5":  "content trust is enabled",
			"4.8":  "setuid and setgid permissions are removed",
			"4.10": "secrets are not stored in Dockerfiles",
			"4.12": "all signed artifacts are validated",
		},
	}
}

// TestDocument holds the tables of the document to the files.
func TestDocument(t *testing.T) {
	const path = "../../../docs/policies/starter.md"
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	text := string(data)
	for name, table := range map[string]string{"rules": rulesTable(), "remedies": remediesTable(t), "profiles": profilesTable(), "controls": controlsTable(t), "legend": legend()} {
		begin, end := "<!-- "+name+" -->\n", "<!-- end of "+name+" -->\n"
		before, rest, ok := strings.Cut(text, begin)
		got, after, closed := strings.Cut(rest, end)
		if !ok || !closed {
			t.Errorf("there is no place for the table of %s", name)
			continue
		}
		if got != table && !*update {
			t.Errorf("the table of %s is not what the files say: run the test with -update", name)
		}
		text = before + begin + table + end + after
	}
	if *update && text != string(data) {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func rulesTable() string {
	var b strings.Builder
	b.WriteString("| rule | wants | because | of |\n| --- | --- | --- | --- |\n")
	for _, r := range starter.Rules() {
		var kinds []string
		for _, kind := range r.Kinds {
			kinds = append(kinds, string(kind))
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", r.Name, r.Title, r.Reason, strings.Join(kinds, ", "))
	}
	return b.String()
}

// remediesTable tells what is printed of the first image of the tests that fails each rule.
func remediesTable(t *testing.T) string {
	printed := map[string]artifact.Result{}
	var table []cases.Case
	for _, profile := range slices.Backward(starter.Profiles()) {
		var err error
		if table, err = cases.Load(filepath.Join("testdata", profile.Name+".yaml")); err != nil {
			t.Fatal(err)
		}
		results, err := cases.Run(documents(t, profile.Name), table)
		if err != nil {
			t.Fatal(err)
		}
		for _, result := range results {
			for _, r := range result.Verdict.Results {
				if _, seen := printed[r.Rule]; !seen && !r.Passed && !r.Missing {
					printed[r.Rule] = r
				}
			}
		}
	}
	image := table[0].Facts.Image
	shorten := strings.NewReplacer(image.Repository+"@"+image.Digest, "REF", image.Repository+":"+image.Tags[0], "REF", table[0].Facts.Base.Digest, "sha256:…")
	var b strings.Builder
	b.WriteString("| rule | says, for instance | and what to do |\n| --- | --- | --- |\n")
	for _, r := range starter.Rules() {
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", r.Name, printed[r.Name].Why, shorten.Replace("`"+printed[r.Name].Remedy+"`"))
	}
	return shorten.Replace(b.String())
}

func profilesTable() string {
	var b strings.Builder
	head, line := "| rule |", "| --- |"
	for _, p := range starter.Profiles() {
		head, line = head+" `"+p.Name+"` |", line+" --- |"
	}
	b.WriteString(head + "\n" + line + "\n")
	for _, r := range starter.Rules() {
		fmt.Fprintf(&b, "| `%s` |", r.Name)
		for _, p := range starter.Profiles() {
			fmt.Fprint(&b, cell(membership(p, r)))
		}
		b.WriteString("\n")
	}
	return b.String()
}

// cell gives the rest of a cell of a table, and its end.
func cell(text string) string { return strings.TrimSuffix(" "+text, " ") + " |" }

// membership says what a rule does in a profile: "deny after 7d", "warn; admission, identity: audit".
func membership(p starter.Profile, r starter.Rule) string {
	i := slices.IndexFunc(p.Rules, func(c starter.Choice) bool { return c.Name == r.Name })
	if i < 0 {
		return ""
	}
	own := p.Rules[i].Gates
	or := func(a, b v1alpha1.PolicyAction) string { return string(cmp.Or(a, b)) }
	first := or(own.Registry, p.Gates.Registry)
	var others []string
	for _, at := range []struct{ gate, action string }{
		{"admission", or(own.Admission, p.Gates.Admission)}, {"identity", or(own.Identity, p.Gates.Identity)}, {"gateway", or(own.Gateway, p.Gates.Gateway)},
	} {
		if at.action != "" && at.action != first {
			others = append(others, at.action+" at "+at.gate)
		}
	}
	if grace := cmp.Or(p.Rules[i].Grace, r.Grace.Period); grace != "" && first == "deny" {
		first += " after " + grace
	}
	return strings.Join(append([]string{first}, others...), ", ")
}

func controlsTable(t *testing.T) string {
	known := controls()
	var b strings.Builder
	b.WriteString("| rule | SLSA v1.1 | NIST SP 800-190 | CIS Docker Benchmark |\n| --- | --- | --- | --- |\n")
	for _, r := range starter.Rules() {
		fmt.Fprintf(&b, "| `%s` |", r.Name)
		for _, framework := range []string{"slsa", "nist-800-190", "cis"} {
			for _, control := range r.Controls[framework] {
				if _, ok := known[framework][control]; !ok {
					t.Errorf("%s answers %s %q, which nobody has looked up", r.Name, framework, control)
				}
			}
			fmt.Fprint(&b, cell(strings.Join(r.Controls[framework], "; ")))
		}
		for framework := range r.Controls {
			if known[framework] == nil {
				t.Errorf("%s answers an unknown framework %s", r.Name, framework)
			}
		}
		b.WriteString("\n")
	}
	return b.String()
}

// legend says what the frameworks' numbers stand for.
func legend() string {
	var b strings.Builder
	b.WriteString("| | |\n| --- | --- |\n")
	for _, framework := range []struct{ id, name string }{{"nist-800-190", "NIST SP 800-190"}, {"cis", "CIS Docker Benchmark"}} {
		titles := controls()[framework.id]
		for _, number := range slices.SortedFunc(maps.Keys(titles), byNumber) {
			fmt.Fprintf(&b, "| %s %s | %s |\n", framework.name, number, titles[number])
		}
	}
	return b.String()
}

// byNumber sorts 4.2 before 4.10.
func byNumber(a, b string) int {
	if len(a) != len(b) {
		return len(a) - len(b)
	}
	return strings.Compare(a, b)
}
