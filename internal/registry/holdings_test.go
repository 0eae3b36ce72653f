package registry

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"
)

// asking gives a registry and a way to ask it, which fails the test on another status.
func asking(t *testing.T) (*Registry, func(method, path, body string, want int) http.Header) {
	t.Helper()
	reg, err := Open(t.Context(), Options{Root: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { reg.Close() })
	return reg, func(method, path, body string, want int) http.Header {
		t.Helper()
		r := httptest.NewRequest(method, path, strings.NewReader(body))
		if strings.Contains(path, "/manifests/") {
			r.Header.Set("Content-Type", "application/vnd.oci.image.index.v1+json")
		}
		w := httptest.NewRecorder()
		reg.Handler().ServeHTTP(w, r)
		if w.Code != want {
			t.Fatalf("%s %s: %d %s", method, path, w.Code, w.Body)
		}
		return w.Header()
	}
}

const emptyIndex = `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}`

func TestHoldings(t *testing.T) {
	reg, ask := asking(t)
	blob, index := digest.FromString("blob"), digest.FromString(emptyIndex)
	longer := digest.SHA512.FromString("longer")
	ask("POST", "/v2/team/app/blobs/uploads/?digest="+blob.String(), "blob", 201)
	ask("POST", "/v2/team/app/blobs/uploads/?digest="+longer.String(), "longer", 201)
	ask("PUT", "/v2/team/app/manifests/v1", emptyIndex, 201)
	ask("PUT", "/v2/team/app/manifests/v2", emptyIndex, 201)
	ask("DELETE", "/v2/team/app/manifests/v2", "", 202)
	begun := ask("POST", "/v2/team/app/blobs/uploads/", "", 202).Get("Location")
	ask("PATCH", begun, "half", 202)

	got, err := reg.Holdings(t.Context(), "team/app")
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(got.Blobs)
	want := slices.Sorted(slices.Values([]digest.Digest{blob, index, digest.FromString("longer")}))
	if diff := cmp.Diff(want, got.Blobs); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"v1"}, got.Tags); diff != "" {
		t.Error(diff)
	}
	for _, upload := range got.Uploads {
		if upload.Bytes != 4 || upload.Changed.IsZero() {
			t.Errorf("%+v", upload)
		}
	}
	if len(got.Uploads) != 1 {
		t.Errorf("%d uploads are under way, want 1", len(got.Uploads))
	}
	sizes, err := reg.Sizes(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[digest.Digest]int64{blob: 4, index: int64(len(emptyIndex)), digest.FromString("longer"): 6}, sizes); diff != "" {
		t.Error(diff)
	}
	for _, d := range []digest.Digest{blob, index, longer} {
		canonical, size, ok, err := reg.Size(t.Context(), "team/app", d)
		if err != nil || !ok || size != sizes[canonical] {
			t.Errorf("%s: %s has %d bytes, %t, %v", d, canonical, size, ok, err)
		}
		if _, _, ok, err := reg.Size(t.Context(), "team/other", d); ok || err != nil {
			t.Errorf("%s is in another repository: %v", d, err)
		}
	}
}

func TestUntagLeavesATagThatMoved(t *testing.T) {
	reg, ask := asking(t)
	other := strings.Replace(emptyIndex, "{", `{"annotations":{},`, 1)
	ask("PUT", "/v2/team/app/manifests/v1", emptyIndex, 201)
	ask("PUT", "/v2/team/app/manifests/v1", other, 201)
	untag := func(was string) bool {
		t.Helper()
		done, err := reg.Untag(t.Context(), "team/app", "v1", digest.FromString(was))
		if err != nil {
			t.Fatal(err)
		}
		return done
	}
	if untag(emptyIndex) {
		t.Error("a tag was removed that names another manifest by now")
	}
	ask("GET", "/v2/team/app/manifests/v1", "", 200)
	if !untag(other) || untag(other) {
		t.Error("want it to be removed, once")
	}
	ask("GET", "/v2/team/app/manifests/v1", "", 404)
	ask("GET", "/v2/team/app/manifests/"+digest.FromString(other).String(), "", 200)
}

func TestWithin(t *testing.T) {
	reg, ask := asking(t)
	outer := strings.Replace(emptyIndex, "[]", `[{"mediaType":"application/vnd.oci.image.index.v1+json","digest":"`+
		digest.FromString(emptyIndex).String()+`","size":1}]`, 1)
	ask("PUT", "/v2/team/app/manifests/"+digest.FromString(emptyIndex).String(), emptyIndex, 201)
	ask("PUT", "/v2/team/app/manifests/v1", outer, 201)
	got, err := reg.Within(t.Context(), "team/app", "v1")
	if diff := cmp.Diff([]digest.Digest{digest.FromString(outer), digest.FromString(emptyIndex)}, got); diff != "" || err != nil {
		t.Error(diff, err)
	}
	if got, err := reg.Within(t.Context(), "team/app", "v9"); len(got) > 0 || err != nil {
		t.Error(got, err)
	}
}

// What is untagged is collected where it is wanted, when it is old enough, unless it is to be
// retained.
func TestCollectUntaggedByRepository(t *testing.T) {
	reg, ask := asking(t)
	d := digest.FromString(emptyIndex)
	repos := []string{"a/app", "b/app", "c/app", "d/app"}
	for _, repo := range repos {
		ask("PUT", "/v2/"+repo+"/manifests/"+d.String(), emptyIndex, 201)
	}
	report, err := reg.Collect(t.Context(), CollectOptions{
		Grace: time.Nanosecond, Untagged: true,
		UntaggedAfter: func(repo string) (time.Duration, bool) {
			if repo == "c/app" {
				return time.Hour, true
			}
			return 0, repo != "b/app"
		},
		Retain: func(repo string, retained digest.Digest) bool { return repo == "d/app" && retained == d },
	})
	if err != nil || report.Manifests != 1 {
		t.Fatalf("%+v, %v", report, err)
	}
	for i, repo := range repos {
		want := 200
		if i == 0 {
			want = 404
		}
		ask("GET", "/v2/"+repo+"/manifests/"+d.String(), "", want)
	}
}
