package modules

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// grow makes files; a text that begins with "-> " is a link's.
func grow(t *testing.T, root string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		var err error
		if target, ok := strings.CutPrefix(text, "-> "); ok {
			err = os.Symlink(target, path)
		} else {
			err = os.WriteFile(path, []byte(text), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// TestMoveKeepsEveryPackageInSight moves the dependencies of an application with workspaces
// and reads its packages by the ways that Node.js goes.
func TestMoveKeepsEveryPackageInSight(t *testing.T) {
	app, layer := filepath.Join(t.TempDir(), "app"), filepath.Join(t.TempDir(), "layer")
	grow(t, app, map[string]string{
		"node_modules/ms/v": "2", "node_modules/.bin/ms": "-> ../ms/v", "node_modules/@ws/lib": "-> ../../packages/lib",
		"packages/lib/v": "lib", "packages/lib/node_modules/ms/v": "1", "packages/lib/node_modules/up": "-> ../../../node_modules/ms",
		"node_modules/ms/node_modules/deep/v": "deep",
	})
	places, err := Places(app)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"node_modules", "packages/lib/node_modules"}, places); diff != "" {
		t.Fatal(diff)
	}
	if err := Move(app, layer, places); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(filepath.Join(app, "node_modules")); err == nil {
		t.Error("what was moved is still there")
	}
	if err := Link(app, layer, places); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"node_modules/ms/v": "2", "node_modules/.bin/ms": "2", "node_modules/@ws/lib/v": "lib", "packages/lib/node_modules/ms/v": "1",
		"packages/lib/node_modules/up/v": "2", "node_modules/@ws/lib/node_modules/ms/v": "1", "node_modules/ms/node_modules/deep/v": "deep",
	} {
		if got, err := os.ReadFile(filepath.Join(app, path)); err != nil || string(got) != want {
			t.Errorf("%s: %q, %v", path, got, err)
		}
	}
}

func TestClean(t *testing.T) {
	app := t.TempDir()
	grow(t, app, map[string]string{
		"node_modules/.package-lock.json": "", "node_modules/.cache/x": "", "node_modules/.bin/a": "",
		"node_modules/addon/binding.gyp": "", "node_modules/addon/build/Makefile": "", "node_modules/addon/build/config.gypi": "",
		"node_modules/addon/build/addon.target.mk": "", "node_modules/addon/build/node_gyp_bins/python3": "-> /usr/bin/python3",
		"node_modules/addon/build/Release/addon.node": "", "node_modules/addon/build/Release/obj.target/x.o": "", "node_modules/addon/build/Release/.deps/x": "",
		"node_modules/addon/build-tmp-napi-v6/config.gypi": "", "node_modules/addon/build-tmp-napi-v6/Release/obj/x.o": "",
		"node_modules/addon/lib/binding/napi-v6/addon.node": "", "node_modules/pure/build/Makefile": "",
	})
	if err := Clean(app, []string{"node_modules"}); err != nil {
		t.Fatal(err)
	}
	var left []string
	err := filepath.WalkDir(app, func(path string, entry os.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			left = append(left, strings.TrimPrefix(path, app+"/node_modules/"))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{".bin/a", "addon/binding.gyp", "addon/build/Release/addon.node", "addon/lib/binding/napi-v6/addon.node", "pure/build/Makefile"}, left); diff != "" {
		t.Error(diff)
	}
}

func TestShapeSeesAWrite(t *testing.T) {
	app := t.TempDir()
	grow(t, app, map[string]string{"node_modules/a/x": "1", "node_modules/.cache/y": "1", "src/z": "1"})
	shape := func() string {
		s, err := Shape(app, []string{"node_modules"})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	before := shape()
	grow(t, app, map[string]string{"node_modules/.cache/y2": "2", "src/z": "2"})
	if shape() != before {
		t.Error("a build tool's cache, or a source, counts")
	}
	grow(t, app, map[string]string{"node_modules/a/generated": ""})
	if shape() == before {
		t.Error("a new file does not count")
	}
}

// TestForeign takes this test's own binary for an addon: it is one of this machine.
func TestForeign(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	app := t.TempDir()
	grow(t, app, map[string]string{"node_modules/@scope/addon/build/x": "", "node_modules/other/win.node": "MZ", "node_modules/js/index.js": ""})
	if err := os.Symlink(self, filepath.Join(app, "node_modules/js/link.node")); err != nil {
		t.Fatal(err)
	}
	if err := os.Link(self, filepath.Join(app, "node_modules/@scope/addon/build/addon.node")); err != nil {
		text, err := os.ReadFile(self)
		if err != nil {
			t.Fatal(err)
		}
		grow(t, app, map[string]string{"node_modules/@scope/addon/build/addon.node": string(text)})
	}
	another := map[string]string{"amd64": "arm64", "arm64": "amd64"}[runtime.GOARCH]
	for arch, want := range map[string]string{runtime.GOARCH: "", another: "@scope/addon"} {
		if got, err := Foreign(app, []string{"node_modules"}, arch); err != nil || got != want {
			t.Errorf("%s: got %q, %v", arch, got, err)
		}
	}
}

func TestInstalled(t *testing.T) {
	app := t.TempDir()
	grow(t, app, map[string]string{
		"node_modules/a/package.json":                     `{"name": "a", "version": "1.0.0", "license": "MIT"}`,
		"node_modules/a/test/package.json":                `{"name": "fixture", "version": "9.9.9"}`,
		"node_modules/a/node_modules/@s/b/package.json":   `{"name": "@s/b", "version": "2.0.0"}`,
		"node_modules/@s/c/package.json":                  `{"name": "@s/c", "version": "3.0.0"}`,
		"node_modules/@s/c/dist/package.json":             `{"type": "module"}`,
		"packages/lib/node_modules/d/package.json":        `{"name": "d", "version": "4.0.0"}`,
		"packages/lib/node_modules/broken/package.json":   `{`,
		"packages/lib/package.json":                       `{"name": "lib", "version": "0.0.1"}`,
		"node_modules/a/node_modules/.bin/x/package.json": `{}`,
	})
	got, err := Installed(app, []string{"node_modules", "packages/lib/node_modules"})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, p := range got {
		names = append(names, p.Name+"@"+p.Version)
	}
	if diff := cmp.Diff([]string{"@s/c@3.0.0", "@s/b@2.0.0", "a@1.0.0", "d@4.0.0"}, names); diff != "" {
		t.Error(diff)
	}
}
