package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/buildpacks/libcnb"
	"github.com/google/go-cmp/cmp"
)

// built builds the Procfile's text in an application with the files.
func built(t *testing.T, text string, files ...string) (result libcnb.BuildResult, app, layers string, err error) {
	t.Helper()
	app, layers = t.TempDir(), t.TempDir()
	for _, name := range files {
		path := filepath.Join(app, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	result, err = builder{}.Build(libcnb.BuildContext{
		Application: libcnb.Application{Path: app}, Layers: libcnb.Layers{Path: layers},
		Plan: libcnb.BuildpackPlan{Entries: []libcnb.BuildpackPlanEntry{{Name: planned, Metadata: map[string]any{"text": text}}}},
	})
	return result, app, layers, err
}

func TestBuild(t *testing.T) {
	t.Setenv("CNB_TARGET_ARCH", "")
	for _, test := range []struct {
		name, text string
		want       []libcnb.Process // LAYER for the layer
		layers     int
	}{
		{"plain", "web: harbour 'a b'\nworker: run", []libcnb.Process{
			{Type: "web", Command: "harbour", Arguments: []string{"a b"}, Default: true}, {Type: "worker", Command: "run", Arguments: []string{}},
		}, 0},
		{"an environment", "worker: A=1 run", []libcnb.Process{{Type: "worker", Command: "run", Arguments: []string{}, Default: true}}, 1},
		{"a variable", "web: harbour -p $PORT", []libcnb.Process{{Type: "web", Command: "LAYER/expand", Arguments: []string{"harbour -p $PORT"}, Default: true}}, 1},
	} {
		result, _, layers, err := built(t, test.text)
		if err != nil {
			t.Errorf("%s: %v", test.name, err)
			continue
		}
		for i := range test.want {
			test.want[i].Direct = true
			if test.want[i].Command == "LAYER/expand" {
				test.want[i].Command = filepath.Join(layers, "environment/expand")
				if info, err := os.Stat(test.want[i].Command); err != nil || info.Mode() != fs.FileMode(0o755) {
					t.Errorf("%s: the program: %v, %v", test.name, info, err)
				}
			}
		}
		if diff := cmp.Diff(test.want, result.Processes); diff != "" {
			t.Errorf("%s: %s", test.name, diff)
		}
		if len(result.Layers) != test.layers {
			t.Errorf("%s: %d layers", test.name, len(result.Layers))
		}
	}
}
