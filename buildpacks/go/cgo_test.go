package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"plimsoll.dev/plimsoll/buildpacks/go/target"
	"plimsoll.dev/plimsoll/buildpacks/internal/tool"
)

func grow(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestVendored(t *testing.T) {
	const list = "# example.com/a v1.0.0\n## explicit\nexample.com/a\n"
	for _, test := range []struct {
		name  string
		files map[string]string
		want  bool
		noted bool
	}{
		{"no", map[string]string{"go.mod": ""}, false, false},
		{"yes", map[string]string{"vendor/modules.txt": list, "vendor/example.com/a/a.go": ""}, true, false},
		{"only the list", map[string]string{"vendor/modules.txt": list}, false, true},
		{"a list without packages", map[string]string{"vendor/modules.txt": "# example.com/a v1.0.0\n## explicit\n"}, true, false},
	} {
		if got, note := vendored(grow(t, test.files)); got != test.want || (note != "") != test.noted {
			t.Errorf("%s: %t, %q", test.name, got, note)
		}
	}
}

func TestInC(t *testing.T) {
	dir := grow(t, map[string]string{
		"go.mod":   "module example.com/shop\n\ngo 1.21\n",
		"main.go":  "package main\n\nimport (\n\t\"net\"\n\n\t\"example.com/shop/db\"\n)\n\nfunc main() { db.Open(); _ = net.IP{} }\n",
		"db/c.go":  "package db\n\n// int one(void) { return 1; }\nimport \"C\"\n\nfunc Open() int { return int(C.one()) }\n",
		"db/go.go": "//go:build !cgo\n\npackage db\n\nfunc Open() int { return 0 }\n",
		"other.go": "//go:build windows\n\npackage main\n",
	})
	b := build{dir: dir, gocmd: "go", env: []string{
		"GOFLAGS=-mod=readonly", "GOWORK=off", "GOPROXY=off", "GOTOOLCHAIN=local", "CGO_ENABLED=0", "GOCACHE=" + t.TempDir(),
	}}
	mains := []target.Main{{ImportPath: "example.com/shop", Dir: "."}}
	if diff := cmp.Diff([]string{"example.com/shop/db"}, b.inC(mains)); diff != "" {
		t.Error(diff)
	}
	b.settings.cgo = true
	if got := b.inC(mains); got != nil {
		t.Errorf("with cgo: %q", got)
	}
}

func TestWithoutC(t *testing.T) {
	for want, packages := range map[string][]string{
		"": nil,
		"parts in C are left out of a; if they are needed: --env BP_GO_CGO=true":               {"a"},
		"parts in C are left out of a, b and 2 more; if they are needed: --env BP_GO_CGO=true": {"a", "b", "c", "d"},
	} {
		if got := withoutC(packages); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// TestExplainHints proves that parts in C are a reason only where no other is known.
func TestExplainHints(t *testing.T) {
	const hint = "parts in C are left out of a"
	for name, test := range map[string]struct {
		tail string
		want bool
	}{
		"a file does not compile": {"imports a: build constraints exclude all Go files", true},
		"nothing answered":        {"dial tcp: lookup proxy.test: no such host", false},
	} {
		err := (&build{}).explain("build shop", &tool.Error{Program: "go build", Err: errors.New("exit status 1"), Tail: test.tail}, hint)
		if got := strings.HasSuffix(err.Error(), hint); got != test.want {
			t.Errorf("%s: %v", name, err)
		}
	}
}
