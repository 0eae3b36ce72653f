package main

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/buildpacks/libcnb"
	"github.com/google/go-cmp/cmp"
)

// TestModulesThatAreKept builds again and again from a proxy in a folder, each time from the modules
// that the build before has left: whole packages that were compiled, what they embed, and no more.
func TestModulesThatAreKept(t *testing.T) {
	t.Setenv("GOPROXY", "file://"+proxy(t))
	t.Setenv("GONOSUMDB", "example.com")
	t.Setenv("GOFLAGS", "")
	app, layers := t.TempDir(), t.TempDir()
	write(t, filepath.Join(app, "go.mod"), "module app\n\ngo 1.21\n\n"+needs)
	rope := "package main\n\nimport \"example.com/rope\"\n\nfunc main() { print(rope.Version()) }\n"
	both := "package main\n\nimport (\n\t\"example.com/rope\"\n\t\"example.com/rope/splice\"\n)\n\nfunc main() { print(rope.Version(), splice.Of) }\n"
	write(t, filepath.Join(app, "main.go"), both)
	tidy := exec.Command("go", "mod", "tidy") // go.sum is for both
	tidy.Dir, tidy.Env = app, append(os.Environ(), "GOMODCACHE="+filepath.Join(t.TempDir(), "modules"), "GOFLAGS=-modcacherw", "GOWORK=off")
	if out, err := tidy.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	only := []string{"example.com/knot@v1.0.0/knot.go", "example.com/rope@v1.1.0/rope.go"}
	all := append(only[:2:2], "example.com/rope@v1.1.0/splice/splice.go", "example.com/rope@v1.1.0/splice/text/of.txt")
	for _, test := range []struct {
		name, main, says string
		kept             []string
	}{
		{"one package", rope, "v1.1.0 v1.0.0", only},
		{"the same", rope, "v1.1.0 v1.0.0", only},
		{"one that was not kept", both, "v1.1.0 v1.0.0spliced", all},
		{"both are", both, "v1.1.0 v1.0.0spliced", all},
		{"one again", rope, "v1.1.0 v1.0.0", only},
	} {
		t.Run(test.name, func(t *testing.T) {
			write(t, filepath.Join(app, "main.go"), test.main)
			program := rebuild(t, app, layers)
			if out, err := exec.Command(program).CombinedOutput(); err != nil || string(out) != test.says {
				t.Errorf("it says %q, %v, want %q", out, err, test.says)
			}
			if diff := cmp.Diff(test.kept, modulesIn(t, filepath.Join(layers, "modules"))); diff != "" {
				t.Error(diff)
			}
		})
	}
	write(t, filepath.Join(app, "main.go"), "package main\n\nfunc main() { wrong }\n")
	b, _ := started(t, app, layers)
	if _, err := os.Stat(b.kept); err != nil {
		t.Fatal(err)
	}
	mains, err := b.mains()
	if err != nil {
		t.Fatal(err)
	}
	if err := b.compile(mains); err == nil || b.kept == "" {
		t.Errorf("what does not compile had the modules fetched anew: %v", err)
	}
}

// started gives a build of the application with its caches, and what ends it.
func started(t *testing.T, app, layers string) (*build, func()) {
	t.Helper()
	result := libcnb.NewBuildResult()
	b := &build{
		dir: app, layers: libcnb.Layers{Path: layers}, result: &result, modules: []string{"."}, gocmd: "go",
		settings: settings{arch: runtime.GOARCH}, env: []string{"HOME=" + t.TempDir(), "GOWORK=off"},
	}
	save, err := b.openCaches()
	if err != nil {
		t.Fatal(err)
	}
	return b, func() {
		mains, err := b.mains()
		if err == nil {
			err = b.compile(mains)
		}
		if err == nil {
			err = save(mains)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// rebuild builds the application from start to end and gives its program.
func rebuild(t *testing.T, app, layers string) string {
	t.Helper()
	_, run := started(t, app, layers)
	run()
	return filepath.Join(layers, "app", "bin", "app")
}

// modulesIn gives the files of packages in a cache of modules.
func modulesIn(t *testing.T, dir string) (names []string) {
	t.Helper()
	if err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.Type().IsRegular() {
			if name := strings.TrimPrefix(path, dir+"/"); !strings.HasPrefix(name, "cache/") && filepath.Base(name) != "go.mod" {
				names = append(names, name)
			}
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return names
}
