package pack

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	pubbldr "github.com/buildpacks/pack/builder"
	"github.com/buildpacks/pack/pkg/client"
	"github.com/buildpacks/pack/pkg/dist"
)

// packs is a builder of pack's with one of our buildpacks, which needs no shell.
const packs = `description = "Runs Procfiles"
[build]
image = "REGISTRY/build:1"
[[run.images]]
image = "REGISTRY/run:1"
[lifecycle]
uri = "lifecycle.tgz"
[[buildpacks]]
uri = "procfile"
[[order]]
[[order.group]]
id = "plimsoll/procfile"
version = "0.1.0"
`

// TestBuildWithPacksBuilder builds an application with a builder that pack made.
func TestBuildWithPacksBuilder(t *testing.T) {
	b := newBed(t)
	if err := os.CopyFS(filepath.Join(b.dir, "procfile"), os.DirFS("../../bin/buildpacks/procfile/linux/amd64")); err != nil {
		t.Fatalf("%v: run `make`", err)
	}
	descriptor, err := os.ReadFile("../../bin/buildpacks/procfile/buildpack.toml")
	if err != nil {
		t.Fatal(err)
	}
	b.write("procfile/buildpack.toml", string(descriptor))
	b.write("builder.toml", strings.ReplaceAll(packs, "REGISTRY", b.registry))
	config, _, err := pubbldr.ReadConfig(filepath.Join(b.dir, "builder.toml"))
	if err != nil {
		t.Fatal(err)
	}
	ref := b.registry + "/theirs:1"
	err = b.pack.CreateBuilder(t.Context(), client.CreateBuilderOptions{
		RelativeBaseDir: b.dir, BuilderName: ref, Config: config, Publish: true,
		Targets: []dist.Target{{OS: "linux", Arch: "amd64"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	b.write("app/Procfile", "web: /workspace/server --port 80\n")
	var built struct {
		Images []struct {
			RunImage              string
			Buildpacks, Processes []string
		}
	}
	text := b.plimsoll("build", "app", "--builder", ref, "-t", b.registry+"/app:1", "-o", "json")
	if err := json.Unmarshal(text, &built); err != nil {
		t.Fatal(err)
	}
	if len(built.Images) != 1 {
		t.Fatalf("it built %d images", len(built.Images))
	}
	got := built.Images[0]
	if !strings.HasPrefix(got.RunImage, b.registry+"/run:1@sha256:") || strings.Join(got.Buildpacks, " ") != "plimsoll/procfile@0.1.0" || strings.Join(got.Processes, " ") != "web" {
		t.Errorf("it built %+v", got)
	}
	if entrypoint := image(t, b.registry+"/app:1").Config.Entrypoint; len(entrypoint) != 1 || entrypoint[0] != "/cnb/process/web" {
		t.Errorf("it starts by %q", entrypoint)
	}
}
