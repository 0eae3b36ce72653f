package kpack

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"sigs.k8s.io/yaml"

	"plimsoll.dev/plimsoll/internal/fault"
)

// FuzzConvert feeds any text: nothing panics, errors are faults, and what comes out is YAML that is
// not kpack's any more and converts to itself.
func FuzzConvert(f *testing.F) {
	files, err := filepath.Glob("testdata/*.yaml")
	if err != nil || len(files) == 0 {
		f.Fatal(files, err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Add([]byte(leastImage))
	f.Add([]byte("apiVersion: v1\nkind: List\nitems: [1, null, {}]\n"))
	f.Add([]byte("apiVersion: kpack.io/v1alpha2\nkind: Image\nmetadata: {name: a}\nspec: &a {source: *a}\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		result, err := Convert([]Input{{Name: "in.yaml", Text: text}})
		if err != nil {
			var known *fault.Error
			if !errors.As(err, &known) || known.Kind != fault.Usage {
				t.Fatalf("want a fault of kind Usage, got %v", err)
			}
			return
		}
		for _, document := range result.Documents {
			var plain map[string]any
			if err := yaml.Unmarshal(document, &plain); err != nil {
				t.Fatalf("%v:\n%s", err, document)
			}
			again, err := Convert([]Input{{Name: "again.yaml", Text: document}})
			if err != nil {
				t.Fatalf("%v:\n%s", err, document)
			}
			if n := len(again.Documents); n != 1 || string(again.Documents[0]) != string(document) {
				t.Fatalf("want it unchanged, got %d documents of\n%s", n, document)
			}
		}
		for _, note := range result.Notes {
			if note.Line < 1 || note.Text == "" {
				t.Fatalf("bad note %+v", note)
			}
		}
	})
}
