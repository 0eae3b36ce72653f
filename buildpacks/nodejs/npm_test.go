package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/buildpacks/libcnb"
)

// TestRegistry proves that the platform's registry does not outdo one that the project or
// a binding names. npm takes no empty variable.
func TestRegistry(t *testing.T) {
	for _, test := range []struct {
		name          string
		project, user string // npmrc files
		off           bool   // the platform's
	}{
		{name: "the platform's"},
		{name: "the project's", project: "save=false\n registry = http://project.test/\n", off: true},
		{name: "the binding's", user: "registry=http://user.test/", off: true},
		{name: "a scope's is another matter", project: "@own:registry=http://own.test/"},
		{name: "a comment", project: "#registry=http://project.test/"},
		{name: "the project's before the binding's", project: "registry=http://project.test/", user: "registry=http://user.test/", off: true},
	} {
		t.Run(test.name, func(t *testing.T) {
			app, root := t.TempDir(), t.TempDir()
			write(t, filepath.Join(app, "package.json"), `{"name": "harbour"}`)
			write(t, filepath.Join(app, ".npmrc"), test.project)
			if test.user != "" {
				write(t, filepath.Join(root, "npm", "type"), "npmrc")
				write(t, filepath.Join(root, "npm", ".npmrc"), test.user)
			}
			bindings, err := libcnb.NewBindingsFromPath(root)
			if err != nil {
				t.Fatal(err)
			}
			env, err := npmEnvironment(app, t.TempDir(), bindings)
			if err != nil {
				t.Fatal(err)
			}
			for _, name := range []string{"NPM_CONFIG_REGISTRY=", "npm_config_registry="} {
				if got := slices.Contains(env, name); got != test.off {
					t.Errorf("%s is empty: %t", name, got)
				}
			}
			if got := slices.ContainsFunc(env, func(v string) bool { return strings.HasPrefix(v, "npm_config_userconfig=") }); got != (test.user != "") {
				t.Errorf("the binding's npmrc counts: %t", got)
			}
		})
	}
}

func TestBindingWithoutNpmrc(t *testing.T) {
	root := t.TempDir()
	write(t, filepath.Join(root, "npm", "type"), "npmrc")
	bindings, err := libcnb.NewBindingsFromPath(root)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := npmEnvironment(t.TempDir(), t.TempDir(), bindings); err == nil || !strings.Contains(err.Error(), "binding npm of type npmrc has no .npmrc") {
		t.Errorf("got %v", err)
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}
