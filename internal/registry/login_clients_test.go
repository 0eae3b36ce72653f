package registry_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/docker/cli/cli/config"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"golang.org/x/crypto/bcrypt"

	"plimsoll.dev/plimsoll/internal/registry"
	"plimsoll.dev/plimsoll/internal/registry/access"
	"plimsoll.dev/plimsoll/internal/registry/access/login"
	"plimsoll.dev/plimsoll/internal/registry/access/robot"
	"plimsoll.dev/plimsoll/internal/registry/call"
	"plimsoll.dev/plimsoll/internal/registry/settings"
	"plimsoll.dev/plimsoll/internal/testbed"
)

// guarded is a registry with accounts, and with a record of who asked what.
type guarded struct {
	host, home string

	mu    sync.Mutex
	asked []call.Record
}

// newGuarded serves a registry of two projects. The user ann publishes in team, as the robot
// team/ci does; team/nodes pulls there. Nobody may do anything in other.
func newGuarded(t *testing.T) (g *guarded, ci, nodes string) {
	t.Helper()
	g = &guarded{home: t.TempDir()}
	hash, err := bcrypt.GenerateFromPassword([]byte("ann-secret"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"users": "ann:" + string(hash) + "\n",
		"registry.yaml": `
apiVersion: plimsoll.dev/v1alpha1
kind: Registry
metadata: {name: site}
spec:
  auth: {htpasswd: users}
  projects:
  - name: team
    members: [{user: ann, role: publisher}]
  - name: other
`,
	} {
		if err := os.WriteFile(filepath.Join(g.home, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	log := slog.New(slog.DiscardHandler)
	said, err := settings.Open(filepath.Join(g.home, "registry.yaml"), log, access.Check)
	if err != nil {
		t.Fatal(err)
	}
	who, err := access.Open(g.home, access.Options{Settings: said})
	if err != nil {
		t.Fatal(err)
	}
	g.host = serve(t, open(t, registry.Options{}), registry.ServeOptions{
		Doors: []func(http.Handler) http.Handler{who.Door}, Pages: who.Pages(),
		Heard: []func(*call.Record){func(r *call.Record) {
			g.mu.Lock()
			defer g.mu.Unlock()
			g.asked = append(g.asked, *r)
		}},
	})
	return g, g.robot(t, "ci", call.ActionPull, call.ActionPush), g.robot(t, "nodes", call.ActionPull)
}

// robot makes a robot of team, and gives its name and secret as "USER:SECRET".
func (g *guarded) robot(t *testing.T, name string, allow ...call.Action) string {
	t.Helper()
	book, err := access.Robots(g.home, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	made, secret, err := book.Create(t.Context(), robot.Robot{Project: "team", Name: name, Allow: allow}, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	return made.User() + ":" + secret
}

// came fails the test unless somebody came by a token, and gives how many requests were his.
func (g *guarded) came(t *testing.T, principal string) {
	t.Helper()
	g.mu.Lock()
	defer g.mu.Unlock()
	tokens, requests := 0, 0
	for _, r := range g.asked {
		switch {
		case r.Principal == principal && r.Path == "/token" && r.OK():
			tokens++
		case r.Principal == principal && strings.HasPrefix(r.Path, "/v2/"):
			requests++
		}
	}
	if tokens == 0 || requests == 0 {
		t.Errorf("%s got %d tokens and sent %d requests", principal, tokens, requests)
	}
	g.asked = nil
}

// TestSkopeoWithTokens: skopeo gets tokens for what it wants, and a refusal where it may not.
func TestSkopeoWithTokens(t *testing.T) {
	g, ci, nodes := newGuarded(t)
	from := serve(t, open(t, registry.Options{}), registry.ServeOptions{})
	if err := remote.Write(ref(t, from+"/app:1"), image(t, 1024, 2)); err != nil {
		t.Fatal(err)
	}
	policy := filepath.Join(t.TempDir(), "policy.json")
	if err := os.WriteFile(policy, []byte(`{"default":[{"type":"insecureAcceptAnything"}]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	copies := func(fails bool, words, creds, to string) {
		t.Helper()
		tried(t, fails, words, testbed.Tool(t, "skopeo"), "--policy", policy, "copy", "--src-tls-verify=false", "--dest-tls-verify=false",
			"--dest-creds", creds, "docker://"+from+"/app:1", "docker://"+g.host+"/"+to)
	}
	copies(false, "", ci, "team/app:1")
	g.came(t, "robot+team/ci")
	copies(false, "", "ann:ann-secret", "team/app:2")
	g.came(t, "ann")
	copies(true, "403 (Forbidden)", ci, "other/app:1") // it asks by HEAD first, whose refusal has no words
	copies(true, "robot+team/nodes may not push in team/app", nodes, "team/app:3")
	copies(true, "unauthorized", "ann:wrong", "team/app:1")
	skopeo(t, "inspect", "--tls-verify=false", "--creds", nodes, "docker://"+g.host+"/team/app:1")
	tried(t, true, "", testbed.Tool(t, "skopeo"), "inspect", "--tls-verify=false", "--no-creds", "docker://"+g.host+"/team/app:1")
}

// TestContainerdWithTokens: containerd pulls and pushes with a robot's secret, for which it gets
// tokens.
func TestContainerdWithTokens(t *testing.T) {
	g, ci, nodes := newGuarded(t)
	user, secret, _ := strings.Cut(ci, ":")
	img := image(t, 1024, 1)
	if err := remote.Write(ref(t, g.host+"/team/app:1"), img, remote.WithAuth(&authn.Basic{Username: user, Password: secret})); err != nil {
		t.Fatal(err)
	}
	socket := containerd(t)
	ctr := func(fails bool, words string, args ...string) {
		t.Helper()
		tried(t, fails, words, testbed.Tool(t, "ctr"), append([]string{"--address", socket}, args...)...)
	}
	g.asked = nil
	ctr(false, "", "content", "fetch", "--plain-http", "--user", nodes, g.host+"/team/app:1")
	g.came(t, "robot+team/nodes")
	ctr(true, "401", "content", "fetch", "--plain-http", "--user", "robot+team/nodes:wrong", g.host+"/team/app:1")
	ctr(true, "401", "content", "fetch", "--plain-http", g.host+"/team/app:1")
	ctr(false, "", "images", "tag", g.host+"/team/app:1", g.host+"/team/app:2")
	ctr(true, "403", "images", "push", "--plain-http", "--user", nodes, g.host+"/team/app:2")
	ctr(false, "", "images", "push", "--plain-http", "--user", ci, g.host+"/team/app:2")
	g.came(t, "robot+team/ci")
}

// TestLibraryWithALogin: whoever reads docker's configuration finds what a login kept there, and
// it gives tokens until the login is worthless.
func TestLibraryWithALogin(t *testing.T) {
	g, ci, _ := newGuarded(t)
	config.SetDir(t.TempDir())
	t.Setenv("DOCKER_CONFIG", config.Dir())
	at, err := login.Ask(context.Background(), http.DefaultClient, "http://"+g.host)
	if err != nil {
		t.Fatal(err)
	}
	user, secret, _ := strings.Cut(ci, ":")
	token, err := at.Password(t.Context(), user, secret)
	if err != nil {
		t.Fatal(err)
	}
	if err := login.Store(g.host, user, token); err != nil {
		t.Fatal(err)
	}
	keychain := remote.WithAuthFromKeychain(authn.DefaultKeychain)
	if err := remote.Write(ref(t, g.host+"/team/app:1"), image(t, 1024, 1), keychain); err != nil {
		t.Fatal(err)
	}
	g.came(t, "robot+team/ci")
	cmd := exec.Command(testbed.Tool(t, "skopeo"), "inspect", "--tls-verify=false", "docker://"+g.host+"/team/app:1")
	cmd.Env = append(os.Environ(), "REGISTRY_AUTH_FILE="+filepath.Join(config.Dir(), config.ConfigFileName))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("skopeo: %v\n%s", err, out)
	}
	g.came(t, "robot+team/ci")
	book, err := access.Robots(g.home, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if err := book.Remove(t.Context(), "team/ci"); err != nil {
		t.Fatal(err)
	}
	if _, err := remote.Head(ref(t, g.host+"/team/app:1"), keychain); err == nil || !strings.Contains(fmt.Sprint(err), "401") {
		t.Errorf("after the robot is gone: got %v", err)
	}
}
