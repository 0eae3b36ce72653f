package mirror_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	godigest "github.com/opencontainers/go-digest"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/oci"
	"plimsoll.dev/plimsoll/internal/registry"
	"plimsoll.dev/plimsoll/internal/registry/mirror"
)

// judge is a gate that knows what it was told.
type judge struct {
	mu     sync.Mutex
	allows map[string]bool // by digest; what is not there is not judged yet
}

func (j *judge) Known(_ string, manifest godigest.Digest) (registry.Judgement, bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	allowed, known := j.allows[manifest.String()]
	if allowed {
		return registry.Judgement{Action: artifact.ActionAllow}, true
	}
	return registry.Judgement{Action: artifact.ActionDeny, Why: "it has malware"}, known
}

func (j *judge) Judge(_ context.Context, repository string, manifest godigest.Digest) (registry.Judgement, error) {
	if known, ok := j.Known(repository, manifest); ok {
		return known, nil
	}
	return registry.Judgement{}, errors.New("not judged yet")
}

func (j *judge) tell(digest string, allowed bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.allows[digest] = allowed
}

// The first pull through a proxy, as any other, gets what the gate released and nothing else.
func TestFirstPullDoesNotBypassTheGate(t *testing.T) {
	for _, c := range []struct {
		name    string
		verdict func(j *judge, digest v1.Hash)
		want    int
	}{
		{"allowed", func(j *judge, digest v1.Hash) { j.tell(digest.String(), true) }, http.StatusOK},
		{"denied", func(j *judge, digest v1.Hash) { j.tell(digest.String(), false) }, http.StatusForbidden},
		{"not judged", func(*judge, v1.Hash) {}, http.StatusForbidden},
	} {
		t.Run(c.name, func(t *testing.T) {
			them := theirs(t)
			img := image(t, 10_000)
			digest := them.put(t, "team/app:1", img)
			manifest, err := img.Manifest()
			if err != nil {
				t.Fatal(err)
			}
			j := &judge{allows: map[string]bool{}}
			s := newSite(t, func(o *mirror.Options) {
				// The site judges while it accounts for what came: before that nothing is known.
				o.Account = func(context.Context, oci.Reference) error {
					if _, known := j.Known("", godigest.Digest(digest.String())); known {
						t.Error("it was judged before it came")
					}
					c.verdict(j, digest)
					return nil
				}
			})
			s.store = openWith(t, registry.Options{Gate: j, Patience: 50 * time.Millisecond})
			f := proxy(t, s, them, mirror.ProxyOptions{}, "")
			for range 2 {
				for _, path := range []string{
					"/v2/hub/team/app/manifests/1", "/v2/hub/team/app/manifests/" + digest.String(),
					"/v2/hub/team/app/blobs/" + manifest.Layers[0].Digest.String(), "/v2/hub/team/app/blobs/" + manifest.Config.Digest.String(),
				} {
					resp, body := f.ask(t, http.MethodGet, path)
					if ok := resp.StatusCode == c.want || c.want != http.StatusOK && resp.StatusCode == http.StatusNotFound; !ok {
						t.Errorf("%s: got %d %s", path, resp.StatusCode, body)
					}
					if resp.StatusCode != http.StatusOK && strings.Contains(body, "rootfs") {
						t.Errorf("%s: content in a refusal: %s", path, body)
					}
				}
			}
		})
	}
}
