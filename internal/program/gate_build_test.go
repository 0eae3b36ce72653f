package program

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/opencontainers/go-digest"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/registry"
	"plimsoll.dev/plimsoll/internal/registry/call"
)

// switched is a gate that says the same of all images.
type switched struct {
	mu     sync.Mutex
	action artifact.Action
}

func (s *switched) say(action artifact.Action) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.action = action
}

// Known implements registry.Gate.
func (s *switched) Known(string, digest.Digest) (registry.Judgement, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return registry.Judgement{Action: s.action, Why: "its base is too old", Remedy: "plimsoll base build"}, true
}

// Judge implements registry.Gate.
func (s *switched) Judge(_ context.Context, repository string, d digest.Digest) (registry.Judgement, error) {
	j, _ := s.Known(repository, d)
	return j, nil
}

// shown serves a registry to somebody who may do what is listed, and gives the host.
func shown(t *testing.T, r *registry.Registry, actions ...call.Action) string {
	p := &call.Principal{May: func(wanted call.Action, _ string) bool { return slices.Contains(actions, wanted) }}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		r.Handler().ServeHTTP(w, req.WithContext(call.WithPrincipal(req.Context(), p)))
	}))
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://")
}

// TestBuildAtTheGate: nothing is built on a run image that a registry holds back, nor rebased
// onto it.
func TestBuildAtTheGate(t *testing.T) {
	b := newBench(t)
	gate := &switched{action: artifact.ActionAllow}
	reg, err := registry.Open(t.Context(), registry.Options{Root: t.TempDir(), Gate: gate})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = reg.Close() })
	publisher := shown(t, reg, call.ActionPull, call.ActionPush, call.ActionInspect)
	run := shown(t, reg, call.ActionPull) + "/bases/web:1"
	b.plimsoll("base", "build", "-f", "../../examples/bases/build.yaml", "-t", "build:1")
	b.plimsoll("base", "build", "-f", "../../examples/bases/web.yaml", "-t", publisher+"/bases/web:1")
	bin, err := filepath.Abs("../../bin")
	if err != nil {
		t.Fatal(err)
	}
	builder := filepath.Join(t.TempDir(), "builder.yaml")
	text := strings.NewReplacer("BIN", bin, "RUN", run).Replace(`apiVersion: plimsoll.dev/v1alpha1
kind: Builder
metadata: {name: web}
spec:
  build: {image: "build:1"}
  run: [{image: "RUN"}]
  lifecycle: {path: BIN/lifecycle}
  buildpacks: [{path: BIN/buildpacks/static-web}]
  order: [{group: [{id: plimsoll/static-web}]}]
`)
	if err := os.WriteFile(builder, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	b.plimsoll("builder", "build", "-f", builder, "-t", "builder:1")
	b.plimsoll("build", "../../examples/apps/static", "-t", "app:1")

	gate.say(artifact.ActionDeny)
	for _, args := range [][]string{
		{"build", "../../examples/apps/static", "-t", "app:2"},
		{"rebase", "app:1", "--run-image", run},
		{"inspect", run},
	} {
		if said := b.refuse(fault.Denied, args...); !strings.Contains(said, "quarantined") {
			t.Errorf("plimsoll %q says %q", args, said)
		}
	}
	gate.say(artifact.ActionWarn)
	b.plimsoll("build", "../../examples/apps/static", "-t", "app:2")
}
