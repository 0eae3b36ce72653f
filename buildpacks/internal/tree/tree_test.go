package tree

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func grow(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
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
	return root
}

func names(t *testing.T, root string) []string {
	t.Helper()
	var all []string
	err := filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
		if name, _ := filepath.Rel(root, path); name != "." {
			all = append(all, filepath.ToSlash(name))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestKeep(t *testing.T) {
	files := map[string]string{
		"main.go": "", "README.md": "", "static/a.css": "", "static/img/b.png": "", "web/t/x.html": "",
		"web/t/deep/y.html": "", "web/t/x.go": "", "a+b/c": "", "link": "-> static",
	}
	for name, test := range map[string]struct{ patterns, want []string }{
		"nothing":           {nil, nil},
		"a folder":          {[]string{"./static/"}, []string{"static", "static/a.css", "static/img", "static/img/b.png"}},
		"star in a folder":  {[]string{"web/t/*.html"}, []string{"web", "web/t", "web/t/x.html"}},
		"stars across":      {[]string{"web/**/*.html"}, []string{"web", "web/t", "web/t/deep", "web/t/deep/y.html", "web/t/x.html"}},
		"everything below":  {[]string{"static/**"}, []string{"static", "static/a.css", "static/img", "static/img/b.png"}},
		"a link is no tree": {[]string{"link/*"}, nil},
		"two, and a plus":   {[]string{"link", "a+b/?"}, []string{"a+b", "a+b/c", "link"}},
	} {
		root := grow(t, files)
		if err := Keep(root, test.patterns); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(test.want, names(t, root)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	for _, pattern := range []string{"..", "../secret", "a/../../b", "/", ""} {
		if err := Keep(grow(t, files), []string{pattern}); err == nil {
			t.Errorf("pattern %q was taken", pattern)
		}
	}
}

func TestDigest(t *testing.T) {
	files := map[string]string{"a": "1", "b/c": "2", "l": "-> a"}
	digest := func(files map[string]string, change func(root string)) string {
		root := grow(t, files)
		if change != nil {
			change(root)
		}
		sum, err := Digest(root, func(path string) bool { return path == "skipped" })
		if err != nil {
			t.Fatal(err)
		}
		return sum
	}
	first := digest(files, nil)
	same := digest(map[string]string{"a": "1", "b/c": "2", "l": "-> a", "skipped/x": "y"}, func(root string) {
		if err := os.Chtimes(filepath.Join(root, "a"), time.Time{}, time.Unix(1, 0)); err != nil {
			t.Error(err)
		}
	})
	if first != same {
		t.Error("a time or a skipped folder changes the digest")
	}
	seen := []string{first}
	for _, other := range []string{
		digest(map[string]string{"a": "2", "b/c": "2", "l": "-> a"}, nil),
		digest(map[string]string{"a": "1", "b/d": "2", "l": "-> a"}, nil),
		digest(map[string]string{"a": "1", "b/c": "2", "l": "-> b"}, nil),
		digest(files, func(root string) { _ = os.Chmod(filepath.Join(root, "a"), 0o755) }),
	} {
		if slices.Contains(seen, other) {
			t.Error("two trees have one digest")
		}
		seen = append(seen, other)
	}
}

func TestMove(t *testing.T) {
	root := grow(t, map[string]string{"from/x/run": "#!", "from/l": "-> x/run"})
	if err := os.Chmod(filepath.Join(root, "from/x/run"), 0o755); err != nil {
		t.Fatal(err)
	}
	want, err := Digest(filepath.Join(root, "from"), nil)
	if err != nil {
		t.Fatal(err)
	}
	copied, moved := filepath.Join(root, "copied"), filepath.Join(root, "new", "moved")
	if err := Copy(filepath.Join(root, "from"), copied); err != nil {
		t.Fatal(err)
	}
	if err := Move(filepath.Join(root, "from"), moved); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{copied, moved} {
		if got, err := Digest(path, nil); err != nil || got != want {
			t.Errorf("%s is not the same: %v", path, err)
		}
	}
	if _, err := os.Stat(filepath.Join(root, "from")); !os.IsNotExist(err) {
		t.Error("what was moved is still there")
	}
}
