package policy

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/cel-go/cel"

	"plimsoll.dev/plimsoll/artifact"
)

const document = "../../docs/policy.md"

// TestDocumentedVocabulary holds the tables of docs/policy.md to those that expressions are
// checked and evaluated by.
func TestDocumentedVocabulary(t *testing.T) {
	text, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	var tables []string
	tables = append(tables, table("variable", allVariables, func(v variable) (string, *cel.Type, string) { return v.name, v.typ, v.doc }))
	for _, o := range objects() {
		tables = append(tables, fmt.Sprintf("### %s\n\n%s\n", o.name, sentence(o.doc))+
			"\n"+table("field", o.fields, func(f field) (string, *cel.Type, string) { return f.name, f.typ, f.doc }))
	}
	for _, want := range tables {
		if !strings.Contains(string(text), want) {
			t.Errorf("%s should have:\n%s", document, want)
		}
	}
}

func table[T any](of string, rows []T, row func(T) (string, *cel.Type, string)) string {
	var b strings.Builder
	fmt.Fprintf(&b, "| %s | type | what it is |\n| --- | --- | --- |\n", of)
	for _, r := range rows {
		name, typ, doc := row(r)
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", name, cel.FormatCELType(typ), doc)
	}
	return b.String()
}

func sentence(s string) string { return strings.ToUpper(s[:1]) + s[1:] + "." }

// fence matches the examples of a document.
var fence = regexp.MustCompile("(?s)```(yaml|cel)\n(.*?)```")

// TestDocumentedExamplesCompile compiles the policies and exceptions of the documents, and
// each line of their expressions.
func TestDocumentedExamplesCompile(t *testing.T) {
	policies, expressions := 0, 0
	for _, file := range []string{document, "../../docs/adding-a-policy.md"} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, example := range fence.FindAllStringSubmatch(string(text), -1) {
			if example[1] == "yaml" {
				if !strings.HasPrefix(example[2], "apiVersion:") {
					continue // a table of tests, which the package cases holds
				}
				policies++
				compile(t, example[2])
				continue
			}
			for line := range strings.Lines(example[2]) {
				if line = strings.TrimSpace(line); line == "" || strings.HasPrefix(line, "//") {
					continue
				}
				expressions++
				set := compile(t, rules("", line))
				set.Decide(artifact.Facts{}, Where{}, theNow())
			}
		}
	}
	if policies < 3 || expressions < 10 {
		t.Errorf("%d policies and %d expressions: has the form of examples changed?", policies, expressions)
	}
}

// TestDocumentedFunctions holds that each function that the document names is there.
func TestDocumentedFunctions(t *testing.T) {
	text, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	_, section, found := strings.Cut(string(text), "\n## Functions\n")
	section, _, _ = strings.Cut(section, "\n## ")
	names := regexp.MustCompile("`([a-zA-Z.]+)\\(").FindAllStringSubmatch(section, -1)
	if !found || len(names) < 20 {
		t.Fatalf("only %d functions", len(names))
	}
	functions := dialect().Functions()
	macros := []string{"has", "all", "exists", "exists_one", "map", "filter", "transformList", "transformMap"}
	for _, name := range names {
		if functions[name[1]] == nil && !slices.Contains(macros, name[1]) {
			t.Errorf("%s names %s, which is no function", document, name[1])
		}
	}
}
