package tests

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"plimsoll.dev/plimsoll/internal/policy/starter"
)

// testFiles applies what the repository shows people: examples, what documents show, the starter
// set, and what plimsoll convert makes of kpack's resources.
func (b *bed) testFiles(t *testing.T) {
	for _, pattern := range []string{
		"examples/bases/*.yaml", "examples/builders/*.yaml", "examples/control-plane/*.yaml", "examples/self/*.yaml",
		"internal/kpack/testdata/*.golden", "internal/policy/testdata/f*.yaml",
	} {
		for _, file := range filesOf(t, pattern) {
			b.isResource(t, file, read(t, file))
		}
	}
	for _, profile := range starter.Profiles() {
		text, err := starter.Policies(profile.Name)
		if err != nil {
			t.Fatal(err)
		}
		b.isResource(t, "the starter set's "+profile.Name, text)
	}
	shown := 0
	for _, file := range append(filesOf(t, "docs/*.md"), filesOf(t, "docs/*/*.md")...) {
		for _, block := range fence.FindAllSubmatch(read(t, file), -1) {
			if isOurs(block[1]) {
				b.isResource(t, file, block[1])
				shown++
			}
		}
	}
	if shown < 5 {
		t.Errorf("want the resources that documents show, found %d", shown)
	}
}

// fence is a block of YAML in a document.
var fence = regexp.MustCompile("(?ms)^```yaml\n(.*?)^```")

// isOurs says whether a block shows whole resources that a cluster takes.
func isOurs(text []byte) bool {
	for _, document := range documents(text) {
		var head struct {
			APIVersion, Kind string
			Spec             map[string]any
		}
		if yaml.Unmarshal(document, &head) != nil || head.APIVersion != "plimsoll.dev/v1alpha1" || head.Kind == "Registry" || head.Spec == nil {
			return false
		}
	}
	return true
}

func filesOf(t *testing.T, pattern string) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join("../..", pattern))
	if err != nil || len(found) == 0 {
		t.Fatalf("%s: there is no such file (%v)", pattern, err)
	}
	return found
}

func read(t *testing.T, file string) []byte {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func documents(text []byte) [][]byte {
	return bytes.Split(bytes.TrimPrefix(text, []byte("---\n")), []byte("\n---\n"))
}

// isResource applies each document of the text, without a trace.
func (b *bed) isResource(t *testing.T, name string, text []byte) {
	t.Helper()
	// The demonstration puts its own in the place of this.
	text = bytes.ReplaceAll(text, []byte("REPOSITORY"), []byte("https://git.example.com/apps.git"))
	// In a cluster parts lie below a folder of their own: docs/resources.md.
	text = bytes.ReplaceAll(text, []byte("path: ../../bin/"), []byte("path: "))
	for _, document := range documents(text) {
		o := object(t, string(document))
		if o.GetKind() == "Image" || o.GetKind() == "Build" {
			o.SetNamespace("team") // the one that is there
		}
		if _, err := b.apply(t.Context(), o, client.DryRunAll); err != nil {
			t.Errorf("%s: %s %s: %s", name, o.GetKind(), o.GetName(), strings.Join(problems(err), "\n\t"))
		}
	}
}
