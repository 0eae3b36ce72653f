package registry

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"plimsoll.dev/plimsoll/internal/registry/call"
)

// FuzzManifest holds the front's reader against what it promises: no panic, and what it
// takes says one thing to every reader.
func FuzzManifest(f *testing.F) {
	d := "sha256:" + strings.Repeat("0a", 32)
	for _, seed := range []string{
		``, `{}`, `[]`, `null`, `{"schemaVersion":2}{}`,
		`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{"digest":"` + d + `","size":1,"platform":null}]}`,
		`{"schemaVersion":2,"artifactType":"a/b","config":{"mediaType":"application/vnd.oci.empty.v1+json","digest":"` + d + `","size":2,"data":"e30="},"layers":[],"subject":{"digest":"` + d + `"}}`,
		`{"layers":[],"LAYERS":[]}`, `{"layers":[],"layer\u017f":[]}`, `{"layers":null,"config":null,"annotations":{"a":"1","A":"2"}}`,
		`{"subject":{"digest":"sha512:00"}}`, `{"a":` + strings.Repeat("[", 200) + strings.Repeat("]", 200) + `}`,
		`{"layers":[{"digest":"` + d + `","digest":"x"}]}`, `{"size":1e400}`, "{\"\\ud800\":1}",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		m, err := parseManifest(content)
		if err != nil {
			return
		}
		if !json.Valid(content) {
			t.Fatal("took what is not JSON")
		}
		if m.Subject != nil && m.Subject.Digest.Validate() != nil {
			t.Fatal("took a subject without a digest")
		}
		if m.kind() == "" {
			t.Fatal("gave no media type")
		}
		alg := m.algorithm()
		if !alg.Available() {
			t.Fatalf("gave the algorithm %q", alg)
		}
		entry, err := json.Marshal(m.referrer(digest.FromBytes(content), int64(len(content))))
		if err != nil || !json.Valid(entry) {
			t.Fatalf("gave an entry that cannot be kept: %v", err)
		}
		var exact map[string]json.RawMessage
		if err := json.Unmarshal(content, &exact); err != nil {
			t.Fatal(err)
		}
		for key := range exact {
			for other := range exact {
				if key != other && strings.EqualFold(key, other) {
					t.Fatalf("took the keys %q and %q", key, other)
				}
			}
		}
	})
}

func FuzzRoute(f *testing.F) {
	for _, path := range []string{"/v2/", "/v2/a/b/manifests/x", "/v2/a/blobs/uploads/", "/v2/../manifests/x", "/v2/a/referrers/sha256:0", "/v2/a/tags/list"} {
		f.Add(path)
	}
	f.Fuzz(func(t *testing.T, path string) {
		to, ok := call.Parse(path)
		if !ok || !call.IsRepository(to.Repository) {
			return
		}
		if strings.Contains(to.Repository, "..") || strings.HasPrefix(to.Repository, "/") || strings.Contains(to.Repository, "/_") {
			t.Fatalf("took the repository %q", to.Repository)
		}
	})
}
