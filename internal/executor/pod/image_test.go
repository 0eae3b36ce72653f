package pod

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"plimsoll.dev/plimsoll/internal/executor"
	"plimsoll.dev/plimsoll/internal/executor/executortest"
	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/oci"
)

var fill = strings.Repeat("0", 64)

func nothing() (io.ReadCloser, error) { return nil, errors.New("nothing to open") }

// buildAgent builds the agent as make does.
func buildAgent(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "agent")
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", path, "./agent")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return path
}

// counting counts the blobs that are pushed.
type counting struct {
	http.Handler
	pushed atomic.Int32
}

func (c *counting) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodPost || r.Method == http.MethodPatch {
		c.pushed.Add(1)
	}
	c.Handler.ServeHTTP(w, r)
}

func TestImagesArePushedOnce(t *testing.T) {
	handler := &counting{Handler: registry.New(registry.Logger(log.New(io.Discard, "", 0)))}
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	host, agent := strings.TrimPrefix(server.URL, "http://"), buildAgent(t)
	open := func() *Repository {
		r, err := NewRepository(&oci.Registries{}, host+"/steps", "", agent, runtime.GOARCH)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	upper := executortest.TarLayer(t, []tar.Header{{Name: "x", Typeflag: tar.TypeReg, Size: 1}}, map[string]string{"x": "x"})
	layers := []executor.Layer{executortest.Busybox(t), upper}
	first := open()
	ref, err := first.Ref(t.Context(), layers)
	if err != nil {
		t.Fatal(err)
	}
	pushed := handler.pushed.Load()
	for name, repository := range map[string]*Repository{"the same process": first, "another": open()} {
		if again, err := repository.Ref(t.Context(), layers); again != ref || err != nil {
			t.Errorf("%s: %s, %v, want %s", name, again, err, ref)
		}
	}
	if handler.pushed.Load() != pushed {
		t.Errorf("%d more pushes", handler.pushed.Load()-pushed)
	}
	parsed, err := name.ParseReference(ref)
	if err != nil {
		t.Fatal(err)
	}
	image, err := remote.Image(parsed)
	if err != nil {
		t.Fatal(err)
	}
	config, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := image.Manifest()
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{layers[0].DiffID, upper.DiffID, first.agentID.String()} {
		if got := config.RootFS.DiffIDs[i].String(); got != want || manifest.Layers[i].Digest.String() != want {
			t.Errorf("layer %d is %s, and in the configuration %s, want %s", i, manifest.Layers[i].Digest, got, want)
		}
	}
	// A new image shares what is there.
	if _, err := open().Ref(t.Context(), layers[:1]); err != nil {
		t.Fatal(err)
	}
	if more := handler.pushed.Load() - pushed; more > 2 { // its configuration, in one or two requests
		t.Errorf("%d pushes for an image of known layers", more)
	}
}

func TestImagesOfBadLayers(t *testing.T) {
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(server.Close)
	r, err := NewRepository(&oci.Registries{}, strings.TrimPrefix(server.URL, "http://")+"/steps", "", buildAgent(t), runtime.GOARCH)
	if err != nil {
		t.Fatal(err)
	}
	other := executor.Layer{DiffID: "sha256:" + fill, Open: func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader("x")), nil }}
	if _, err := r.Ref(t.Context(), []executor.Layer{other}); fault.KindOf(err) != fault.Denied {
		t.Errorf("content of another name: %v", err)
	}
	if _, err := r.Ref(t.Context(), []executor.Layer{{DiffID: "sha256:" + fill, Open: nothing}}); err == nil {
		t.Error("a layer that cannot be opened was pushed")
	}
}

func TestAgentsThatAreNone(t *testing.T) {
	text := filepath.Join(t.TempDir(), "text")
	if err := os.WriteFile(text, []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, path := range map[string]string{"missing": text + "x", "no program": text, "not static": "/bin/ls"} {
		if _, err := NewRepository(&oci.Registries{}, "127.0.0.1:1/steps", "", path, runtime.GOARCH); fault.KindOf(err) != fault.NotFound {
			t.Errorf("%s: %v", name, err)
		}
	}
	if program, err := readAgent(buildAgent(t), runtime.GOARCH); err != nil || !bytes.HasPrefix(program, []byte("\x7fELF")) {
		t.Errorf("our own: %v", err)
	}
	if _, err := readAgent(buildAgent(t), map[string]string{"amd64": "arm64", "arm64": "amd64"}[runtime.GOARCH]); err == nil {
		t.Error("an agent for another architecture was taken")
	}
}
