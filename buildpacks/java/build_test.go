package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/buildpacks/libcnb"
	"github.com/google/go-cmp/cmp"

	"plimsoll.dev/plimsoll/buildpacks/java/jar"
)

// TestBuildJar builds applications that need no compiler.
func TestBuildJar(t *testing.T) {
	for _, c := range []struct {
		name string
		jar  string
		keep string
		want []string // what is left of the application
	}{
		{name: "made ready", jar: "shop-1.0.jar", want: []string{"README.md", "config/shop.yaml", "shop-1.0.jar", "src/main/java/A.java"}},
		{name: "of a build tool", jar: "target/shop-1.0.jar", want: []string{"target/shop-1.0.jar"}},
		{name: "with its settings", jar: "target/shop-1.0.jar", keep: "config", want: []string{"config/shop.yaml", "target/shop-1.0.jar"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Setenv("BP_KEEP_FILES", c.keep)
			app, layers := t.TempDir(), t.TempDir()
			for _, name := range []string{"README.md", "config/shop.yaml", "src/main/java/A.java", c.jar} {
				path := filepath.Join(app, name)
				if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, []byte(name), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if err := jar.Write(filepath.Join(app, c.jar), "shop.Main", fstest.MapFS{}); err != nil {
				t.Fatal(err)
			}
			result, err := builder{}.Build(libcnb.BuildContext{Application: libcnb.Application{Path: app}, Layers: libcnb.Layers{Path: layers}})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, files(t, app)); diff != "" {
				t.Errorf("left of the application: %s", diff)
			}
			start := []libcnb.Process{{Type: "web", Command: "java", Arguments: []string{"-jar", filepath.Join(app, c.jar)}, Direct: true, Default: true}}
			if diff := cmp.Diff(start, result.Processes); diff != "" {
				t.Error(diff)
			}
			account, err := os.ReadFile(filepath.Join(layers, "launch.sbom.cdx.json"))
			if err != nil || !strings.Contains(string(account), `"pkg:generic/shop@1.0"`) {
				t.Errorf("the bill of materials: %v\n%s", err, account)
			}
		})
	}
}

// files gives the paths of all files in a folder, sorted.
func files(t *testing.T, folder string) []string {
	t.Helper()
	var names []string
	err := fs.WalkDir(os.DirFS(folder), ".", func(name string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			names = append(names, name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(names)
	return names
}
