package kpack

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"plimsoll.dev/plimsoll/internal/fault"
)

// TestGolden converts every testdata/NAME.yaml. Beside it stand NAME.golden, the resources, and
// NAME.notes, what is told of it.
func TestGolden(t *testing.T) {
	files, err := filepath.Glob("testdata/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			result, err := Convert([]Input{{Name: filepath.Base(file), Text: text}})
			if err != nil {
				t.Fatal(err)
			}
			var notes strings.Builder
			for _, note := range result.Notes {
				fmt.Fprintln(&notes, note)
			}
			compare(t, file, ".golden", string(bytes.Join(result.Documents, []byte("---\n"))))
			compare(t, file, ".notes", notes.String())
			if strings.Contains(notes.String(), "planted") {
				t.Error("a note tells a secret")
			}
		})
	}
}

func compare(t *testing.T, file, suffix, got string) {
	t.Helper()
	want, err := os.ReadFile(strings.TrimSuffix(file, ".yaml") + suffix)
	if err != nil {
		t.Fatalf("%v; it would be:\n%s", err, got)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s:\n%s", suffix, diff)
	}
}

func TestRefuse(t *testing.T) {
	tests := []struct{ name, text, says string }{
		{"no YAML", "a: b\nc\n", "convert: in.yaml: yaml: line 2: could not find expected ':'"},
		{"no resource", "# comment\n---\na: b\n", "convert: in.yaml: line 3: want a resource: it has no apiVersion and kind"},
		{"no name", "apiVersion: kpack.io/v1alpha2\nkind: Image\n", "convert: in.yaml: line 1: the Image has no metadata.name"},
		{"no fields", "---\n- a\n", "convert: in.yaml: line 2: want fields (apiVersion, kind, spec), got something else"},
		{"a nameless item", "apiVersion: v1\nkind: List\nitems:\n- apiVersion: kpack.io/v1alpha2\n  kind: Image\n", "convert: in.yaml: line 4: the Image has no metadata.name"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Convert([]Input{{Name: "in.yaml", Text: []byte(tt.text)}})
			if err == nil {
				t.Fatal("it passed")
			}
			if got := err.Error(); got != tt.says || fault.KindOf(err) != fault.Usage {
				t.Errorf("want %s\n got %s", tt.says, got)
			}
		})
	}
}
