package program

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"plimsoll.dev/plimsoll/internal/testbed"
)

// BenchmarkBuilder measures `plimsoll builder build` as a whole process, push included,
// with the real lifecycle, buildpacks and build base, for one architecture: with nothing
// kept, and again. kpack's anchor for this is 683 s.
func BenchmarkBuilder(b *testing.B) {
	if _, err := os.Stat("../../bin/lifecycle/lifecycle.toml"); err != nil {
		b.Fatal("there is no lifecycle: run `make`")
	}
	home := testbed.Home(b)
	b.Setenv("PLIMSOLL_HOME", home)
	binary := filepath.Join(b.TempDir(), "plimsoll")
	if out, err := exec.Command("go", "build", "-o", binary, "../../cmd/plimsoll").CombinedOutput(); err != nil {
		b.Fatalf("%v: %s", err, out)
	}
	nothing := func() {}
	for _, base := range []string{"build", "run"} {
		if out, err := exec.Command(binary, "base", "build", "-f", singleArch(b, base), "-t", base+":1").CombinedOutput(); err != nil {
			b.Fatalf("%v: %s", err, out)
		}
	}
	layers := filepath.Join(home, "cache", "layers")
	build := []string{"builder", "build", "-f", benchBuilder(b), "-t", "builder:bench"}
	for b.Loop() {
		cold := measure(b, func() { must(b, os.RemoveAll(layers)) }, binary, build...)
		warm := measure(b, nothing, binary, build...)
		b.ReportMetric(cold.wall.Seconds(), "s-cold")
		b.ReportMetric(warm.wall.Seconds(), "s-warm")
	}
}

// benchBuilder writes a builder of all buildpacks that are built, for one architecture and
// on one run base.
func benchBuilder(b *testing.B) string {
	b.Helper()
	bin, err := filepath.Abs("../../bin")
	must(b, err)
	folders, err := filepath.Glob(filepath.Join(bin, "buildpacks", "*"))
	must(b, err)
	if len(folders) == 0 {
		b.Fatal("there are no buildpacks: run `make`")
	}
	var sources, order strings.Builder
	for _, folder := range folders {
		sources.WriteString("    - path: " + folder + "\n")
		order.WriteString("    - group: [{id: plimsoll/" + filepath.Base(folder) + "}]\n")
	}
	file := filepath.Join(b.TempDir(), "builder.yaml")
	must(b, os.WriteFile(file, []byte(`apiVersion: plimsoll.dev/v1alpha1
kind: Builder
metadata: {name: bench}
spec:
  architectures: [amd64]
  build: {image: build:1}
  run: [{image: run:1}]
  lifecycle: {path: `+filepath.Join(bin, "lifecycle")+`}
  buildpacks:
`+sources.String()+"  order:\n"+order.String()), 0o600))
	return file
}
