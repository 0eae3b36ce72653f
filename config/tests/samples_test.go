package tests

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

// least gives a resource of the kind with nothing in it that can be left out.
func least(t *testing.T, kind string) *unstructured.Unstructured {
	t.Helper()
	return sample(t, "least", kind)
}

// most gives a resource of the kind with all fields.
func most(t *testing.T, kind string) *unstructured.Unstructured {
	t.Helper()
	return sample(t, "most", kind)
}

// sample reads one from testdata/NAME.yaml, where they stand by kind.
func sample(t *testing.T, name, kind string) *unstructured.Unstructured {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", name+".yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var specs map[string]any
	if err := yaml.UnmarshalStrict(text, &specs); err != nil {
		t.Fatal(err)
	}
	if specs[kind] == nil {
		t.Fatalf("testdata/%s.yaml has no %s", name, kind)
	}
	o := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "plimsoll.dev/v1alpha1", "kind": kind,
		"metadata": map[string]any{"name": name}, "spec": specs[kind],
	}}
	if kind == "Image" || kind == "Build" {
		o.SetNamespace("team")
	}
	return o
}

// merged gives a with the fields of b in it; null takes one out.
func merged(a, b map[string]any) map[string]any {
	out := map[string]any{}
	for name, v := range a {
		out[name] = v
	}
	for name, v := range b {
		was, isMap := out[name].(map[string]any)
		is, willBe := v.(map[string]any)
		switch {
		case v == nil:
			delete(out, name)
		case isMap && willBe:
			out[name] = merged(was, is)
		default:
			out[name] = v
		}
	}
	return out
}

// missing names the first thing in want that got lacks, or has otherwise; "" where there is none.
func missing(want, got any, at string) string {
	switch want := want.(type) {
	case map[string]any:
		got, _ := got.(map[string]any)
		for name, v := range want {
			if found := missing(v, got[name], at+"."+name); found != "" {
				return found
			}
		}
		return ""
	case []any:
		got, _ := got.([]any)
		if len(got) != len(want) {
			return at
		}
		for i, v := range want {
			if found := missing(v, got[i], fmt.Sprintf("%s[%d]", at, i)); found != "" {
				return found
			}
		}
		return ""
	}
	if fmt.Sprint(want) != fmt.Sprint(got) {
		return fmt.Sprintf("%s: %v became %v", at, want, got)
	}
	return ""
}

func yamlOf(t *testing.T, v any) string {
	t.Helper()
	text, err := yaml.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// golden compares with testdata/FILE.
func golden(t *testing.T, file, got string) {
	t.Helper()
	want, err := os.ReadFile(filepath.Join("testdata", file))
	if err != nil {
		t.Fatalf("%v; it would be:\n%s", err, got)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s:\n%s", file, diff)
	}
}
