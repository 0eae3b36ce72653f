package site

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// folder makes a folder with the files, whose content is their path.
func folder(t *testing.T, files ...string) string {
	t.Helper()
	root := t.TempDir()
	for _, name := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(name), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func settings(of map[string]string) Lookup {
	return func(name string) (string, bool) { value, ok := of[name]; return value, ok }
}

func TestRoot(t *testing.T) {
	for _, c := range []struct {
		name  string
		files []string
		env   map[string]string
		want  string
		err   string
	}{
		{name: "the application's own folder", files: []string{"index.html"}, want: "."},
		{name: "a built folder before its source", files: []string{"index.html", "dist/index.html"}, want: "dist"},
		{name: "public", files: []string{"public/index.html", "notes.md"}, want: "public"},
		{name: "named", files: []string{"index.html", "out/web/index.html"}, env: map[string]string{EnvRoot: "./out/web/"}, want: "out/web"},
		{name: "named without an index", files: []string{"index.html", "out/a.txt"}, env: map[string]string{EnvRoot: "out"}, err: "no index.html in out, which BP_WEB_ROOT names"},
		{name: "named outside", files: []string{"index.html"}, env: map[string]string{EnvRoot: "../etc"}, err: `BP_WEB_ROOT "../etc" is not a folder inside the application`},
		{name: "nothing", files: []string{"main.go"}, err: "no index.html, dist/index.html or public/index.html"},
		{name: "a folder of that name", files: []string{"index.html/a"}, err: "no index.html, dist/index.html or public/index.html"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := Root(folder(t, c.files...), settings(c.env))
			if (err == nil) != (c.err == "") || err != nil && err.Error() != c.err {
				t.Fatalf("error %v, want %q", err, c.err)
			}
			if got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

// TestConfig compares with what was seen to work in the server; run the examples after a
// change of it.
func TestConfig(t *testing.T) {
	s := Settings{Root: "/workspace/public", SPA: true, NotFound: true, CSP: DefaultCSP, Immutable: DefaultImmutable, Tag: "0123456789abcdef"}
	want, err := os.ReadFile("testdata/lighttpd.conf")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), s.Config()); diff != "" {
		t.Error(diff)
	}
}

func TestReadRefuses(t *testing.T) {
	for _, c := range []struct{ name, value string }{
		{EnvSPA, "perhaps"},
		{EnvImmutable, "("},
		{EnvCSP, `default-src "self"`},
		{EnvCSP, `default-src 'self'\`},
		{EnvImmutable, `a"b`},
		{EnvImmutable, `ab\`},
		{EnvCSP, "default-src 'self'\nserver.port = 1"},
	} {
		_, err := Read(folder(t, "index.html"), settings(map[string]string{c.name: c.value}))
		if err == nil || !strings.HasPrefix(err.Error(), c.name) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s=%q: error %v, want one line that begins with the name", c.name, c.value, err)
		}
	}
}

// TestTag proves that a browser does not take one site, or one way to serve it, for another.
func TestTag(t *testing.T) {
	root := folder(t, "index.html", "404.html")
	tag := func(env map[string]string) string {
		t.Helper()
		s, err := Read(root, settings(env))
		if err != nil {
			t.Fatal(err)
		}
		return s.Tag
	}
	first := tag(nil)
	if again := tag(nil); again != first {
		t.Errorf("read twice: %s and %s", first, again)
	}
	seen := map[string]bool{first: true}
	for _, env := range []map[string]string{{EnvSPA: "true"}, {EnvCSP: ""}, {EnvImmutable: "^/assets/"}} {
		seen[tag(env)] = true
	}
	if err := os.WriteFile(filepath.Join(root, "404.html"), []byte("404.HTML"), 0o644); err != nil {
		t.Fatal(err)
	}
	seen[tag(nil)] = true
	if len(seen) != 5 {
		t.Errorf("five sites have %d tags", len(seen))
	}
}
