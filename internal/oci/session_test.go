package oci

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/authn"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"plimsoll.dev/plimsoll/internal/fault"
)

// harbour serves a registry behind what the test puts before it, and gives a session.
func harbour(t *testing.T, before func(next http.Handler) http.Handler) (*Session, string) {
	t.Helper()
	server := httptest.NewServer(before(quiet()))
	t.Cleanup(server.Close)
	return (&Registries{Keys: authn.NewMultiKeychain()}).Session(), strings.TrimPrefix(server.URL, "http://")
}

func plain(next http.Handler) http.Handler { return next }

func parsed(t *testing.T, text string) Reference {
	t.Helper()
	ref, err := Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return ref
}

// store pushes a blob and a manifest that names it, by the session.
func store(t *testing.T, s *Session, ref Reference, data []byte) v1.Descriptor {
	t.Helper()
	config := []byte(`{"os":"linux","architecture":"amd64","config":{},"rootfs":{"type":"layers","diff_ids":[]}}`)
	for _, blob := range [][]byte{data, config} {
		if _, err := s.PutBlob(t.Context(), ref, blob); err != nil {
			t.Fatal(err)
		}
	}
	layer := describe(t, types.OCILayer, data)
	raw, err := json.Marshal(v1.Manifest{
		SchemaVersion: 2, MediaType: types.OCIManifestSchema1,
		Config: describe(t, types.OCIConfigJSON, config), Layers: []v1.Descriptor{layer},
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.PutManifest(t.Context(), ref, types.OCIManifestSchema1, raw); err != nil {
		t.Fatal(err)
	}
	return layer
}

func describe(t *testing.T, mediaType types.MediaType, data []byte) v1.Descriptor {
	t.Helper()
	digest, size, err := v1.SHA256(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	return v1.Descriptor{MediaType: mediaType, Digest: digest, Size: size}
}

func TestSession(t *testing.T) {
	s, host := harbour(t, plain)
	ref := parsed(t, host+"/team/app:1")
	layer := store(t, s, ref, []byte("layer"))
	m, err := s.Manifest(t.Context(), ref)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]v1.Descriptor{layer}, m.Image.Layers); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	config, err := s.Config(t.Context(), ref, m.Image)
	if err != nil || config.Architecture != "amd64" {
		t.Errorf("got %+v, %v", config, err)
	}
	if now, err := s.Head(t.Context(), ref); err != nil || now != m.Digest {
		t.Errorf("want %s, got %s, %v", m.Digest, now, err)
	}
	if same, err := s.Manifest(t.Context(), ref.At(m.Digest)); err != nil || same.Digest != m.Digest {
		t.Errorf("by digest: %v, %v", same.Digest, err)
	}
	if ref.Repository() != host+"/team/app" || parsed(t, "team/app:1").Repository() != "team/app" {
		t.Errorf("repositories %s and %s", ref.Repository(), parsed(t, "team/app:1").Repository())
	}
	_, err = s.Manifest(t.Context(), parsed(t, host+"/team/app:2"))
	if fault.KindOf(err) != fault.NotFound || fault.HintOf(err) == "" {
		t.Errorf("want not found with a hint, got %v", err)
	}
}

// TestCopy brings a blob to another repository, to another registry, and back; many at a
// time bring it once.
func TestCopy(t *testing.T) {
	var uploads, mounts atomic.Int32
	count := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			switch {
			case r.URL.Query().Has("mount"):
				mounts.Add(1)
			case r.Method == http.MethodPost:
				uploads.Add(1)
			}
			next.ServeHTTP(w, r)
		})
	}
	s, host := harbour(t, count)
	_, far := harbour(t, plain)
	data := make([]byte, 1<<20)
	_, _ = rand.Read(data)
	from := parsed(t, far+"/base:1")
	layer := store(t, s, from, data)
	var sent atomic.Int64
	var all sync.WaitGroup
	for range 16 {
		all.Go(func() {
			n, err := s.Copy(context.Background(), parsed(t, host+"/app:1"), from, layer)
			if err != nil {
				t.Error(err)
			}
			sent.Add(n)
		})
	}
	all.Wait()
	if sent.Load() != layer.Size || uploads.Load() != 1 {
		t.Errorf("want it sent once, got %d bytes in %d uploads", sent.Load(), uploads.Load())
	}
	near := parsed(t, host+"/app:1")
	if n, err := s.Copy(t.Context(), parsed(t, host+"/other:1"), near, layer); err != nil || n != 0 || mounts.Load() != 1 {
		t.Errorf("want a mount, got %d bytes, %d mounts, %v", n, mounts.Load(), err)
	}
	if n, err := s.Copy(t.Context(), parsed(t, host+"/other:2"), near, layer); err != nil || n != 0 || mounts.Load() != 1 {
		t.Errorf("want it known, got %d bytes, %d mounts, %v", n, mounts.Load(), err)
	}
	gone := describe(t, types.OCILayer, []byte("gone"))
	if _, err := s.Copy(t.Context(), near, from, gone); err == nil || !strings.Contains(err.Error(), gone.Digest.String()) {
		t.Errorf("want the missing layer named, got %v", err)
	}
}

// TestMountRefused sends the blob where the registry does not mount.
func TestMountRefused(t *testing.T) {
	for _, status := range []int{http.StatusAccepted, http.StatusForbidden} {
		s, host := harbour(t, func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Query().Has("mount") {
					w.Header().Set("Location", "/v2/app/blobs/uploads/1")
					w.WriteHeader(status)
					return
				}
				next.ServeHTTP(w, r)
			})
		})
		from := parsed(t, host+"/base:1")
		layer := store(t, s, from, []byte("layer"))
		// This registry keeps blobs for all repositories together, so it is there.
		if n, err := s.Copy(t.Context(), parsed(t, host+"/app:1"), from, layer); err != nil || n != 0 {
			t.Errorf("%d: got %d bytes, %v", status, n, err)
		}
	}
}

// TestWholeUploads sends small blobs in one request where the registry takes them so, and
// asks in vain only once where it does not.
func TestWholeUploads(t *testing.T) {
	const uploads = "/v2/team/app/blobs/uploads/"
	for _, c := range []struct {
		name   string
		answer func(w http.ResponseWriter, next func()) // to a blob in a POST
		want   []string
	}{
		{"taken", func(_ http.ResponseWriter, next func()) { next() }, []string{"POST whole", "POST whole"}},
		{"begun", func(w http.ResponseWriter, _ func()) {
			w.Header().Set("Location", uploads+"1")
			w.WriteHeader(http.StatusAccepted)
		}, []string{"POST whole", "DELETE", "POST", "PUT", "POST", "PUT"}},
		{"refused", func(w http.ResponseWriter, _ func()) {
			w.WriteHeader(http.StatusMethodNotAllowed)
		}, []string{"POST whole", "POST", "PUT", "POST", "PUT"}},
		{"cut off", func(w http.ResponseWriter, _ func()) {
			if c, _, err := w.(http.Hijacker).Hijack(); err == nil {
				c.Close() // as one that falls over what it did not expect
			}
		}, []string{"POST whole", "POST", "PUT", "POST", "PUT"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel() // a failure that may pass is waited for
			var asked []string
			s, host := harbour(t, func(next http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if !strings.HasPrefix(r.URL.Path, uploads) {
						next.ServeHTTP(w, r)
						return
					}
					if r.Method == http.MethodPost && r.URL.Query().Has("digest") {
						asked = append(asked, "POST whole")
						c.answer(w, func() { next.ServeHTTP(w, r) })
						return
					}
					asked = append(asked, r.Method)
					next.ServeHTTP(w, r)
				})
			})
			ref := parsed(t, host+"/team/app:1")
			store(t, s, ref, []byte("layer"))
			if diff := cmp.Diff(c.want, asked); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
			large := make([]byte, smallBlob+1)
			asked = nil
			if _, err := s.PutBlob(t.Context(), ref, large); err != nil {
				t.Error(err)
			}
			if diff := cmp.Diff([]string{"POST", "PUT"}, asked); diff != "" {
				t.Errorf("large: -want +got\n%s", diff)
			}
		})
	}
}

// TestPassingFailures asks again after an answer of overload, with the whole body.
func TestPassingFailures(t *testing.T) {
	failed := map[string]bool{}
	var mu sync.Mutex
	s, host := harbour(t, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			mu.Lock()
			first := !failed[r.Method] && r.URL.Path != "/v2/"
			failed[r.Method] = failed[r.Method] || first
			mu.Unlock()
			if first {
				_, _ = io.Copy(io.Discard, r.Body)
				w.WriteHeader(http.StatusServiceUnavailable)
				return
			}
			next.ServeHTTP(w, r)
		})
	})
	ref := parsed(t, host+"/app:1")
	store(t, s, ref, []byte("layer"))
	if _, err := s.Manifest(t.Context(), ref); err != nil {
		t.Error(err)
	}
	if len(failed) != 3 {
		t.Errorf("want POST, PUT and GET to have failed once, got %v", failed)
	}
}

func TestRetryEndsWithTheContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	asked := 0
	err := retry(ctx, func() error {
		asked++
		cancel()
		return io.ErrUnexpectedEOF
	})
	if asked != 1 || err == nil {
		t.Errorf("want it to stop, asked %d times: %v", asked, err)
	}
}

// TestWrongBytes refuses what has another digest than was asked for.
func TestWrongBytes(t *testing.T) {
	s, host := harbour(t, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method != http.MethodGet || r.URL.Path == "/v2/" {
				next.ServeHTTP(w, r)
				return
			}
			w.Header().Set("Content-Type", string(types.OCIManifestSchema1))
			fmt.Fprint(w, `{"schemaVersion":2,"config":{},"layers":[]}`)
		})
	})
	ref := parsed(t, host+"/app:1")
	other := v1.Hash{Algorithm: "sha256", Hex: strings.Repeat("0", 64)}
	if _, err := s.Manifest(t.Context(), ref.At(other)); err == nil || !strings.Contains(err.Error(), "gave sha256:") {
		t.Errorf("manifest: %v", err)
	}
	if _, err := s.Config(t.Context(), ref, &v1.Manifest{Config: v1.Descriptor{Digest: other}}); err == nil || !strings.Contains(err.Error(), "other bytes") {
		t.Errorf("configuration: %v", err)
	}
}

func TestOutward(t *testing.T) {
	for address, allowed := range map[string]bool{
		"https://storage.example.com/x": true, "https://registry.example.com/y": true, "https://93.184.216.34/x": true,
		"https://169.254.169.254/latest": false, "https://10.0.0.1/x": false, "https://127.0.0.1/x": false, "https://[::1]/x": false, "https://[fd00::1]/x": false,
	} {
		first := httptest.NewRequest(http.MethodGet, "https://registry.example.com/v2/", nil)
		next := httptest.NewRequest(http.MethodGet, address, nil)
		if err := outward(next, []*http.Request{first}); (err == nil) != allowed {
			t.Errorf("%s: want allowed: %t, got %v", address, allowed, err)
		}
	}
}

// TestTokens logs in as registries with tokens want it: once for reading and once for
// writing a repository, and again for what a mount reads.
func TestTokens(t *testing.T) {
	var mu sync.Mutex
	var scopes []string
	s, host := harbour(t, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/token" {
				mu.Lock()
				scopes = append(scopes, strings.Join(r.URL.Query()["scope"], " "))
				mu.Unlock()
				fmt.Fprintf(w, `{"token":%q}`, strings.Join(r.URL.Query()["scope"], " "))
				return
			}
			want := "repository:" + repositoryOf(r.URL.Path) + ":pull"
			if r.Method != http.MethodGet && r.Method != http.MethodHead {
				want = "repository:" + repositoryOf(r.URL.Path) + ":push,pull"
			}
			if r.URL.Path == "/v2/" || !strings.Contains(r.Header.Get("Authorization"), want) {
				_, _ = io.Copy(io.Discard, r.Body)
				w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="http://%s/token",service="test",scope=%q`, r.Host, want))
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
			next.ServeHTTP(w, r)
		})
	})
	ref := parsed(t, host+"/app:1")
	store(t, s, ref, []byte("layer"))
	for range 3 {
		if _, err := s.Manifest(t.Context(), ref); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff([]string{"repository:app:push,pull", "repository:app:pull"}, scopes); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

// repositoryOf gives the first part of a path below /v2/.
func repositoryOf(path string) string {
	name, _, _ := strings.Cut(strings.TrimPrefix(path, "/v2/"), "/")
	return name
}

// TestMemoryOfRepositories has a session forget repositories and blobs when there are many.
func TestMemoryOfRepositories(t *testing.T) {
	s := (&Registries{}).Session()
	for i := range 2 * knownRepositories {
		s.keep(fmt.Sprint(i), &repository{})
	}
	if len(s.repositories) != knownRepositories || s.known(fmt.Sprint(2*knownRepositories-1)) == nil {
		t.Errorf("want the last of %d known, got %d", knownRepositories, len(s.repositories))
	}
	r := &repository{held: map[string]bool{}}
	for i := range 30_000 {
		r.learn(v1.Descriptor{Digest: v1.Hash{Hex: fmt.Sprint(i)}})
	}
	if len(r.held) > 10_001 || !r.knows(v1.Hash{Hex: "29999"}) {
		t.Errorf("it knows %d blobs", len(r.held))
	}
}

func FuzzParseManifest(f *testing.F) {
	f.Add("", []byte(`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{},"layers":[]}`))
	f.Add(string(types.OCIImageIndex), []byte(`{"manifests":[{"platform":null}]}`))
	f.Add(string(types.DockerManifestList), []byte(`[]`))
	f.Fuzz(func(t *testing.T, contentType string, raw []byte) {
		m, err := parseManifest(contentType, raw)
		if err == nil && (m.Image == nil) == (m.Index == nil) {
			t.Errorf("want an image or an index, got %+v", m)
		}
	})
}
