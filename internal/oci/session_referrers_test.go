package oci

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"plimsoll.dev/plimsoll/internal/fault"
)

// listing gives an index of n referrers, numbered from first.
func listing(t *testing.T, first, n int) (raw []byte, digests []string) {
	t.Helper()
	index := v1.IndexManifest{SchemaVersion: 2, MediaType: types.OCIImageIndex, Manifests: []v1.Descriptor{}}
	for i := range n {
		d := describe(t, types.OCIManifestSchema1, fmt.Append(nil, first+i))
		index.Manifests = append(index.Manifests, d)
		digests = append(digests, d.Digest.String())
	}
	raw, err := json.Marshal(index)
	if err != nil {
		t.Fatal(err)
	}
	return raw, digests
}

func TestReferrersFollowPages(t *testing.T) {
	one, first := listing(t, 0, 2)
	two, second := listing(t, 2, 1)
	s, host := harbour(t, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if !strings.Contains(r.URL.Path, "/referrers/") {
				next.ServeHTTP(w, r)
				return
			}
			w.Header().Set("Content-Type", string(types.OCIImageIndex))
			if r.URL.Query().Get("last") != "" {
				_, _ = w.Write(two)
				return
			}
			w.Header().Set("Link", `<https://elsewhere.example`+r.URL.Path+`?last=2>; rel="next"`)
			_, _ = w.Write(one)
		})
	})
	found, err := s.Referrers(t.Context(), parsed(t, host+"/app:1"), describe(t, "", []byte("subject")).Digest)
	if err != nil {
		t.Fatal(err)
	}
	got := []string{}
	for _, d := range found.Manifests {
		got = append(got, d.Digest.String())
	}
	if diff := cmp.Diff(append(first, second...), got); diff != "" || found.Tagged {
		t.Errorf("-want +got\n%s", diff)
	}
}

func TestReferrersEndSomewhere(t *testing.T) {
	many, _ := listing(t, 0, maxReferrers+1)
	few, _ := listing(t, 0, 1)
	for name, page := range map[string][]byte{"too many": many, "no end": few} {
		s, host := harbour(t, func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Type", string(types.OCIImageIndex))
				w.Header().Set("Link", `<?last=1>; rel="next"`)
				_, _ = w.Write(page)
			})
		})
		if _, err := s.Referrers(t.Context(), parsed(t, host+"/app:1"), describe(t, "", nil).Digest); err == nil || !strings.Contains(err.Error(), "more than") {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

// TestReferrersByTag reads the index that stands for the API, and takes a tag of that name
// on something else for none.
func TestReferrersByTag(t *testing.T) {
	s, host := harbour(t, plain) // this registry has no referrers API
	ref := parsed(t, host+"/app:1")
	store(t, s, ref, []byte("layer"))
	m, err := s.Manifest(t.Context(), ref)
	if err != nil {
		t.Fatal(err)
	}
	list := func() int {
		t.Helper()
		found, err := s.Referrers(t.Context(), ref, m.Digest)
		if err != nil || !found.Tagged {
			t.Fatalf("got %+v, %v", found, err)
		}
		return len(found.Manifests)
	}
	if n := list(); n != 0 {
		t.Errorf("without the tag: %d", n)
	}
	if _, err := s.PutManifest(t.Context(), ref.ReferrersTag(m.Digest), m.MediaType, m.Raw); err != nil {
		t.Fatal(err)
	}
	if n := list(); n != 0 {
		t.Errorf("with an image of that tag: %d", n)
	}
	raw, err := json.Marshal(v1.IndexManifest{SchemaVersion: 2, MediaType: types.OCIImageIndex, Manifests: []v1.Descriptor{m.Descriptor}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.PutManifest(t.Context(), ref.ReferrersTag(m.Digest), types.OCIImageIndex, raw); err != nil {
		t.Fatal(err)
	}
	if n := list(); n != 1 {
		t.Errorf("with the index: %d", n)
	}
}

func TestBlob(t *testing.T) {
	s, host := harbour(t, plain)
	ref := parsed(t, host+"/app:1")
	there := store(t, s, ref, []byte("layer"))
	if data, err := s.Blob(t.Context(), ref, there); err != nil || string(data) != "layer" {
		t.Errorf("got %q, %v", data, err)
	}
	for name, d := range map[string]v1.Descriptor{
		"longer": {Digest: there.Digest, Size: there.Size - 1}, "shorter": {Digest: there.Digest, Size: there.Size + 1},
		"too large": {Digest: there.Digest, Size: maxBlob + 1}, "gone": describe(t, "", []byte("gone")),
	} {
		if _, err := s.Blob(t.Context(), ref, d); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestDelete(t *testing.T) {
	refuses := false
	s, host := harbour(t, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodDelete && refuses {
				w.WriteHeader(http.StatusMethodNotAllowed)
				return
			}
			next.ServeHTTP(w, r)
		})
	})
	ref := parsed(t, host+"/app:1")
	store(t, s, ref, []byte("layer"))
	m, err := s.Manifest(t.Context(), ref)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name    string
		refuses bool
		want    bool
	}{{"refused", true, false}, {"there", false, true}, {"gone", false, true}} {
		refuses = c.refuses
		if got, err := s.Delete(t.Context(), ref.At(m.Digest)); err != nil || got != c.want {
			t.Errorf("%s: got %t, %v", c.name, got, err)
		}
	}
	if _, err := s.Manifest(t.Context(), ref.At(m.Digest)); err == nil {
		t.Error("it is still there")
	}
}

// TestDeniedIsToldPlainly: what a registry adds for programs is not shown to people, and who is
// denied is not sent to log in.
func TestDeniedIsToldPlainly(t *testing.T) {
	s, host := harbour(t, func(http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusForbidden)
			_, _ = w.Write([]byte(`{"errors":[{"code":"DENIED","message":"app is quarantined: unsigned","detail":{"digest":"sha256:0"}}]}`))
		})
	})
	_, err := s.Referrers(t.Context(), parsed(t, host+"/app:1"), describe(t, "", []byte("subject")).Digest)
	var told *fault.Error
	if !errors.As(err, &told) || told.Kind != fault.Denied {
		t.Fatalf("got %v", err)
	}
	if !strings.HasSuffix(err.Error(), "DENIED: app is quarantined: unsigned") || !strings.Contains(told.Hint, "inspect") {
		t.Errorf("got %q with the hint %q", err, told.Hint)
	}
}
