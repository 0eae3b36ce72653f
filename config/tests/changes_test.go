package tests

import (
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"
)

// testChanges changes what never changes, and names resources as they cannot be named.
func (b *bed) testChanges(t *testing.T) {
	tests := []broken{
		{"Image", `{tag: other:1}`, "spec.tag: it cannot be changed, for what runs names it"},
		{"Image", `{builder: {name: other}}`, ""},
		{"Build", `{number: 2}`, "spec: a Build never changes"},
		{"Build", `{inputs: {source: abc}}`, "spec: a Build never changes"},
		{"DependencyOverride", `{package: other}`, "spec: it is an override of this package"},
		{"DependencyOverride", `{version: 4.18.0}`, ""},
		{"Patch", `{target: {exploited: true}}`, "spec: what a campaign fixes never changes"},
		{"Patch", `{paused: true}`, ""},
	}
	for _, tt := range tests {
		t.Run(tt.kind+" "+tt.spec, func(t *testing.T) {
			made, err := b.apply(t.Context(), least(t, tt.kind))
			if err != nil {
				t.Fatal(problems(err))
			}
			t.Cleanup(func() { b.remove(t, made) })
			var fields map[string]any
			if err := yaml.UnmarshalStrict([]byte(tt.spec), &fields); err != nil {
				t.Fatal(err)
			}
			o := least(t, tt.kind)
			o.Object["spec"] = merged(o.Object["spec"].(map[string]any), fields)
			_, err = b.apply(t.Context(), o)
			switch {
			case tt.says == "" && err != nil:
				t.Error(problems(err))
			case tt.says != "" && err == nil:
				t.Error("it passed")
			case tt.says != "" && !slices.ContainsFunc(problems(err), func(p string) bool { return strings.HasPrefix(p, tt.says) }):
				t.Errorf("want %s\n got %s", tt.says, problems(err))
			}
		})
	}
	for kind, says := range map[string]string{
		"Image":        "<nil>: want a name of at most 52 letters",
		"Patch":        "<nil>: want a name of at most 63 letters",
		"AdvisoryFeed": "<nil>: want a name of at most 63 lower-case letters",
	} {
		t.Run(kind+" with a long name", func(t *testing.T) {
			o := least(t, kind)
			o.SetName(strings.Repeat("a", 64))
			_, err := b.apply(t.Context(), o, client.DryRunAll)
			if err == nil || !strings.HasPrefix(problems(err)[0], says) {
				t.Errorf("want %s, got %v", says, problems(err))
			}
		})
	}
}
