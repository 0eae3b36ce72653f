package registry_test

import (
	"context"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/registry"
)

// noGrace lets a collection remove what nothing needs at once.
const noGrace = time.Nanosecond

func write(t testing.TB, reg *registry.Registry, to string, img v1.Image) string {
	t.Helper()
	if err := remote.Write(ref(t, to), img, remote.WithTransport(reg.Transport())); err != nil {
		t.Fatal(err)
	}
	d, err := img.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return d.String()
}

func collect(t testing.TB, reg *registry.Registry, o registry.CollectOptions) registry.CollectReport {
	t.Helper()
	report, err := reg.Collect(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	return report
}

func pull(reg *registry.Registry, from name.Reference) error {
	img, err := remote.Image(from, remote.WithTransport(reg.Transport()))
	if err != nil {
		return err
	}
	return validate.Image(img)
}

func status(t testing.TB, reg *registry.Registry, method, path string, header ...string) int {
	t.Helper()
	req, err := http.NewRequest(method, "http://store.local"+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range header {
		k, v, _ := strings.Cut(h, ": ")
		req.Header.Set(k, v)
	}
	resp, err := (&http.Client{Transport: reg.Transport()}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	return resp.StatusCode
}

func TestCollectRemovesOnlyWhatNothingNeeds(t *testing.T) {
	reg := open(t, registry.Options{})
	kept, gone := image(t, 4096, 2), image(t, 4096, 3)
	write(t, reg, "store.local/a:kept", kept)
	digest := write(t, reg, "store.local/a:gone", gone)
	if got := status(t, reg, http.MethodDelete, "/v2/a/manifests/"+digest); got != http.StatusAccepted {
		t.Fatalf("delete answered %d", got)
	}
	if report := collect(t, reg, registry.CollectOptions{}); report.Blobs != 0 {
		t.Errorf("removed %d blobs within the grace", report.Blobs)
	}
	dry := collect(t, reg, registry.CollectOptions{Grace: noGrace, DryRun: true})
	report := collect(t, reg, registry.CollectOptions{Grace: noGrace})
	dry.DryRun = false
	if diff := cmp.Diff(dry, report); diff != "" {
		t.Errorf("a dry run told another story: %s", diff)
	}
	if report.Blobs != 5 || report.Links != 4 || report.Kept != 4 {
		t.Errorf("got %+v, want 5 blobs and 4 links removed and 4 blobs kept", report)
	}
	if err := pull(reg, ref(t, "store.local/a:kept")); err != nil {
		t.Error(err)
	}
	layers, err := gone.Layers()
	if err != nil {
		t.Fatal(err)
	}
	layer, _ := layers[0].Digest()
	if got := status(t, reg, http.MethodHead, "/v2/a/blobs/"+layer.String()); got != http.StatusNotFound {
		t.Errorf("a removed layer answers %d", got)
	}
	write(t, reg, "store.local/a:back", gone)
	if err := pull(reg, ref(t, "store.local/a:back")); err != nil {
		t.Errorf("what was removed cannot be pushed again: %v", err)
	}
}

func TestCollectUntagged(t *testing.T) {
	reg := open(t, registry.Options{})
	via := remote.WithTransport(reg.Transport())
	subject := image(t, 512, 1)
	digests := map[string]string{
		"tagged": write(t, reg, "store.local/a:v1", subject),
		"loose":  write(t, reg, "store.local/a:moved", image(t, 512, 1)),
	}
	write(t, reg, "store.local/a:moved", image(t, 512, 1)) // the tag leaves the loose one
	byDigest := func(img v1.Image) string {
		d, err := img.Digest()
		if err != nil {
			t.Fatal(err)
		}
		return write(t, reg, "store.local/a@"+d.String(), img)
	}
	sbom := referrerOf(t, subject, "application/spdx+json", "sbom")
	digests["sbom"] = byDigest(sbom)
	digests["signature of the sbom"] = byDigest(referrerOf(t, sbom, "application/sig", "sig"))
	digests["orphan"] = byDigest(referrerOf(t, image(t, 512, 1), "application/sig", "of what never was"))
	index, err := random.Index(512, 1, 2)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.WriteIndex(ref(t, "store.local/a:index"), index, via); err != nil {
		t.Fatal(err)
	}
	manifest, _ := index.IndexManifest()
	digests["image of an index"] = manifest.Manifests[0].Digest.String()

	if report := collect(t, reg, registry.CollectOptions{Untagged: true}); report.Manifests != 0 {
		t.Errorf("removed %d manifests within the grace", report.Manifests)
	}
	report := collect(t, reg, registry.CollectOptions{Grace: noGrace, Untagged: true})
	if report.Manifests != 2 || report.Blobs != 6 {
		t.Errorf("got %+v, want 2 manifests and 6 blobs removed", report)
	}
	for what, want := range map[string]int{
		"tagged": 200, "loose": 404, "sbom": 200, "signature of the sbom": 200, "orphan": 404, "image of an index": 200,
	} {
		if got := status(t, reg, http.MethodGet, "/v2/a/manifests/"+digests[what]); got != want {
			t.Errorf("%s answers %d, want %d", what, got, want)
		}
	}
	if got := status(t, reg, http.MethodDelete, "/v2/a/manifests/"+digests["tagged"]); got != http.StatusAccepted {
		t.Fatalf("delete answered %d", got)
	}
	report = collect(t, reg, registry.CollectOptions{Grace: noGrace, Untagged: true})
	if report.Manifests != 2 {
		t.Errorf("removed %d manifests with their subject, want its sbom and that one's signature", report.Manifests)
	}
}

// TestCollectSignatureTags: what lies below tags made of an image's digest goes with the
// image, but not from a repository that keeps nothing else.
func TestCollectSignatureTags(t *testing.T) {
	reg := open(t, registry.Options{})
	signatureOf := func(repo, digest string) string {
		tag := strings.Replace(digest, ":", "-", 1) + ".sig"
		write(t, reg, "store.local/"+repo+":"+tag, image(t, 256, 1))
		return "/v2/" + repo + "/manifests/" + tag
	}
	here := write(t, reg, "store.local/a:v1", image(t, 512, 1))
	gone := write(t, reg, "store.local/a:v2", image(t, 512, 1))
	write(t, reg, "store.local/a:v2", image(t, 512, 1)) // the tag moves on
	wants := map[string]int{
		signatureOf("a", here):          200,
		signatureOf("a", gone):          404,
		signatureOf("signatures", gone): 200,
	}
	report := collect(t, reg, registry.CollectOptions{Grace: noGrace, Untagged: true})
	if report.Manifests != 2 || report.Tags != 1 {
		t.Errorf("got %+v, want the image, its signature and that one's tag removed", report)
	}
	for path, want := range wants {
		if got := status(t, reg, http.MethodGet, path); got != want {
			t.Errorf("%s answers %d, want %d", path, got, want)
		}
	}
}

// TestCollectKnowsOtherAlgorithms: what a manifest names by sha512 the store keeps by
// sha256.
func TestCollectKnowsOtherAlgorithms(t *testing.T) {
	reg := open(t, registry.Options{})
	client := &http.Client{Transport: reg.Transport()}
	manifest, manifestDigest := pushSHA512(t, client, "a")
	report := collect(t, reg, registry.CollectOptions{Grace: noGrace, Untagged: true})
	if report.Blobs != 0 || report.Manifests != 0 {
		t.Errorf("removed %+v of a tagged image", report)
	}
	resp, err := client.Get("http://store.local/v2/a/manifests/" + manifestDigest)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != 200 || resp.ContentLength != int64(len(manifest)) {
		t.Errorf("the manifest answers %s with %d bytes", resp.Status, resp.ContentLength)
	}
	if got := status(t, reg, http.MethodDelete, "/v2/a/manifests/"+manifestDigest); got != http.StatusAccepted {
		t.Fatalf("delete answered %d", got)
	}
	report = collect(t, reg, registry.CollectOptions{Grace: noGrace})
	if report.Blobs != 3 || report.Links != 4 || report.Tags != 1 {
		t.Errorf("got %+v, want 3 blobs, their 4 links and the tag removed", report)
	}
}

func TestCollectRemovesWhatWasInterrupted(t *testing.T) {
	root := t.TempDir()
	reg := open(t, registry.Options{Root: root})
	write(t, reg, "store.local/a:v1", image(t, 512, 1))
	layout := filepath.Join(root, "docker", "registry", "v2")
	hex := strings.Repeat("ab", 32)
	for _, left := range []string{
		"repositories/a/_uploads/1b4e28ba-2fa1-11d2-883f-0016d3cca427/data",
		"repositories/a/_uploads/1b4e28ba-2fa1-11d2-883f-0016d3cca427/startedat",
		"repositories/a/_manifests/tags/half/index/sha256/" + hex + "/link",
		"blobs/sha256/ab/" + hex + "/data.1b4e28ba.tmp",
	} {
		file := filepath.Join(layout, left)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte("sha256:"+hex), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	entry := filepath.Join(root, "plimsoll/referrers/v1/a/_subjects/sha256", hex, "sha256-"+hex)
	if err := os.MkdirAll(filepath.Dir(entry), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(entry, []byte("{}"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := filepath.WalkDir(root, func(p string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		old := time.Now().Add(-48 * time.Hour)
		return os.Chtimes(p, old, old)
	}); err != nil {
		t.Fatal(err)
	}
	got := collect(t, reg, registry.CollectOptions{})
	want := registry.CollectReport{Repositories: 1, Kept: 3, Blobs: 1, Tags: 1, Referrers: 1, Uploads: 1}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if err := pull(reg, ref(t, "store.local/a:v1")); err != nil {
		t.Error(err)
	}
}

func TestCollectRefuses(t *testing.T) {
	root := t.TempDir()
	open(t, registry.Options{Root: root})
	reg := open(t, registry.Options{Root: root, ReadOnly: true})
	_, err := reg.Collect(context.Background(), registry.CollectOptions{})
	if fault.KindOf(err) != fault.Usage {
		t.Errorf("a read-only store was collected: %v", err)
	}
	if _, err := reg.Collect(context.Background(), registry.CollectOptions{DryRun: true}); err != nil {
		t.Errorf("a dry run on a read-only store: %v", err)
	}
}

func TestRebuildMakesTheReferrersAgain(t *testing.T) {
	root := t.TempDir()
	reg := open(t, registry.Options{Root: root})
	subject := image(t, 64, 1)
	digest := write(t, reg, "store.local/a/b:v1", subject)
	for i := range 3 {
		write(t, reg, fmt.Sprintf("store.local/a/b:r%d", i), referrerOf(t, subject, "application/spdx+json", fmt.Sprint(i)))
	}
	list := func() []v1.Descriptor {
		index, err := remote.Referrers(ref(t, "store.local/a/b@"+digest).(name.Digest), remote.WithTransport(reg.Transport()))
		if err != nil {
			t.Fatal(err)
		}
		m, err := index.IndexManifest()
		if err != nil {
			t.Fatal(err)
		}
		return m.Manifests
	}
	want := list()
	if err := os.RemoveAll(filepath.Join(root, "plimsoll")); err != nil {
		t.Fatal(err)
	}
	if got := list(); len(got) != 0 {
		t.Fatalf("%d referrers without an index", len(got))
	}
	report, err := reg.Rebuild(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(registry.RebuildReport{Repositories: 1, Manifests: 4, Referrers: 3}, report); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(want, list()); diff != "" {
		t.Error(diff)
	}
	if len(want) != 3 || want[0].MediaType != types.OCIManifestSchema1 {
		t.Errorf("listed %v", want)
	}
}
