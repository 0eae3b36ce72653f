package build_test

import (
	"context"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"plimsoll.dev/plimsoll/internal/build"
	"plimsoll.dev/plimsoll/internal/executor"
)

// bare builds the files with the same builder by the lifecycle alone: its creator, which
// runs all five phases and speaks to a registry over HTTP.
func (b *bed) bare(files map[string]string) v1.Image {
	b.t.Helper()
	server := httptest.NewServer(b.store.Handler())
	b.t.Cleanup(server.Close)
	host := strings.TrimPrefix(server.URL, "http://")
	image, err := b.platform.Registries.Image(b.t.Context(), b.ref("builder:1"), "")
	if err != nil {
		b.t.Fatal(err)
	}
	layers, err := build.RootFS(image)
	if err != nil {
		b.t.Fatal(err)
	}
	work := b.t.TempDir()
	writeFiles(b.t, filepath.Join(work, "workspace"), files)
	mounts := []executor.Mount{{Kind: executor.Tmpfs, Target: "/platform"}, {Kind: executor.Tmpfs, Target: "/home/cnb"}}
	for _, name := range []string{"workspace", "layers", "cache"} {
		if err := os.MkdirAll(filepath.Join(work, name), 0o755); err != nil {
			b.t.Fatal(err)
		}
		mounts = append(mounts, executor.Mount{Kind: executor.ReadWrite, Source: filepath.Join(work, name), Target: "/" + name})
	}
	result, err := b.platform.Executor.Run(context.WithoutCancel(b.t.Context()), executor.Step{
		Layers: layers, Mounts: mounts, UID: 1001, GID: 65532, Network: true,
		Command: []string{"/cnb/lifecycle/creator", "-app", "/workspace", "-layers", "/layers", "-cache-dir", "/cache",
			"-run-image", host + "/run:1", "-uid", "1001", "-gid", "65532", host + "/bare:1"},
		Env: []string{"PATH=/bin", "CNB_PLATFORM_API=0.15", "HOME=/home/cnb", "CNB_NO_COLOR=true"},
	}, &b.log, &b.log)
	if err != nil || !result.OK() {
		b.t.Fatalf("bare lifecycle: %v %+v\n%s", err, result, b.log.String())
	}
	made, err := b.platform.Registries.Image(b.t.Context(), b.ref("bare:1"), "")
	if err != nil {
		b.t.Fatal(err)
	}
	return made
}

// TestEqualToBareLifecycle: on folders in OCI layout the lifecycle makes what it makes on a
// registry; ours differs in what a folder cannot know, and in what we add.
func TestEqualToBareLifecycle(t *testing.T) {
	b := newBed(t)
	files := webApp("ahoy")
	want, got := configOf(t, b.bare(files)), configOf(t, b.build(b.request("app:1", files)).Images[0].Image)
	if diff := cmp.Diff(want.RootFS, got.RootFS); diff != "" {
		t.Errorf("layers (-bare +ours):\n%s", diff)
	}
	for _, c := range []*v1.ConfigFile{want, got} {
		for _, label := range []string{
			"io.buildpacks.lifecycle.metadata", // names the run image as each of the two knows it
			"io.buildpacks.project.metadata",   // ours names the source
			"dev.plimsoll.base",                // of the run image
		} {
			delete(c.Config.Labels, label)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("configuration (-bare +ours):\n%s", diff)
	}
}

func configOf(t *testing.T, image v1.Image) *v1.ConfigFile {
	t.Helper()
	config, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	return config.DeepCopy()
}
