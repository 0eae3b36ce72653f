package plane

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"plimsoll.dev/plimsoll/internal/cli"
	"plimsoll.dev/plimsoll/internal/controller/secrets"
	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/oci"
	"plimsoll.dev/plimsoll/internal/registry"
	"plimsoll.dev/plimsoll/internal/site"
	"plimsoll.dev/plimsoll/internal/source"
	"plimsoll.dev/plimsoll/internal/testbed"
)

// newPlane gives a Plane of a new home on a cluster that is somebody else's.
func newPlane(t *testing.T) *Plane {
	t.Helper()
	folder := t.TempDir()
	store, err := registry.Open(t.Context(), registry.Options{Root: filepath.Join(folder, "registry")})
	if err != nil {
		t.Fatal(err)
	}
	registries := &oci.Registries{Agent: "test", Local: func(context.Context) (http.RoundTripper, error) { return store.Transport(), nil }}
	s := site.New(folder, registries, site.Options{})
	t.Cleanup(func() {
		_ = s.Close()
		_ = store.Close()
	})
	return &Plane{site: s, o: cli.UpOptions{Kubeconfig: "theirs"}, log: slog.New(slog.DiscardHandler)}
}

// heard is a server that notes which logins are shown to it, and wants another.
type heard struct {
	*httptest.Server
	mu    sync.Mutex
	users map[string]string // of a login -> path that it was shown for last
	wrong []string          // logins that were shown for what is not their user's
	asked int
}

func newHeard(t *testing.T) *heard {
	h := &heard{users: map[string]string{}}
	h.Server = httptest.NewTLSServer(http.HandlerFunc(h.serve))
	t.Cleanup(h.Close)
	return h
}

func (h *heard) serve(w http.ResponseWriter, r *http.Request) {
	user, _, ok := r.BasicAuth()
	h.mu.Lock()
	h.asked++
	if ok {
		h.users[user] = r.URL.Path
		if !strings.HasPrefix(r.URL.Path, "/v2/"+user+"/") {
			h.wrong = append(h.wrong, user+" for "+r.URL.Path)
		}
	}
	h.mu.Unlock()
	w.Header().Set("WWW-Authenticate", `Basic realm="git"`)
	w.WriteHeader(http.StatusUnauthorized)
}

// TestGitHasNoLoginOfTheControllers asks a git server that wants a login, for an Image whose service
// account has none, where the user of the controllers has one in each place that git looks at.
func TestGitHasNoLoginOfTheControllers(t *testing.T) {
	testbed.Tool(t, "git")
	server := newHeard(t)
	u, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	own := t.TempDir()
	write(t, filepath.Join(own, ".netrc"), "machine "+u.Hostname()+" login netrc password secret\n")
	write(t, filepath.Join(own, ".gitconfig"), "[credential]\n\thelper = \"!f() { echo username=global; echo password=secret; }; f\"\n")
	write(t, filepath.Join(own, "system"), "[credential \""+server.URL+"\"]\n\thelper = \"!f() { echo username=system; echo password=secret; }; f\"\n")
	write(t, filepath.Join(own, "askpass"), "#!/bin/sh\necho askpass\n")
	t.Setenv("HOME", own)
	t.Setenv("XDG_CONFIG_HOME", own)
	t.Setenv("GIT_CONFIG_SYSTEM", filepath.Join(own, "system"))
	t.Setenv("GIT_ASKPASS", filepath.Join(own, "askpass"))
	t.Setenv("GIT_SSL_NO_VERIFY", "true")
	revision := func(env []string, location string) error {
		_, err := (&source.Fetcher{Env: env}).Revision(t.Context(), location, source.Options{}, source.Revision{})
		return err
	}

	location, env, end, err := lendLogin(secrets.Logins{}, server.URL+"/shop.git")
	if err != nil {
		t.Fatal(err)
	}
	defer end()
	if err := revision(env, location); fault.KindOf(err) != fault.Denied {
		t.Errorf("it says %v", err)
	}
	if server.asked == 0 || len(server.users) != 0 {
		t.Errorf("%d requests, with the logins of %v", server.asked, server.users)
	}
	// It is this that would have been used.
	if _ = revision(os.Environ(), location); len(server.users) == 0 {
		t.Error("git finds no login of its user's: the test shows nothing")
	}

	clear(server.users)
	mine := secrets.Logins{Git: []secrets.GitLogin{{URL: server.URL, Username: "account", Password: "secret"}}}
	location, env, end, err = lendLogin(mine, server.URL+"/shop.git")
	if err != nil {
		t.Fatal(err)
	}
	defer end()
	if _ = revision(env, location); len(server.users) != 1 || server.users["account"] == "" {
		t.Errorf("it shows the logins of %v", server.users)
	}
}

// TestGitKnowsNothingOfTheControllers reads the environment that git gets.
func TestGitKnowsNothingOfTheControllers(t *testing.T) {
	for _, name := range []string{"PLIMSOLL_KEY_PASSWORD", "PLIMSOLL_INVENTORY", "SSH_AUTH_SOCK", "KUBECONFIG", "DOCKER_CONFIG", "GIT_SSH_COMMAND"} {
		t.Setenv(name, "sesame")
	}
	_, env, end, err := lendLogin(secrets.Logins{}, "git@git.example.com:shop.git")
	if err != nil {
		t.Fatal(err)
	}
	defer end()
	text := strings.Join(env, "\n")
	for _, want := range []string{"PubkeyAuthentication=no", "IdentityAgent=none", "-F none"} {
		if !strings.Contains(text, want) {
			t.Errorf("ssh is called without %q", want)
		}
	}
	if strings.Contains(text, "sesame") {
		t.Errorf("git is told\n%s", text)
	}
}

// TestSourcesOfTheMachine holds that an Image's source leads neither to a file of the controllers nor to
// what their machine's cloud tells it, where the cluster is somebody else's.
func TestSourcesOfTheMachine(t *testing.T) {
	p := newPlane(t)
	for _, location := range []string{
		"file:///etc", "http://169.254.169.254/latest/meta-data.git", "https://[fe80::1]/x.git", "https://[::ffff:169.254.169.254]/x.git",
		"git@169.254.169.254:x.git", "ssh://git@169.254.169.254/x.git", "https://[fd00:ec2::254]/x", "https://2852039166/x.git", "https://0xa9fea9fe/x", "https://169.254.43518/x",
	} {
		if err := p.admitSource(t.Context(), location); fault.KindOf(err) != fault.Denied {
			t.Errorf("%s: %v", location, err)
		}
	}
	for _, location := range []string{"https://127.0.0.1/x.git", "git@10.0.0.1:x.git"} {
		if err := p.admitSource(t.Context(), location); err != nil {
			t.Errorf("%s: %v", location, err)
		}
	}
	// An archive's and a registry's address is looked at when it is dialed.
	_, err := p.outward().Get("http://169.254.169.254/latest/meta-data/iam/security-credentials/")
	if err == nil || !strings.Contains(err.Error(), errMetadata.Error()) {
		t.Errorf("an archive: %v", err)
	}
	ref, err := oci.Parse("169.254.169.254/shop:1")
	if err != nil {
		t.Fatal(err)
	}
	_, err = p.registries(secrets.Logins{}).Get(t.Context(), ref)
	if err == nil || !strings.Contains(err.Error(), errMetadata.Error()) {
		t.Errorf("a registry: %v", err)
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o700); err != nil {
		t.Fatal(err)
	}
}
