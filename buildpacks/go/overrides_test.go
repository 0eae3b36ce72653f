package main

import (
	"debug/buildinfo"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/mod/module"
	"golang.org/x/mod/zip"

	"plimsoll.dev/plimsoll/buildpacks/internal/floor"
	"plimsoll.dev/plimsoll/buildpacks/internal/tool"
)

// proxy makes a module proxy in a folder (https://go.dev/ref/mod#goproxy-protocol) with the
// modules example.com/rope and example.com/knot: rope v1.2.0 needs knot v1.1.0, v1.1.0 does not.
func proxy(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, m := range []struct{ path, version, requires string }{
		{"example.com/rope", "v1.1.0", "require example.com/knot v1.0.0"},
		{"example.com/rope", "v1.2.0", "require example.com/knot v1.1.0"},
		{"example.com/knot", "v1.0.0", ""},
		{"example.com/knot", "v1.1.0", ""},
	} {
		name := m.path[strings.LastIndexByte(m.path, '/')+1:]
		source := t.TempDir()
		imports, value := "", fmt.Sprintf("%q", m.version)
		if m.requires != "" {
			imports, value = `import "example.com/knot"`, value+` + " " + knot.Version()`
		}
		write(t, filepath.Join(source, "go.mod"), fmt.Sprintf("module %s\n\ngo 1.21\n\n%s\n", m.path, m.requires))
		write(t, filepath.Join(source, "splice", "splice.go"), "package splice\n\nimport _ \"embed\"\n\n//go:embed text/of.txt\nvar Of string\n")
		write(t, filepath.Join(source, "splice", "text", "of.txt"), "spliced")
		write(t, filepath.Join(source, name+".go"), fmt.Sprintf("package %s\n\n%s\n\nfunc Version() string { return %s }\n", name, imports, value))
		versions := filepath.Join(dir, m.path, "@v")
		write(t, filepath.Join(versions, m.version+".info"), fmt.Sprintf(`{"Version": %q}`, m.version))
		text, err := os.ReadFile(filepath.Join(source, "go.mod"))
		if err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(versions, m.version+".mod"), string(text))
		archive, err := os.Create(filepath.Join(versions, m.version+".zip"))
		if err != nil {
			t.Fatal(err)
		}
		if err := zip.CreateFromDir(archive, module.Version{Path: m.path, Version: m.version}, source); err != nil {
			t.Fatal(err)
		}
		if err := archive.Close(); err != nil {
			t.Fatal(err)
		}
		list, err := os.OpenFile(filepath.Join(versions, "list"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintln(list, m.version)
		if err := list.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return dir
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

const (
	mainGo = "package main\n\nimport \"example.com/rope\"\n\nfunc main() { println(rope.Version()) }\n"
	needs  = "require (\n\texample.com/knot v1.0.0 // indirect\n\texample.com/rope v1.1.0\n)\n"
)

// TestRaise builds with the real go command, from a proxy in a folder.
func TestRaise(t *testing.T) {
	address := "file://" + proxy(t)
	for _, test := range []struct {
		name   string
		files  map[string]string
		floors []floor.Floor
		want   string // the versions in the program, "module version"
		fail   string // in the error
	}{
		{
			name:   "direct, with what it needs",
			files:  map[string]string{"go.mod": "module app\n\ngo 1.21\n\n" + needs},
			floors: []floor.Floor{{Package: "example.com/rope", Version: "v1.2.0"}}, want: "knot v1.1.0, rope v1.2.0",
		},
		{
			name:   "a dependency of a dependency",
			files:  map[string]string{"go.mod": "module app\n\ngo 1.21\n\n" + needs},
			floors: []floor.Floor{{Package: "example.com/knot", Version: "v1.1.0"}}, want: "knot v1.1.0, rope v1.1.0",
		},
		{
			name:   "one that go.mod does not name",
			files:  map[string]string{"go.mod": "module app\n\ngo 1.16\n\nrequire example.com/rope v1.1.0\n"},
			floors: []floor.Floor{{Package: "example.com/knot", Version: "v1.1.0"}}, want: "knot v1.1.0, rope v1.1.0",
		},
		{
			name:   "high enough",
			files:  map[string]string{"go.mod": "module app\n\ngo 1.21\n\n" + needs},
			floors: []floor.Floor{{Package: "example.com/rope", Version: "v1.0.0"}, {Package: "example.com/other", Version: "v1.0.0"}}, want: "knot v1.0.0, rope v1.1.0",
		},
		{
			name:   "replaced by an older one",
			files:  map[string]string{"go.mod": "module app\n\ngo 1.21\n\nrequire (\n\texample.com/knot v1.1.0 // indirect\n\texample.com/rope v1.2.0\n)\n\nreplace example.com/knot => example.com/knot v1.0.0\n"},
			floors: []floor.Floor{{Package: "example.com/knot", Version: "v1.1.0"}}, want: "knot v1.1.0, rope v1.2.0",
		},
		{
			name: "replaced by a fork",
			files: map[string]string{
				"go.mod":       "module app\n\ngo 1.21\n\n" + needs + "\nreplace example.com/knot => ./fork\n",
				"fork/go.mod":  "module example.com/knot\n\ngo 1.21\n",
				"fork/knot.go": "package knot\n\nfunc Version() string { return \"own\" }\n",
			},
			floors: []floor.Floor{{Package: "example.com/knot", Version: "v1.1.0"}}, want: "./fork (devel), rope v1.1.0",
		},
		{
			name: "in a workspace",
			files: map[string]string{
				"go.work": "go 1.21\n\nuse (\n\t.\n\t./lib\n)\n", "go.mod": "module app\n\ngo 1.21\n\n" + needs,
				"lib/go.mod": "module lib\n\ngo 1.21\n", "lib/lib.go": "package lib\n",
			},
			floors: []floor.Floor{{Package: "example.com/rope", Version: "v1.2.0"}}, want: "knot v1.1.0, rope v1.2.0",
		},
		{
			name:   "no such release",
			files:  map[string]string{"go.mod": "module app\n\ngo 1.21\n\n" + needs},
			floors: []floor.Floor{{Package: "example.com/rope", Version: "v1.3.0"}}, fail: "raise example.com/rope@v1.3.0",
		},
		{
			name: "vendored",
			files: map[string]string{
				"go.mod": "module app\n\ngo 1.21\n\n" + needs, "vendor/modules.txt": "# example.com/rope v1.1.0\n## explicit; go 1.21\nexample.com/rope\n",
				"vendor/example.com/rope/rope.go": "package rope\n",
			},
			floors: []floor.Floor{{Package: "example.com/rope", Version: "v1.2.0"}}, fail: "go mod vendor",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Setenv("GOPROXY", address)
			t.Setenv("GONOSUMDB", "example.com")
			t.Setenv("GOFLAGS", "")
			got, err := buildWith(t, test.files, test.floors)
			if test.fail != "" {
				if err == nil || !strings.Contains(err.Error(), test.fail) {
					t.Fatalf("error %v, want %q in it", err, test.fail)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got != test.want {
				t.Errorf("it is made of %s, want %s", got, test.want)
			}
		})
	}
}

// buildWith raises what the files require, compiles them, and gives the modules in the program.
func buildWith(t *testing.T, files map[string]string, floors []floor.Floor) (string, error) {
	t.Helper()
	app, platform := t.TempDir(), t.TempDir()
	write(t, filepath.Join(app, "main.go"), mainGo)
	for name, text := range files {
		write(t, filepath.Join(app, name), text)
	}
	for i := range floors {
		floors[i].Name, floors[i].Ecosystem = "fix", floor.Go
	}
	document, err := json.Marshal(floors)
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(platform, "overrides", "overrides.json"), string(document))

	b := build{dir: app, modules: []string{"."}, gocmd: "go"}
	b.vendored, _ = vendored(app)
	if files["go.work"] != "" {
		b.modules = append(b.modules, "lib")
	}
	b.env = []string{"GOTOOLCHAIN=local", "GOMODCACHE=" + t.TempDir(), "GOFLAGS=-mod=mod -modcacherw", "GOWORK=off"}
	if !b.vendored {
		run(t, b, "mod", "tidy") // as whoever wrote it has
	}
	b.env = append(b.env, "GOFLAGS=-mod=readonly -modcacherw", "GOWORK=")
	if err := b.raise(platform); err != nil {
		return "", err
	}
	program := filepath.Join(t.TempDir(), "program")
	run(t, b, "build", "-o", program, ".")
	info, err := buildinfo.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, m := range info.Deps {
		if m.Replace != nil {
			m = m.Replace
		}
		found = append(found, strings.TrimPrefix(m.Path, "example.com/")+" "+m.Version)
	}
	return strings.Join(found, ", "), nil
}

func run(t *testing.T, b build, args ...string) {
	t.Helper()
	if err := (tool.Command{Path: b.gocmd, Args: args, Dir: b.dir, Env: b.env}).Run(); err != nil {
		t.Fatal(err)
	}
}
