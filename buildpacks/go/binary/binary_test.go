package binary

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"plimsoll.dev/plimsoll/buildpacks/internal/sbom"
)

// TestPackages reads a program that this test compiles: one with real dependencies.
func TestPackages(t *testing.T) {
	file := filepath.Join(t.TempDir(), "procfile")
	if out, err := exec.Command("go", "build", "-trimpath", "-ldflags=-w", "-o", file, "plimsoll.dev/plimsoll/buildpacks/procfile").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	packages, err := Packages(file)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]sbom.Package{}
	for _, p := range packages {
		found[p.Namespace+"/"+p.Name] = p
	}
	if p := found["plimsoll.dev/plimsoll"]; !p.Main || p.Type != "golang" {
		t.Errorf("the main module is %+v", p)
	}
	for _, name := range []string{"/stdlib", "github.com/buildpacks/libcnb", "mvdan.cc/sh/v3"} {
		if p, ok := found[name]; !ok || p.Version == "" || p.Version == "(devel)" || p.Main {
			t.Errorf("%s is %+v", name, p)
		}
	}
}

func TestPackagesOfNoGoBinary(t *testing.T) {
	file := filepath.Join(t.TempDir(), "text")
	if err := os.WriteFile(file, []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if got, err := Packages(file); err == nil {
		t.Errorf("a script is made of %v", got)
	}
}
