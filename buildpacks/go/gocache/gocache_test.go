package gocache

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestBuilds builds with the real go command. The standard library is compiled once for all.
func TestBuilds(t *testing.T) {
	cache := filepath.Join(t.TempDir(), "cache")
	t.Run("a pruned cache has what the next build reads", func(t *testing.T) { pruned(t, cache) })
	t.Run("an edit of the same size is seen", func(t *testing.T) { edited(t, cache) })
}

// pruned builds a program, then another version, with a cache that is pruned each time, and
// sees what the go command compiles.
func pruned(t *testing.T, cache string) {
	app := t.TempDir()
	write(t, app, "go.mod", "module example.com/app\n\ngo 1.24\n")
	write(t, app, "kept/kept.go", "package kept\n\nimport \"errors\"\n\nvar Err = errors.New(\"kept\")\n")
	write(t, app, "left/left.go", "package left\n\nimport \"sort\"\n\nvar Sort = sort.Strings\n")
	write(t, app, "main.go", "package main\n\nimport (\n\t\"example.com/app/kept\"\n\t\"example.com/app/left\"\n)\n\nfunc main() { println(kept.Err, left.Sort) }\n")
	build(t, app, cache)
	first := entriesIn(t, cache)

	write(t, app, "main.go", "package main\n\nimport \"example.com/app/kept\"\n\nfunc main() { println(kept.Err) }\n")
	compiled := build(t, app, cache)
	if diff := cmp.Diff([]string{"example.com/app"}, compiled); diff != "" {
		t.Errorf("one line changed: %s", diff)
	}
	if now := entriesIn(t, cache); now >= first {
		t.Errorf("the cache had %d entries and has %d, though a package is not used any more", first, now)
	}
	if compiled := build(t, app, cache); compiled != nil {
		t.Errorf("nothing changed, but it compiled %v", compiled)
	}
	if _, err := os.Stat(filepath.Join(cache, trimmed)); err == nil {
		t.Error("a file with the time of day is left in the cache")
	}
}

// build builds the app and gives the packages that were compiled, without the standard
// library's.
func build(t *testing.T, app, cache string) []string {
	t.Helper()
	if err := Age(cache); err != nil {
		t.Fatal(err)
	}
	if err := Stamp(app); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("go", "build", "-v", "-trimpath", "-buildvcs=false", "-o", filepath.Join(t.TempDir(), "app"), ".")
	cmd.Dir = app
	cmd.Env = append(os.Environ(), "GOCACHE="+cache, "CGO_ENABLED=0", "GOFLAGS=", "GOWORK=off")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if err := Prune(cache); err != nil {
		t.Fatal(err)
	}
	var compiled []string
	for name := range strings.Lines(string(out)) {
		if strings.HasPrefix(name, "example.com/") {
			compiled = append(compiled, strings.TrimSpace(name))
		}
	}
	return compiled
}

// edited changes an import but not the size of its file, where all files have the same
// time, as in a build.
func edited(t *testing.T, cache string) {
	app := t.TempDir()
	write(t, app, "go.mod", "module example.com/app\n\ngo 1.24\n")
	write(t, app, "one/p.go", "package one\n\nconst Name = 1\n")
	write(t, app, "two/p.go", "package two\n\nconst Name = 2\n")
	main := "package main\n\nimport n \"example.com/app/one\"\n\nfunc main() { println(n.Name) }\n"
	write(t, app, "main.go", main)
	build(t, app, cache)
	write(t, app, "main.go", strings.Replace(main, "app/one", "app/two", 1))
	if diff := cmp.Diff([]string{"example.com/app/two", "example.com/app"}, build(t, app, cache)); diff != "" {
		t.Error(diff)
	}
}

func TestPruneModules(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{
		"example.com/kept@v1.0.0/x.go", "example.com/!upper/kept@v1.0.0+incompatible/x.go", "example.com/old@v0.9.0/x.go", "example.com/only-mod@v1.0.0/x.go",
		"cache/download/example.com/kept/@v/v1.0.0.zip", "cache/download/example.com/kept/@v/v1.0.0.ziphash", "cache/download/example.com/kept/@v/v1.0.0.mod",
		"cache/download/example.com/kept/@v/v1.0.0.lock", "cache/download/example.com/kept/@v/list", "cache/download/sumdb/x", "cache/lock", "cache/vcs/x",
	} {
		write(t, dir, name, "")
	}
	sum := "example.com/kept v1.0.0 h1:a=\nexample.com/kept v1.0.0/go.mod h1:b=\nexample.com/only-mod v1.0.0/go.mod h1:c=\n"
	if err := PruneModules(dir, []byte(sum), []byte("example.com/Upper/kept v1.0.0+incompatible h1:d=\n")); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"cache/download/example.com/kept/@v/v1.0.0.mod", "cache/download/example.com/kept/@v/v1.0.0.ziphash",
		"example.com/!upper/kept@v1.0.0+incompatible/x.go", "example.com/kept@v1.0.0/x.go",
	}
	if diff := cmp.Diff(want, files(t, dir)); diff != "" {
		t.Error(diff)
	}
	if err := PruneModules(filepath.Join(dir, "new")); err != nil {
		t.Errorf("a cache that nothing was put into: %v", err)
	}
}

func FuzzModules(f *testing.F) {
	f.Add([]byte("example.com/Upper v1.0.0 h1:a=\nexample.com/x v1.0.0/go.mod h1:b=\n"))
	f.Add([]byte("../../etc v1 x"))
	f.Fuzz(func(t *testing.T, sum []byte) {
		for _, name := range modules(sum) {
			if !filepath.IsLocal(name) {
				t.Errorf("%q is outside the cache", name)
			}
		}
	})
}

func write(t *testing.T, dir, name, text string) {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	at := time.Unix(315532801, 0)
	if err := os.Chtimes(path, at, at); err != nil {
		t.Fatal(err)
	}
}

func files(t *testing.T, dir string) []string {
	t.Helper()
	var all []string
	err := fs.WalkDir(os.DirFS(dir), ".", func(path string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			all = append(all, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func entriesIn(t *testing.T, cache string) int {
	t.Helper()
	n := 0
	for _, name := range files(t, cache) {
		if strings.Contains(name, "/") {
			n++
		}
	}
	return n
}
