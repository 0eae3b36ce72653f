package main

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/buildpacks/libcnb"
	"github.com/google/go-cmp/cmp"
)

// built builds an application of the files and gives the folders of the application and of
// the layers.
func built(t *testing.T, files ...string) (app, layers string, result libcnb.BuildResult) {
	t.Helper()
	app, layers = t.TempDir(), t.TempDir()
	for _, name := range files {
		path := filepath.Join(app, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(name), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	result, err := builder{}.Build(libcnb.BuildContext{Application: libcnb.Application{Path: app}, Layers: libcnb.Layers{Path: layers}})
	if err != nil {
		t.Fatal(err)
	}
	return app, layers, result
}

// left gives the names in a folder.
func left(t *testing.T, folder string) []string {
	t.Helper()
	entries, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, entry := range entries {
		names = append(names, entry.Name())
	}
	return names
}

func TestBuild(t *testing.T) {
	t.Setenv("CNB_TARGET_ARCH", "")
	app, layers, result := built(t, "public/index.html", "README.md", "Procfile")
	if diff := cmp.Diff([]string{"Procfile", "public"}, left(t, app)); diff != "" {
		t.Errorf("left of the application: %s", diff)
	}
	if diff := cmp.Diff([]string{"exec.d", "lighttpd.conf"}, left(t, filepath.Join(layers, "server"))); diff != "" {
		t.Errorf("in the layer: %s", diff)
	}
	want := []libcnb.Process{{
		Type: "web", Command: "lighttpd", Arguments: []string{"-D", "-f", filepath.Join(layers, "server", "lighttpd.conf")}, Direct: true, Default: true,
	}}
	if diff := cmp.Diff(want, result.Processes); diff != "" {
		t.Error(diff)
	}
	if _, err := os.Stat(filepath.Join(layers, "server.sbom.cdx.json")); err != nil {
		t.Error(err)
	}
}

// TestBuildForAnotherMachine proves that no program of this machine gets into its image.
func TestBuildForAnotherMachine(t *testing.T) {
	other := map[string]string{"amd64": "arm64", "arm64": "amd64"}[runtime.GOARCH]
	t.Setenv("CNB_TARGET_ARCH", other)
	_, layers, result := built(t, "index.html")
	if diff := cmp.Diff([]string{"lighttpd.conf"}, left(t, filepath.Join(layers, "server"))); diff != "" {
		t.Errorf("in the layer: %s", diff)
	}
	contributed, err := result.Layers[0].Contribute(libcnb.Layer{})
	if err != nil {
		t.Fatal(err)
	}
	want := libcnb.Environment{"PORT.default": "8080", "WEB_BIND.default": "[::]", "WEB_ACCESS_LOG.default": "/dev/null"}
	if diff := cmp.Diff(want, contributed.LaunchEnvironment); diff != "" {
		t.Error(diff)
	}
}
