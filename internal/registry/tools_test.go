package registry_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
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
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"plimsoll.dev/plimsoll/internal/registry"
	"plimsoll.dev/plimsoll/internal/testbed"
)

func skopeo(t *testing.T, args ...string) []byte {
	t.Helper()
	cmd := exec.Command(testbed.Tool(t, "skopeo"), args...)
	cmd.Env = append(os.Environ(), "REGISTRY_AUTH_FILE="+filepath.Join(t.TempDir(), "auth.json"))
	out, err := cmd.Output()
	if err != nil {
		stderr := ""
		if e, ok := err.(*exec.ExitError); ok {
			stderr = string(e.Stderr)
		}
		t.Fatalf("skopeo %s: %v\n%s", strings.Join(args, " "), err, stderr)
	}
	return out
}

// TestSkopeoCopies takes an image and an index in from another registry of ours, out to
// a folder and in again. skopeo does not copy referrers itself: they are copied as
// images by digest, and the registry lists them with their subject.
func TestSkopeoCopies(t *testing.T) {
	policy := filepath.Join(t.TempDir(), "policy.json")
	if err := os.WriteFile(policy, []byte(`{"default":[{"type":"insecureAcceptAnything"}]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	from := serve(t, open(t, registry.Options{}), registry.ServeOptions{})
	to := serve(t, open(t, registry.Options{}), registry.ServeOptions{})
	img := image(t, 100<<10, 3)
	if err := remote.Write(ref(t, from+"/team/app:1.0"), img); err != nil {
		t.Fatal(err)
	}
	index, err := random.Index(10<<10, 2, 3)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.WriteIndex(ref(t, from+"/team/app:multi"), index); err != nil {
		t.Fatal(err)
	}
	sbom := referrerOf(t, img, "application/spdx+json", "sbom")
	sbomDigest, err := sbom.Digest()
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(ref(t, from+"/team/app@"+sbomDigest.String()), sbom); err != nil {
		t.Fatal(err)
	}
	copy := func(args ...string) {
		t.Helper()
		skopeo(t, append([]string{"--policy", policy, "copy", "--preserve-digests", "--src-tls-verify=false", "--dest-tls-verify=false"}, args...)...)
	}
	folder := "dir:" + filepath.Join(t.TempDir(), "image")
	copy("docker://"+from+"/team/app:1.0", folder)
	copy(folder, "docker://"+to+"/team/app:1.0")
	copy("--all", "docker://"+from+"/team/app:multi", "docker://"+to+"/team/app:multi")
	copy("docker://"+from+"/team/app@"+sbomDigest.String(), "docker://"+to+"/team/app@"+sbomDigest.String())

	pulled, err := remote.Image(ref(t, to+"/team/app:1.0"))
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Image(pulled); err != nil {
		t.Error(err)
	}
	multi, err := remote.Index(ref(t, to+"/team/app:multi"))
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Index(multi); err != nil {
		t.Error(err)
	}
	digest, err := img.Digest()
	if err != nil {
		t.Fatal(err)
	}
	listed, err := remote.Referrers(ref(t, to+"/team/app@"+digest.String()).(name.Digest))
	if err != nil {
		t.Fatal(err)
	}
	m, err := listed.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	if len(m.Manifests) != 1 || m.Manifests[0].Digest != sbomDigest {
		t.Errorf("the copy has referrers %v, want its sbom", m.Manifests)
	}
	var shown struct{ Tags []string }
	if err := json.Unmarshal(skopeo(t, "list-tags", "--tls-verify=false", "docker://"+to+"/team/app"), &shown); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(shown.Tags, []string{"1.0", "multi"}) {
		t.Errorf("skopeo lists %q", shown.Tags)
	}
	skopeo(t, "delete", "--tls-verify=false", "docker://"+to+"/team/app:1.0")
	if _, err := remote.Image(ref(t, to+"/team/app:1.0")); err == nil {
		t.Error("skopeo deleted the image and it is still there")
	}
}

// TestCollectBesidePushes pushes from two other processes, which know nothing of each
// other, while this one collects all the time. Every push must succeed and stay whole.
// Half of the images are used by all in turn, and between their turns become garbage.
func TestCollectBesidePushes(t *testing.T) {
	root := filepath.Join(t.TempDir(), "store")
	reg := open(t, registry.Options{Root: root})
	var images []v1.Image
	for range 6 {
		images = append(images, image(t, 4<<10, 2))
	}
	ctx, stop := context.WithCancel(context.Background())
	var collecting, pushing sync.WaitGroup
	var rounds, blobs, manifests int
	collecting.Go(func() {
		for ctx.Err() == nil {
			report, err := reg.Collect(ctx, registry.CollectOptions{Grace: 4 * time.Second, Untagged: true})
			if err != nil && ctx.Err() == nil {
				t.Error(err)
			}
			rounds, blobs, manifests = rounds+1, blobs+report.Blobs, manifests+report.Manifests
		}
	})
	const pushers, seconds = 4, 14
	for i := range pushers {
		addr := ""
		if i%2 == 0 {
			addr, _ = child(t, root, "")
		} else {
			addr = serve(t, reg, registry.ServeOptions{})
		}
		pushing.Go(func() {
			repo := fmt.Sprintf("%s/p%d", addr, i%3)
			until := time.Now().Add(seconds * time.Second)
			for n := 0; time.Now().Before(until); n++ {
				img := images[int(time.Until(until).Seconds())%len(images)]
				if n%2 == 0 {
					img = image(t, 4<<10, 1)
				}
				to := ref(t, fmt.Sprintf("%s:t%d", repo, i))
				if err := remote.Write(to, img, options(context.Background())...); err != nil {
					t.Errorf("push %d of %d: %v", n, i, err)
					return
				}
				pulled, err := remote.Image(to, options(context.Background())...)
				if err != nil {
					t.Errorf("pull %d of %d: %v", n, i, err)
					return
				}
				if err := validate.Image(pulled); err != nil {
					t.Errorf("push %d of %d is not whole: %v", n, i, err)
					return
				}
				if n%4 == 3 { // leave it to the collector for a while
					if err := remote.Delete(to, options(context.Background())...); err != nil {
						t.Errorf("delete %d of %d: %v", n, i, err)
					}
				}
			}
		})
	}
	pushing.Wait()
	stop()
	collecting.Wait()
	if rounds < 3 || blobs == 0 || manifests == 0 {
		t.Errorf("%d collections beside the pushes removed %d blobs and %d manifests: nothing was tried", rounds, blobs, manifests)
	}
	t.Logf("%d collections removed %d manifests and %d blobs", rounds, manifests, blobs)
	final := collect(t, reg, registry.CollectOptions{Grace: noGrace, Untagged: true})
	entries, err := reg.List(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if err := pull(reg, ref(t, "store.local/"+e.Repository+":"+e.Tag)); err != nil {
			t.Errorf("after the last collection, %+v, %s:%s: %v", final, e.Repository, e.Tag, err)
		}
	}
}

// TestBlobFoundIsNotTakenAway: a client that was told a blob is there need not send it,
// however old the blob is.
func TestBlobFoundIsNotTakenAway(t *testing.T) {
	for _, how := range []string{"head", "mount", "upload"} {
		t.Run(how, func(t *testing.T) {
			root := t.TempDir()
			reg := open(t, registry.Options{Root: root})
			img := image(t, 128, 1)
			digest := write(t, reg, "store.local/a:v1", img)
			layers, err := img.Layers()
			if err != nil {
				t.Fatal(err)
			}
			layer, err := layers[0].Digest()
			if err != nil {
				t.Fatal(err)
			}
			if got := status(t, reg, http.MethodDelete, "/v2/a/manifests/"+digest); got != http.StatusAccepted {
				t.Fatalf("delete answered %d", got)
			}
			data := filepath.Join(root, "docker/registry/v2/blobs/sha256", layer.Hex[:2], layer.Hex, "data")
			content, err := os.ReadFile(data)
			if err != nil {
				t.Fatal(err)
			}
			old := time.Now().Add(-48 * time.Hour)
			if err := os.Chtimes(data, old, old); err != nil {
				t.Fatal(err)
			}
			client := &http.Client{Transport: reg.Transport()}
			want := http.StatusCreated
			switch how {
			case "head":
				want = http.StatusOK
				if got := status(t, reg, http.MethodHead, "/v2/a/blobs/"+layer.String()); got != want {
					t.Errorf("answered %d", got)
				}
			case "mount":
				if got := do(t, client, http.MethodPost, "http://store.local/v2/b/blobs/uploads/?from=a&mount="+layer.String(), "", nil); got.StatusCode != want {
					t.Errorf("answered %s", got.Status)
				}
			case "upload":
				if got := do(t, client, http.MethodPost, "http://store.local/v2/b/blobs/uploads/?digest="+layer.String(), "", content); got.StatusCode != want {
					t.Errorf("answered %s", got.Status)
				}
			}
			collect(t, reg, registry.CollectOptions{})
			if _, err := os.Stat(data); err != nil {
				t.Errorf("the blob was taken away: %v", err)
			}
		})
	}
}
