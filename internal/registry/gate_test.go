package registry_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/opencontainers/go-digest"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/registry"
	"plimsoll.dev/plimsoll/internal/registry/call"
)

// rulings is a gate that says what a test tells it.
type rulings struct {
	mu    sync.RWMutex
	said  map[string]registry.Judgement
	first func(ctx context.Context, repo string, d digest.Digest) (registry.Judgement, error)
}

// Known implements registry.Gate.
func (g *rulings) Known(repo string, d digest.Digest) (registry.Judgement, bool) {
	g.mu.RLock()
	defer g.mu.RUnlock()
	j, ok := g.said[repo+"@"+d.String()]
	return j, ok
}

// Judge implements registry.Gate: it denies, unless the test says otherwise.
func (g *rulings) Judge(ctx context.Context, repo string, d digest.Digest) (registry.Judgement, error) {
	if g.first != nil {
		return g.first(ctx, repo, d)
	}
	return registry.Judgement{Action: artifact.ActionDeny, Why: "nothing is known of it", Remedy: "plimsoll scan it", Rules: []string{"test/known"}}, nil
}

func (g *rulings) say(repo string, d digest.Digest, action artifact.Action) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.said == nil {
		g.said = map[string]registry.Judgement{}
	}
	g.said[repo+"@"+d.String()] = registry.Judgement{
		Action: action, Why: "has 3 fixable findings past their time", Remedy: "plimsoll rebase " + repo, Rules: []string{"starter/fixable"},
	}
}

// gated is a registry with a gate. Who asks is whom Basic authentication names: "reader" may
// pull, "publisher" pull and push, "inspector" all.
type gated struct {
	t    testing.TB
	reg  *registry.Registry
	gate *rulings
	url  string
}

func openGated(t testing.TB, o registry.Options) *gated {
	t.Helper()
	gate, _ := o.Gate.(*rulings)
	if gate == nil {
		gate = &rulings{}
		o.Gate = gate
	}
	reg := open(t, o)
	addr := serve(t, reg, registry.ServeOptions{Doors: []func(http.Handler) http.Handler{principals}})
	return &gated{t, reg, gate, "http://" + addr}
}

// principals puts who asks into the request, as the doors of a served registry do.
func principals(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, _, ok := r.BasicAuth()
		if !ok {
			next.ServeHTTP(w, r)
			return
		}
		p := &call.Principal{Name: user, May: func(action call.Action, _ string) bool {
			switch user {
			case "inspector":
				return true
			case "publisher":
				return action == call.ActionPull || action == call.ActionPush
			}
			return action == call.ActionPull
		}}
		next.ServeHTTP(w, r.WithContext(call.WithPrincipal(r.Context(), p)))
	})
}

// reply is what a client sees.
type reply struct {
	status int
	header http.Header
	body   string
}

// ask sends a request, written "METHOD PATH", as somebody; headers as "Name: value".
func (g *gated) ask(user, request string, body []byte, headers ...string) reply {
	g.t.Helper()
	method, path, _ := strings.Cut(request, " ")
	req, err := http.NewRequest(method, g.url+path, bytes.NewReader(body))
	if err != nil {
		g.t.Fatal(err)
	}
	if user != "" {
		req.SetBasicAuth(user, "x")
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		req.Header.Add(name, value)
	}
	resp, err := http.DefaultTransport.RoundTrip(req) // redirects are answers, too
	if err != nil {
		g.t.Fatal(err)
	}
	defer resp.Body.Close()
	content, err := io.ReadAll(resp.Body)
	if err != nil {
		g.t.Fatal(err)
	}
	return reply{resp.StatusCode, resp.Header, string(content)}
}

// blob stores one, in the name of this process, and gives its descriptor.
func (g *gated) blob(repo, mediaType string, content []byte) string {
	g.t.Helper()
	d := digest.FromBytes(content)
	client := &http.Client{Transport: g.reg.Transport()}
	resp := do(g.t, client, http.MethodPost, "http://store.local/v2/"+repo+"/blobs/uploads/?digest="+d.String(), "application/octet-stream", content)
	if resp.StatusCode != http.StatusCreated {
		g.t.Fatalf("blob answered %s", resp.Status)
	}
	return descriptor(mediaType, content)
}

// manifest stores one by tag, or by its digest where that is empty.
func (g *gated) manifest(repo, tag, mediaType, content string) digest.Digest {
	g.t.Helper()
	d := digest.FromString(content)
	if tag == "" {
		tag = d.String()
	}
	client := &http.Client{Transport: g.reg.Transport()}
	if resp := do(g.t, client, http.MethodPut, "http://store.local/v2/"+repo+"/manifests/"+tag, mediaType, []byte(content)); resp.StatusCode != http.StatusCreated {
		g.t.Fatalf("manifest answered %s", resp.Status)
	}
	return d
}

const (
	configType = "application/vnd.oci.image.config.v1+json"
	layerType  = "application/vnd.oci.image.layer.v1.tar"
	simpleType = "application/vnd.dev.cosign.simplesigning.v1+json"
	bundleType = "application/vnd.dev.sigstore.bundle.v0.3+json"
	emptyType  = "application/vnd.oci.empty.v1+json"
)

// image stores one whose layer has this content, and gives it.
func (g *gated) image(repo, tag, layer string) (manifest digest.Digest, content string) {
	g.t.Helper()
	content = fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"config":%s,"layers":[%s]}`, ociManifest,
		g.blob(repo, configType, []byte(`{"os":"linux","of":"`+layer+`"}`)), g.blob(repo, layerType, []byte(layer)))
	return g.manifest(repo, tag, ociManifest, content), content
}

// attach stores a manifest of one layer whose subject is that one; "" for none.
func (g *gated) attach(repo, tag string, subject digest.Digest, config, kind string, layer []byte) digest.Digest {
	g.t.Helper()
	about := ""
	if subject != "" {
		about = fmt.Sprintf(`,"subject":{"mediaType":%q,"digest":%q,"size":1}`, ociManifest, subject)
	}
	return g.manifest(repo, tag, ociManifest, fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"config":%s,"layers":[%s]%s}`,
		ociManifest, g.blob(repo, config, []byte("{}")), g.blob(repo, kind, layer), about))
}

// want fails unless somebody is answered so.
func (g *gated) want(user, request string, status int, headers ...string) reply {
	g.t.Helper()
	got := g.ask(user, request, nil, headers...)
	if got.status != status {
		g.t.Errorf("%s gets %d for %s %q, want %d\n%s", user, got.status, request, headers, status, got.body)
	}
	return got
}
