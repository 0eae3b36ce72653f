package registry_test

import (
	"context"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"plimsoll.dev/plimsoll/internal/registry"
)

func open(t testing.TB, o registry.Options) *registry.Registry {
	t.Helper()
	if o.Root == "" {
		o.Root = filepath.Join(t.TempDir(), "store")
	}
	r, err := registry.Open(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

func ref(t testing.TB, s string) name.Reference {
	t.Helper()
	r, err := name.ParseReference(s)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func image(t testing.TB, size int64, layers int64) v1.Image {
	t.Helper()
	img, err := random.Image(size, layers)
	if err != nil {
		t.Fatal(err)
	}
	return mutate.ConfigMediaType(mutate.MediaType(img, types.OCIManifestSchema1), types.OCIConfigJSON)
}

// referrerOf gives an artifact whose subject is the image.
func referrerOf(t testing.TB, subject v1.Image, artifactType, note string) v1.Image {
	t.Helper()
	desc, err := subjectDescriptor(subject)
	if err != nil {
		t.Fatal(err)
	}
	img := mutate.ConfigMediaType(mutate.MediaType(image(t, 64, 1), types.OCIManifestSchema1), types.MediaType(artifactType))
	img = mutate.Annotations(img, map[string]string{"note": note}).(v1.Image)
	return mutate.Subject(img, desc).(v1.Image)
}

func subjectDescriptor(img v1.Image) (v1.Descriptor, error) {
	d, err := img.Digest()
	if err != nil {
		return v1.Descriptor{}, err
	}
	size, err := img.Size()
	if err != nil {
		return v1.Descriptor{}, err
	}
	mt, err := img.MediaType()
	return v1.Descriptor{Digest: d, Size: size, MediaType: mt}, err
}

func TestTransportPushesAndPulls(t *testing.T) {
	via := remote.WithTransport(open(t, registry.Options{}).Transport())
	img := image(t, 3<<20, 3)
	if err := remote.Write(ref(t, "store.local/team/app:1.0"), img, via); err != nil {
		t.Fatal(err)
	}
	pulled, err := remote.Image(ref(t, "store.local/team/app:1.0"), via)
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Image(pulled); err != nil {
		t.Error(err)
	}
	index, err := random.Index(1024, 2, 3)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.WriteIndex(ref(t, "store.local/team/app:multi"), index, via); err != nil {
		t.Fatal(err)
	}
	tags, err := remote.List(ref(t, "store.local/team/app:x").Context(), via)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"1.0", "multi"}, tags); diff != "" {
		t.Error(diff)
	}
}

func TestReferrersAreListed(t *testing.T) {
	reg := open(t, registry.Options{})
	via := remote.WithTransport(reg.Transport())
	subject := image(t, 128, 1)
	digest, err := subject.Digest()
	if err != nil {
		t.Fatal(err)
	}
	repo := "store.local/team/app"
	sbom := referrerOf(t, subject, "application/spdx+json", "the sbom")
	sig := referrerOf(t, subject, "application/vnd.dev.sigstore.bundle.v0.3+json", "the signature")
	for tag, img := range map[string]v1.Image{"app": subject, "sbom": sbom, "sig": sig} {
		if err := remote.Write(ref(t, repo+":"+tag), img, via); err != nil {
			t.Fatal(err)
		}
	}
	listed := func(options ...remote.Option) []string {
		index, err := remote.Referrers(ref(t, repo+"@"+digest.String()).(name.Digest), append(options, via)...)
		if err != nil {
			t.Fatal(err)
		}
		m, err := index.IndexManifest()
		if err != nil {
			t.Fatal(err)
		}
		notes := []string{}
		for _, d := range m.Manifests {
			notes = append(notes, d.ArtifactType+": "+d.Annotations["note"])
		}
		return notes
	}
	if got := listed(); len(got) != 2 {
		t.Fatalf("listed %q, want both referrers", got)
	}
	want := []string{"application/spdx+json: the sbom"}
	if diff := cmp.Diff(want, listed(remote.WithFilter("artifactType", "application/spdx+json"))); diff != "" {
		t.Error(diff)
	}
	sbomDigest, _ := sbom.Digest()
	if err := remote.Delete(ref(t, repo+"@"+sbomDigest.String()), via); err != nil {
		t.Fatal(err)
	}
	want = []string{"application/vnd.dev.sigstore.bundle.v0.3+json: the signature"}
	if diff := cmp.Diff(want, listed()); diff != "" {
		t.Error(diff)
	}
}

func TestReferrersOfTheUnknownAreNone(t *testing.T) {
	client := http.Client{Transport: open(t, registry.Options{}).Transport()}
	resp, err := client.Get("http://store.local/v2/no/such/referrers/sha256:" + strings.Repeat("0", 64))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != string(types.OCIImageIndex) {
		t.Errorf("got %s %s, want 200 and an index", resp.Status, resp.Header.Get("Content-Type"))
	}
}
