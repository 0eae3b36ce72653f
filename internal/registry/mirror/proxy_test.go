package mirror_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"plimsoll.dev/plimsoll/api/v1alpha1"
	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/oci"
	"plimsoll.dev/plimsoll/internal/registry/call"
	"plimsoll.dev/plimsoll/internal/registry/mirror"
	"plimsoll.dev/plimsoll/internal/registry/settings"
)

// front is a site that serves a proxy of a registry outside, to a reader.
type front struct {
	*site
	address string
}

// proxy serves one whose project "hub" is that, with more of its settings as YAML.
func proxy(t testing.TB, s *site, them *outside, o mirror.ProxyOptions, more string) *front {
	t.Helper()
	file := filepath.Join(t.TempDir(), "registry.yaml")
	text := fmt.Sprintf("apiVersion: plimsoll.dev/v1alpha1\nkind: Registry\nmetadata: {name: here}\nspec:\n  projects:\n  - name: hub\n    proxy:\n      source: %s\n%s", them.address, more)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	opened, err := settings.Open(file, slog.New(slog.DiscardHandler), mirror.Check)
	if err != nil {
		t.Fatal(err)
	}
	p := s.Proxy(opened, o)
	t.Cleanup(p.Close)
	reader := &call.Principal{Name: "reader", May: func(a call.Action, _ string) bool { return a == call.ActionPull }}
	handler := p.Door(s.store.Handler())
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		handler.ServeHTTP(w, r.WithContext(call.WithPrincipal(r.Context(), reader)))
	}))
	t.Cleanup(server.Close)
	return &front{s, server.Listener.Addr().String()}
}

// get asks for a manifest as a client does.
func (f *front) get(t testing.TB, reference string) (*http.Response, string) {
	t.Helper()
	repository, what, _ := strings.Cut(strings.Replace(reference, "@", ":", 1), ":")
	return f.ask(t, http.MethodGet, "/v2/"+repository+"/manifests/"+what)
}

func (f *front) ask(t testing.TB, method, path string) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, "http://"+f.address+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(body)
}

func (f *front) pull(t testing.TB, reference string) error {
	t.Helper()
	ref, err := name.ParseReference(f.address + "/" + reference)
	if err != nil {
		t.Fatal(err)
	}
	d, err := remote.Get(ref, remote.WithContext(t.Context()))
	if err != nil {
		return err
	}
	if d.MediaType.IsIndex() {
		index, err := d.ImageIndex()
		if err != nil {
			return err
		}
		return validate.Index(index)
	}
	pulled, err := d.Image()
	if err != nil {
		return err
	}
	return validate.Image(pulled)
}

func TestPullThrough(t *testing.T) {
	them, s := theirs(t), newSite(t)
	digest := them.push(t, "team/app:1", 300_000, 100)
	index := them.pushIndex(t, "team/app:multi", platforms(t, "linux/amd64", "linux/arm64"))
	f := proxy(t, s, them, mirror.ProxyOptions{}, "")
	for _, reference := range []string{"hub/team/app:1", "hub/team/app@" + digest.String(), "hub/team/app:multi", "hub/team/app@" + index.String()} {
		if err := f.pull(t, reference); err != nil {
			t.Errorf("%s: %v", reference, err)
		}
	}
	them.forget()
	if err := f.pull(t, "hub/team/app:1"); err != nil {
		t.Error(err)
	}
	if len(them.requests()) > 0 {
		t.Errorf("what is here was asked for: %v", them.requests())
	}
	if resp, body := f.get(t, "hub/team/app:none"); resp.StatusCode != 404 || !strings.Contains(body, "MANIFEST_UNKNOWN") {
		t.Errorf("got %d %s", resp.StatusCode, body)
	}
	if resp, _ := f.get(t, "other/team/app:1"); resp.StatusCode != 404 {
		t.Errorf("a repository of no proxy: got %d", resp.StatusCode)
	}
	for method, path := range map[string]string{
		http.MethodPost: "/v2/hub/team/app/blobs/uploads/", http.MethodPut: "/v2/hub/team/app/manifests/mine", http.MethodPatch: "/v2/hub/team/app/blobs/uploads/1",
		http.MethodDelete: "/v2/hub/team/app/blobs/" + digest.String(), // what is here is whole
	} {
		if resp, body := f.ask(t, method, path); resp.StatusCode != 403 || !strings.Contains(body, "nobody pushes") {
			t.Errorf("%s %s: got %d %s", method, path, resp.StatusCode, body)
		}
	}
	if resp, body := f.ask(t, http.MethodDelete, "/v2/hub/team/app/manifests/"+digest.String()); resp.StatusCode != 202 {
		t.Errorf("got %d %s", resp.StatusCode, body)
	}
	if err := f.pull(t, "hub/team/app@"+digest.String()); err != nil {
		t.Errorf("what was removed does not come again: %v", err)
	}
}

func TestPullThroughMovedTag(t *testing.T) {
	them, s := ours(t), newSite(t)
	them.push(t, "app:1")
	f := proxy(t, s, them, mirror.ProxyOptions{Again: time.Nanosecond}, "      ttl: 0s\n")
	if err := f.pull(t, "hub/app:1"); err != nil {
		t.Fatal(err)
	}
	before := s.named(t, "hub/app:1")
	second := them.push(t, "app:1")
	if resp, _ := f.get(t, "hub/app:1"); resp.Header.Get("Docker-Content-Digest") != second.String() {
		t.Errorf("got %s, want %s", resp.Header.Get("Docker-Content-Digest"), second)
	}
	s.deny = func(oci.Reference) error { return fault.Newf(fault.Denied, "judge", "", "it has malware") }
	them.push(t, "app:1")
	resp, _ := f.get(t, "hub/app:1")
	if got := resp.Header.Get("Docker-Content-Digest"); got != second.String() || got == before {
		t.Errorf("got %s, want %s", got, second)
	}
	if got := resp.Header.Get("Warning"); !strings.HasPrefix(got, `299 - "`) || !strings.Contains(got, "malware") {
		t.Errorf("got Warning %q", got)
	}
	them.push(t, "app:new")
	if resp, body := f.get(t, "hub/app:new"); resp.StatusCode != 403 || !strings.Contains(body, "malware") {
		t.Errorf("got %d %s", resp.StatusCode, body)
	}
}

func TestPullThroughUpstreamGone(t *testing.T) {
	them, s := theirs(t), newSite(t)
	digest := them.push(t, "app:1")
	f := proxy(t, s, them, mirror.ProxyOptions{}, "      ttl: 0s\n")
	if err := f.pull(t, "hub/app:1"); err != nil {
		t.Fatal(err)
	}
	them.whenAsked(func(w http.ResponseWriter, _ *http.Request, _ http.Handler) { panic(http.ErrAbortHandler) })
	resp, _ := f.get(t, "hub/app:1")
	if resp.StatusCode != 200 || resp.Header.Get("Docker-Content-Digest") != digest.String() || !strings.Contains(resp.Header.Get("Warning"), them.address) {
		t.Errorf("got %d %v", resp.StatusCode, resp.Header)
	}
	asked := len(them.requests())
	if err := f.pull(t, "hub/app:1"); err != nil || len(them.requests()) != asked {
		t.Errorf("a source that failed was asked again at once: %v %v", err, them.requests()[asked:])
	}
	resp, body := f.get(t, "hub/app:2")
	if resp.StatusCode != 503 || resp.Header.Get("Retry-After") == "" || !strings.Contains(body, "UNAVAILABLE") {
		t.Errorf("got %d %s", resp.StatusCode, body)
	}
}

// All who pull at once share one download.
func TestPullThroughShared(t *testing.T) {
	them, s := theirs(t), newSite(t)
	img := image(t, 2_000_000, 1_000_000)
	them.put(t, "app:1", img)
	them.forget()
	f := proxy(t, s, them, mirror.ProxyOptions{}, "")
	var group sync.WaitGroup
	for range 20 {
		group.Go(func() {
			if err := f.pull(t, "hub/app:1"); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	layers, err := img.Layers()
	if err != nil {
		t.Fatal(err)
	}
	for _, layer := range layers {
		digest, err := layer.Digest()
		if err != nil {
			t.Fatal(err)
		}
		if n := them.count("GET", "/blobs/"+digest.String()); n != 1 {
			t.Errorf("%s was fetched %d times", digest, n)
		}
	}
}

func TestPullThroughAllow(t *testing.T) {
	them, s := ours(t), newSite(t)
	for _, repository := range []string{"library/app", "team/deep/app", "other/app"} {
		them.push(t, repository+":1")
	}
	f := proxy(t, s, them, mirror.ProxyOptions{}, "      allow: ['library/*', 'team/**']\n")
	for repository, want := range map[string]int{"library/app": 200, "team/deep/app": 200, "other/app": 403} {
		if resp, body := f.get(t, "hub/"+repository+":1"); resp.StatusCode != want {
			t.Errorf("%s: got %d %s", repository, resp.StatusCode, body)
		}
	}
	if n := them.count("", "other/app"); n > 1 { // the push
		for _, asked := range them.requests() {
			if strings.HasPrefix(asked, "GET") && strings.Contains(asked, "other/app/manifests") {
				t.Errorf("what is not allowed was asked for: %s", asked)
			}
		}
	}
}

func TestPullThroughVerifies(t *testing.T) {
	them := ours(t)
	digest := them.push(t, "app:1")
	s := newSite(t, func(o *mirror.Options) {
		o.Verify = func(context.Context, *oci.Session, oci.Reference, v1alpha1.UpstreamVerification) error {
			return fault.Newf(fault.Denied, "verify upstream", "app:1", "signature: nobody signed it")
		}
	})
	them.forget()
	f := proxy(t, s, them, mirror.ProxyOptions{}, "      verify: {keys: [images.pub]}\n")
	for _, reference := range []string{"hub/app:1", "hub/app@" + digest.String()} {
		if resp, body := f.get(t, reference); resp.StatusCode != 403 || !strings.Contains(body, "nobody signed it") {
			t.Errorf("%s: got %d %s", reference, resp.StatusCode, body)
		}
	}
	if n := them.count("GET", "/blobs/"); n > 0 || s.named(t, "hub/app@"+digest.String()) != "" {
		t.Errorf("what is not verified came here, in %d requests", n)
	}
}

// What takes longer than a client waits goes on, and is there when it asks again.
func TestPullThroughSlow(t *testing.T) {
	them, s := theirs(t), newSite(t)
	them.push(t, "app:1", 100_000)
	hold := make(chan struct{})
	them.whenAsked(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if strings.Contains(r.URL.Path, "/blobs/") {
			<-hold
		}
		next.ServeHTTP(w, r)
	})
	f := proxy(t, s, them, mirror.ProxyOptions{Wait: 50 * time.Millisecond}, "")
	resp, body := f.get(t, "hub/app:1")
	if resp.StatusCode != 503 || !strings.Contains(body, "on its way") {
		t.Errorf("got %d %s", resp.StatusCode, body)
	}
	close(hold)
	eventually(t, func() bool {
		resp, _ := f.get(t, "hub/app:1")
		return resp.StatusCode == 200
	})
	if n := them.count("GET", "/blobs/"); n != 2 { // the layer and the configuration
		t.Errorf("%d requests for blobs", n)
	}
}

// eventually waits for a condition.
func eventually(t testing.TB, is func() bool) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for !is() {
		if time.Now().After(deadline) {
			t.Fatal("it did not come to pass")
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// What looks into hostile content may stumble: that is one image's trouble.
func TestPullThroughSurvivesPanics(t *testing.T) {
	them := ours(t)
	them.push(t, "app:1")
	s := newSite(t, func(o *mirror.Options) {
		o.Account = func(context.Context, oci.Reference) error { panic("a parser stumbled") }
	})
	f := proxy(t, s, them, mirror.ProxyOptions{}, "")
	if resp, body := f.get(t, "hub/app:1"); resp.StatusCode != 502 || strings.Contains(body, "goroutine") {
		t.Errorf("got %d %s", resp.StatusCode, body)
	}
}
