package quota_test

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	"k8s.io/apimachinery/pkg/api/resource"

	"plimsoll.dev/plimsoll/api/v1alpha1"
	"plimsoll.dev/plimsoll/internal/registry"
	"plimsoll.dev/plimsoll/internal/registry/quota"
	"plimsoll.dev/plimsoll/internal/registry/settings"
)

// bed is a registry behind its quotas, served on the loopback.
type bed struct {
	*testing.T
	reg     *registry.Registry
	quotas  *quota.Quotas
	server  *httptest.Server
	setting *settings.Settings
}

// serve gives one whose project "team" has the quota; "free" is another project.
func serve(t *testing.T, q *v1alpha1.RegistryQuota) *bed {
	t.Helper()
	reg, err := registry.Open(t.Context(), registry.Options{Root: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { reg.Close() })
	b := &bed{T: t, reg: reg, setting: parse(t, q)}
	b.quotas, err = quota.Open(t.Context(), reg, func() *settings.Settings { return b.setting }, quota.Options{})
	if err != nil {
		t.Fatal(err)
	}
	b.server = httptest.NewServer(b.quotas.Door(reg.Handler()))
	t.Cleanup(b.server.Close)
	return b
}

func parse(t *testing.T, q *v1alpha1.RegistryQuota) *settings.Settings {
	t.Helper()
	spec := v1alpha1.RegistrySpec{Projects: []v1alpha1.RegistryProject{{Name: "team", Quota: q}, {Name: "free"}}}
	text, err := json.Marshal(map[string]any{
		"apiVersion": v1alpha1.APIVersion, "kind": v1alpha1.RegistryKind, "metadata": map[string]any{"name": "here"}, "spec": spec,
	})
	if err != nil {
		t.Fatal(err)
	}
	s, err := settings.Parse(text, t.TempDir(), quota.Check)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// ask gives the status, the header and what the error says.
func (b *bed) ask(method, path string, body io.Reader) (int, http.Header, string) {
	b.Helper()
	if !strings.HasPrefix(path, "http") {
		path = b.server.URL + path
	}
	r, err := http.NewRequestWithContext(b.Context(), method, path, body)
	if err != nil {
		b.Fatal(err)
	}
	if strings.Contains(path, "/manifests/") {
		r.Header.Set("Content-Type", "application/vnd.oci.image.index.v1+json")
	}
	resp, err := b.server.Client().Do(r)
	if err != nil {
		b.Error(err)
		return 0, nil, ""
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, resp.Header, string(text)
}

func (b *bed) want(want int, method, path string, body io.Reader) http.Header {
	b.Helper()
	status, header, text := b.ask(method, path, body)
	if status != want {
		b.Fatalf("%s %s: %d %s, want %d", method, path, status, text, want)
	}
	return header
}

func (b *bed) usage(project string) quota.Usage {
	b.Helper()
	for _, u := range b.quotas.Usage() {
		if u.Project == project {
			return u
		}
	}
	b.Fatalf("no usage of %q", project)
	return quota.Usage{}
}

func random(n int) []byte {
	content := make([]byte, n)
	rand.Read(content)
	return content
}

func post(repository string, content []byte) string {
	return "/v2/" + repository + "/blobs/uploads/?digest=" + digest.FromBytes(content).String()
}

// unsized keeps the client from telling a body's length.
func unsized(content []byte) io.Reader { return struct{ io.Reader }{bytes.NewReader(content)} }

func index(i int) string {
	return fmt.Sprintf(`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[],"annotations":{"i":"%04d"}}`, i)
}

func bytesOf(n int64) *v1alpha1.RegistryQuota {
	return &v1alpha1.RegistryQuota{Bytes: *resource.NewQuantity(n, resource.BinarySI)}
}
