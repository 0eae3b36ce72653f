package main

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/buildpacks/libcnb"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestDetect(t *testing.T) {
	for name, test := range map[string]struct {
		files []string
		want  bool
	}{
		"a module":             {[]string{"go.mod", "main.go"}, true},
		"a workspace":          {[]string{"go.work", "a/go.mod"}, true},
		"files without go.mod": {[]string{"main.go"}, false},
		"a folder named so":    {[]string{"go.mod/x"}, false},
	} {
		dir := t.TempDir()
		for _, file := range test.files {
			path := filepath.Join(dir, file)
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, nil, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		got, err := detector{}.Detect(libcnb.DetectContext{Application: libcnb.Application{Path: dir}})
		if err != nil || got.Pass != test.want {
			t.Errorf("%s: %t, %v", name, got.Pass, err)
		}
	}
}

func TestSettings(t *testing.T) {
	other := map[string]string{"amd64": "arm64", "arm64": "amd64"}[runtime.GOARCH]
	for _, test := range []struct {
		name string
		env  map[string]string
		want settings
		err  string
	}{
		{"nothing", nil, settings{arch: runtime.GOARCH}, ""},
		{"everything", map[string]string{
			"BP_GO_TARGETS": "./cmd/a:./cmd/b", "BP_GO_VERSION": "go1.26.1", "BP_GO_TAGS": "a, b", "BP_GO_LDFLAGS": "-X main.v=1 -s",
			"BP_GO_FLAGS": "-race=false -p 1", "BP_KEEP_FILES": "static templates/*.html", "CNB_TARGET_ARCH": other,
		}, settings{
			targets: []string{"./cmd/a", "./cmd/b"}, version: "1.26.1", tags: "a,b", ldflags: "-X main.v=1 -s",
			flags: []string{"-race=false", "-p", "1"}, keep: []string{"static", "templates/*.html"}, arch: other,
		}, ""},
		{"cgo", map[string]string{"BP_GO_CGO": "true"}, settings{cgo: true, arch: runtime.GOARCH}, ""},
		{"cgo for another machine", map[string]string{"BP_GO_CGO": "1", "CNB_TARGET_ARCH": other}, settings{}, "cannot compile for " + other},
		{"cgo perhaps", map[string]string{"BP_GO_CGO": "maybe"}, settings{}, "say true or false"},
		{"another output", map[string]string{"BP_GO_FLAGS": "-o=/tmp/x"}, settings{}, "-o, which the buildpack decides"},
		{"another go.mod", map[string]string{"BP_GO_FLAGS": "--modfile x"}, settings{}, "-modfile, which the buildpack decides"},
		{"tags among the flags", map[string]string{"BP_GO_FLAGS": "-tags=x"}, settings{}, "BP_GO_TAGS"},
		{"ldflags among the flags", map[string]string{"BP_GO_FLAGS": "-ldflags=-s"}, settings{}, "BP_GO_LDFLAGS"},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, name := range []string{"BP_GO_TARGETS", "BP_GO_VERSION", "BP_GO_CGO", "BP_GO_TAGS", "BP_GO_LDFLAGS", "BP_GO_FLAGS", "BP_KEEP_FILES", "CNB_TARGET_ARCH"} {
				t.Setenv(name, test.env[name])
			}
			got, err := readSettings()
			if (err == nil) != (test.err == "") || err != nil && !strings.Contains(err.Error(), test.err) {
				t.Fatalf("got %v, want %q", err, test.err)
			}
			if diff := cmp.Diff(test.want, got, cmp.AllowUnexported(settings{}), cmpopts.EquateEmpty()); diff != "" {
				t.Error(diff)
			}
		})
	}
}
