package tests

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestGenerated holds that what is generated is what the types say.
func TestGenerated(t *testing.T) {
	dir := t.TempDir()
	for _, generator := range [][]string{
		{"object", "output:object:dir=" + dir},
		{"crd:maxDescLen=4096", "output:crd:dir=" + dir},
	} {
		cmd := exec.CommandContext(t.Context(), "go", append([]string{"tool", "controller-gen", "paths=."}, generator...)...)
		cmd.Dir = "../../api/v1alpha1"
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	files := map[string]string{"zz_generated.deepcopy.go": "../../api/v1alpha1"}
	for _, d := range definitions(t) {
		files["plimsoll.dev_"+d.Spec.Names.Plural+".yaml"] = "../crd"
	}
	files["plimsoll.dev_registries.yaml"] = "" // a file of a home, no resource
	made, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range made {
		committed, known := files[file.Name()]
		if !known {
			t.Errorf("%s is new: run go generate ./api/...", file.Name())
		}
		if committed == "" {
			continue
		}
		want, err := os.ReadFile(filepath.Join(dir, file.Name()))
		if err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(filepath.Join(committed, file.Name()))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), string(got)); diff != "" {
			t.Errorf("%s is stale: run go generate ./api/...\n%s", file.Name(), diff)
		}
	}
	if len(made) != len(files) {
		t.Errorf("want %d files, got %d", len(files), len(made))
	}
}
