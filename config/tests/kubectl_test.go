package tests

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	apiextensions "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
)

// testExplain holds that kubectl explain teaches: every field of ours says what it is.
func (b *bed) testExplain(t *testing.T) {
	for _, d := range definitions(t) {
		undescribed(t, d.Spec.Names.Kind, d.Spec.Versions[0].Schema.OpenAPIV3Schema)
	}
	for path, says := range map[string]string{
		"image.spec":                     "ImageSpec says what is built",
		"image.spec.source.git.url":      "Credentials come from a",
		"patch.spec.waves":               "an image is in the first that takes it",
		"baseimage.spec.archive.keyring": "below the folder of parts that the controllers",
	} {
		if got := b.run(t, "explain", path); !strings.Contains(strings.Join(strings.Fields(got), " "), says) {
			t.Errorf("explain %s: want %q in\n%s", path, says, got)
		}
	}
	if got := b.run(t, "explain", "--recursive", "image.spec"); strings.Count(got, "\n") < 60 {
		t.Errorf("explain --recursive is short:\n%s", got)
	}
}

// undescribed fails for fields without a description. Kubernetes' own types below ours, which are
// described there, count too.
func undescribed(t *testing.T, path string, s *apiextensions.JSONSchemaProps) {
	t.Helper()
	for name, below := range s.Properties {
		at := path + "." + name
		if below.Description == "" && !strings.HasSuffix(at, ".metadata") && strings.Count(at, ".") > 1 {
			t.Errorf("%s has no description", at)
		}
		undescribed(t, at, &below)
	}
	if s.Items != nil && s.Items.Schema != nil {
		undescribed(t, path+"[]", s.Items.Schema)
	}
}

// age is what differs from run to run in a table.
var age = regexp.MustCompile(`\b\d+s +`)

// ageless gives the table with the width that it had.
func ageless(table string) string {
	return age.ReplaceAllStringFunc(table, func(s string) string { return fmt.Sprintf("%-*s", len(s), "~") })
}

// testColumns shows every kind as kubectl get -o wide does: testdata/columns.golden.
func (b *bed) testColumns(t *testing.T) {
	var out strings.Builder
	for _, d := range definitions(t) {
		kind := d.Spec.Names.Kind
		o, err := b.apply(t.Context(), most(t, kind))
		if err != nil {
			t.Fatal(problems(err))
		}
		t.Cleanup(func() { b.remove(t, o) })
		if status := statusOf(t, kind); status != nil {
			o.Object["status"] = status
			if err := b.client.Status().Update(t.Context(), o); err != nil {
				t.Fatalf("%s: %v", kind, problems(err))
			}
		}
		out.WriteString(ageless(b.run(t, "get", d.Spec.Names.Plural+".plimsoll.dev", "-n", "team", "-o", "wide")))
		out.WriteString("\n")
	}
	golden(t, "columns.golden", out.String())
	// All of them at once, by the category, and the short names.
	all := b.run(t, "get", "plimsoll", "-A", "-o", "name")
	for _, d := range definitions(t) {
		if !strings.Contains(all, d.Spec.Names.Singular+".plimsoll.dev/most") {
			t.Errorf("kubectl get plimsoll lacks %s:\n%s", d.Spec.Names.Kind, all)
		}
	}
	if got := b.run(t, "get", "img", "-n", "team", "--field-selector", "spec.builder.name=builder", "-o", "name"); got != "image.plimsoll.dev/most\n" {
		t.Errorf("want the Image by its builder, got %q", got)
	}
	if got := b.run(t, "get", "builds.plimsoll.dev", "-n", "team", "--field-selector", "status.phase=Failed", "-o", "name"); got != "" {
		t.Errorf("want no Build that failed, got %q", got)
	}
}

// statusOf reads a status from testdata/status.yaml, where they stand by kind.
func statusOf(t *testing.T, kind string) any {
	t.Helper()
	return sample(t, "status", kind).Object["spec"]
}
