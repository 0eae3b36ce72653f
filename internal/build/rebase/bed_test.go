package rebase_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"plimsoll.dev/plimsoll/internal/build/cnb"
	"plimsoll.dev/plimsoll/internal/build/rebase"
	"plimsoll.dev/plimsoll/internal/oci"
	"plimsoll.dev/plimsoll/internal/registry"
)

// bed is a registry on loopback with images made by hand, as the specifications say.
type bed struct {
	testing.TB
	host       string
	registries *oci.Registries

	mu   sync.Mutex
	seen []string            // method and kind of each request
	hook func(*http.Request) // called before each; may be nil
}

func newBed(t testing.TB) *bed {
	t.Helper()
	reg, err := registry.Open(t.Context(), registry.Options{Root: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	b := &bed{TB: t, registries: &oci.Registries{Agent: "test", Local: func(context.Context) (http.RoundTripper, error) { return reg.Transport(), nil }}}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b.note(r)
		reg.Handler().ServeHTTP(w, r)
	}))
	t.Cleanup(func() {
		server.Close()
		_ = reg.Close()
	})
	b.host = strings.TrimPrefix(server.URL, "http://")
	return b
}

// note remembers the request, such as "PUT manifests", and calls the hook.
func (b *bed) note(r *http.Request) {
	parts := strings.Split(strings.TrimSuffix(r.URL.Path, "/"), "/")
	kind := "ping"
	if n := len(parts); n > 4 {
		if kind = parts[n-2]; parts[n-1] == "uploads" || kind == "uploads" {
			kind = "uploads"
		}
	}
	if r.URL.Query().Has("mount") {
		kind = "mount"
	}
	b.mu.Lock()
	b.seen = append(b.seen, r.Method+" "+kind)
	hook := b.hook
	b.mu.Unlock()
	if hook != nil {
		hook(r)
	}
}

// watch forgets the requests so far, and calls the hook before each one to come.
func (b *bed) watch(hook func(*http.Request)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.seen, b.hook = nil, hook
}

// requests counts those since watch.
func (b *bed) requests() map[string]int {
	b.mu.Lock()
	defer b.mu.Unlock()
	count := map[string]int{}
	for _, s := range b.seen {
		count[s]++
	}
	return count
}

// at gives the name in the bed's registry.
func (b *bed) at(ref string) string { return b.host + "/" + ref }

func (b *bed) must(err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

// run is a run image of layers that hold a package each, such as "openssl=1".
func (b *bed) run(edit func(*v1.ConfigFile), packages ...string) v1.Image {
	b.Helper()
	image := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	var adds []mutate.Addendum
	for _, p := range packages {
		layer, _, _ := strings.Cut(p, "=")
		adds = append(adds, mutate.Addendum{
			Layer:       static.NewLayer([]byte("package "+p), types.OCILayer),
			History:     v1.History{CreatedBy: "test: " + p},
			Annotations: map[string]string{oci.LayerAnnotation: layer, oci.PackagesAnnotation: p},
		})
	}
	image, err := mutate.Append(image, adds...)
	b.must(err)
	return b.edit(image, func(c *v1.ConfigFile) {
		c.OS, c.Architecture = "linux", "amd64"
		c.Config.User = "65532:65532"
		c.Config.Env = []string{"PATH=/usr/bin:/bin"}
		c.Config.Labels = map[string]string{"dev.plimsoll.base": "run"}
		if edit != nil {
			edit(c)
		}
	})
}

func (b *bed) edit(image v1.Image, edit func(*v1.ConfigFile)) v1.Image {
	b.Helper()
	c, err := image.ConfigFile()
	b.must(err)
	c = c.DeepCopy()
	edit(c)
	image, err = mutate.ConfigFile(image, c)
	b.must(err)
	return image
}

// app is an app image on the base, whose name in the metadata is given. edit changes
// metadata and configuration; it may be nil.
func (b *bed) app(on v1.Image, name string, edit func(*cnb.LifecycleMetadata, *v1.ConfigFile), files ...string) v1.Image {
	b.Helper()
	image := on
	for _, f := range files {
		var err error
		image, err = mutate.Append(image, mutate.Addendum{
			Layer:       static.NewLayer([]byte("file "+f), types.OCILayer),
			Annotations: map[string]string{"test.file": f},
		})
		b.must(err)
	}
	base, err := on.ConfigFile()
	b.must(err)
	digest, err := on.Digest()
	b.must(err)
	repository, _, _ := strings.Cut(strings.TrimPrefix(name, b.host+"/"), ":")
	diffIDs := base.RootFS.DiffIDs
	m := cnb.LifecycleMetadata{
		App: []cnb.LayerSHA{{SHA: "sha256:" + strings.Repeat("a", 64)}},
		Buildpacks: []cnb.BuildpackData{{
			ID: "test/app", Version: "1",
			Layers: map[string]cnb.LayerData{"lib": {SHA: "sha256:" + strings.Repeat("b", 64), Data: map[string]any{"n": 1.5, "html": "<a&b>"}, Launch: true}},
			Store:  &cnb.Store{Data: map[string]any{"k": "v"}},
		}},
		SBOM: &cnb.LayerSHA{SHA: "sha256:" + strings.Repeat("c", 64)},
		RunImage: cnb.UsedRunImage{
			TopLayer:  diffIDs[len(diffIDs)-1].String(),
			Reference: b.at(repository) + "@" + digest.String(),
			RunImage:  cnb.RunImage{Image: name},
		},
	}
	image = b.edit(image, func(c *v1.ConfigFile) {
		c.Config.Env = append(c.Config.Env, "CNB_PLATFORM_API=0.15", "CNB_APP_DIR=/workspace", "JAVA_OPTS=-Da=b")
		c.Config.Entrypoint, c.Config.WorkingDir = []string{"/cnb/process/web"}, "/workspace"
		c.Config.Labels[cnb.BuildMetadataLabel] = `{"buildpacks":[{"id":"test/app","version":"1"}],"launcher":{"version":"0.21.17","source":{"git":{"repository":"","commit":""}}},"processes":[]}`
		c.Config.Labels["org.opencontainers.image.title"] = "app"
		made := v1.Time{Time: time.Date(1980, time.January, 1, 0, 0, 1, 0, time.UTC)} // as the exporter dates all
		c.Created, c.History = made, slices.Repeat([]v1.History{{Created: made}}, len(c.RootFS.DiffIDs))
		if edit != nil {
			edit(&m, c)
		}
		text, err := json.Marshal(m)
		b.must(err)
		if _, set := c.Config.Labels[cnb.LifecycleMetadataLabel]; !set {
			c.Config.Labels[cnb.LifecycleMetadataLabel] = string(text)
		}
	})
	return mutate.Annotations(image, map[string]string{"org.opencontainers.image.revision": "abc"}).(v1.Image)
}

func (b *bed) ref(text string) name.Reference {
	b.Helper()
	ref, err := name.ParseReference(b.at(text))
	b.must(err)
	return ref
}

func (b *bed) push(text string, image v1.Image) {
	b.Helper()
	b.must(remote.Write(b.ref(text), image))
}

func (b *bed) pushIndex(text string, index v1.ImageIndex) {
	b.Helper()
	b.must(remote.WriteIndex(b.ref(text), index))
}

func (b *bed) pull(text string) v1.Image {
	b.Helper()
	image, err := remote.Image(b.ref(text))
	b.must(err)
	return image
}

func (b *bed) manifest(text string) *v1.Manifest {
	b.Helper()
	m, err := b.pull(text).Manifest()
	b.must(err)
	return m
}

// digest gives what the name stands for now.
func (b *bed) digest(text string) string {
	b.Helper()
	d, err := remote.Head(b.ref(text))
	b.must(err)
	return d.Digest.String()
}

// fleet rebases the images of the bed and gives the results by name.
func (b *bed) fleet(o rebase.FleetOptions, refs ...string) map[string]rebase.Result {
	b.Helper()
	results := map[string]rebase.Result{}
	err := rebase.Fleet(b.Context(), b.registries, func(yield func(string, error) bool) {
		for _, ref := range refs {
			if !yield(b.at(ref), nil) {
				return
			}
		}
	}, o, func(r rebase.Result) { results[strings.TrimPrefix(r.Ref, b.host+"/")] = r })
	b.must(err)
	if len(results) != len(refs) {
		b.Fatalf("want %d results, got %d", len(refs), len(results))
	}
	return results
}

// rebaser is the lifecycle's own, compiled from its makers' module.
func rebaser(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	build := exec.Command("go", "build", "-o", dir, "github.com/buildpacks/lifecycle/cmd/lifecycle")
	build.Dir, build.Env = filepath.Join("..", "..", "..", "lifecycle"), append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	program := filepath.Join(dir, "rebaser")
	if err := os.Symlink("lifecycle", program); err != nil {
		t.Fatal(err)
	}
	return program
}

// theirs runs the lifecycle's rebaser. The error is its refusal.
func theirs(t testing.TB, program, api string, args ...string) error {
	t.Helper()
	dir := t.TempDir()
	cmd := exec.Command(program, append([]string{"-report", filepath.Join(dir, "report.toml")}, args...)...)
	cmd.Env = []string{"CNB_PLATFORM_API=" + api, "HOME=" + dir, "PATH=" + os.Getenv("PATH")}
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}
