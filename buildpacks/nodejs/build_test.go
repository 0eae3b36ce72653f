package main

import (
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/buildpacks/libcnb"
	"github.com/google/go-cmp/cmp"

	"plimsoll.dev/plimsoll/buildpacks/nodejs/manifest"
)

// TestProcess proves that a start script with variables starts through a program that
// replaces them, and that an image in which this cannot run needs a Procfile.
func TestProcess(t *testing.T) {
	other := map[string]string{"amd64": "arm64", "arm64": "amd64"}[runtime.GOARCH]
	for _, test := range []struct {
		name, arch, start, procfile string
		want                        string // the command, with LAYER for the layer, and the arguments
		fail                        string
	}{
		{name: "plain", start: "node server.js", want: "node|server.js"},
		{name: "a variable", start: "node server.js $PORT", want: "LAYER/expand|node server.js $PORT"},
		{name: "plain, for another machine", arch: other, start: "node server.js", want: "node|server.js"},
		{name: "a variable, for another machine", arch: other, start: "node server.js $PORT", fail: "has variables"},
		{name: "a variable, for another machine, and a Procfile", arch: other, start: "node server.js $PORT", procfile: "web: node server.js"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Setenv("CNB_TARGET_ARCH", test.arch)
			result := libcnb.NewBuildResult()
			b := build{dir: t.TempDir(), layers: libcnb.Layers{Path: t.TempDir()}, result: &result}
			b.pkg = manifest.Package{Scripts: map[string]string{"start": test.start}}
			write(t, filepath.Join(b.dir, "Procfile"), test.procfile)
			err := b.process()
			if (err == nil) != (test.fail == "") || err != nil && !strings.Contains(err.Error(), test.fail) {
				t.Fatalf("error %v, want %q", err, test.fail)
			}
			var got string
			for _, p := range result.Processes {
				got = strings.Join(append([]string{p.Command}, p.Arguments...), "|")
			}
			want := strings.Replace(test.want, "LAYER", filepath.Join(b.layers.Path, "environment"), 1)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}
