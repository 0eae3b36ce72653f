package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
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

func TestDoubt(t *testing.T) {
	app := t.TempDir()
	if err := os.WriteFile(filepath.Join(app, "run"), nil, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name, program string
		alone         bool
		want          string // part of the reason; "" means none
	}{
		{"in the source", "./run", true, ""},
		{"not in the source", "bin/run", false, "bin/run is not in the application's folder"},
		{"of another buildpack, or of the image", "harbour", false, ""},
		{"of the image", "harbour", true, "harbour must be a program of the run image"},
		{"of the image, by its path", "/usr/bin/harbour", true, ""},
	} {
		if got := doubt(test.program, app, test.alone); (got == "") != (test.want == "") || !strings.Contains(got, test.want) {
			t.Errorf("%s: got %q, want %q", test.name, got, test.want)
		}
	}
}

func TestAlone(t *testing.T) {
	root := t.TempDir()
	own := filepath.Join(root, "plimsoll_procfile")
	for _, step := range []struct {
		file string
		want bool
	}{{"plimsoll_procfile/environment.toml", true}, {"config/metadata", true}, {"plimsoll_go/launch.toml", false}} {
		path := filepath.Join(root, step.file)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, 0o644); err != nil {
			t.Fatal(err)
		}
		if got := alone(own); got != step.want {
			t.Errorf("with %s: %t", step.file, got)
		}
	}
}
