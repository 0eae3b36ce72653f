package program_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"golang.org/x/crypto/bcrypt"

	"plimsoll.dev/plimsoll/internal/registry/access/issuertest"
)

// leaks is a served registry that knows secrets of every kind, and all that it ever tells.
type leaks struct {
	*testing.T
	home, addr string
	stop       func() int
	secrets    map[string]string // by what they are

	mu   sync.Mutex
	told bytes.Buffer // log, answers, webhooks, what commands say
}

// Write implements io.Writer.
func (l *leaks) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.told.Write(p)
}

func (l *leaks) text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.told.String()
}

// within are the files of a home that may hold secrets: those that somebody wrote there, and keys.
var within = regexp.MustCompile(`^(users|upstream|hook|figures|registry\.yaml|keys/.*\.key|access/keys\.json)$`)

// TestSecretsStayWithin shows a served registry secrets of every kind, right and wrong ones, and
// looks for them in all that it writes, answers and sends.
func TestSecretsStayWithin(t *testing.T) {
	l := leaking(t)
	defer l.stop()
	out, _ := typed(t.Context(), l.home, l, "registry", "robot", "create", "team/ci", "--allow", "pull,push", "--expires", "9d", "-o", "json")
	var robot struct{ User, Secret string }
	if err := json.Unmarshal([]byte(out), &robot); err != nil {
		t.Fatal(err, out)
	}
	l.secrets["a robot's secret"] = robot.Secret
	ref, err := name.ParseReference(l.addr + "/team/app:1")
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(ref, runnable(t), remote.WithAuth(&authn.Basic{Username: robot.User, Password: robot.Secret})); err != nil {
		t.Fatal(err)
	}
	l.secrets["an access token"] = l.token(robot.User, robot.Secret)
	l.secrets["an access token of a workload"] = l.token("oidc", l.secrets["a workload's token"])

	l.ask("GET", "/v2/team/app/manifests/1", "ann", l.secrets["a password"])
	l.ask("GET", "/v2/team/app/manifests/1", "ann", l.secrets["a wrong password"])
	l.ask("GET", "/v2/team/app/manifests/1", l.secrets["a password in the wrong place"], "ann")
	l.ask("GET", "/v2/team/app/tags/list", "oidc", l.secrets["a workload's token"])
	l.ask("GET", "/v2/team/app/tags/list", "", l.secrets["an access token"])
	l.ask("GET", "/v2/team/app/tags/list", "", l.secrets["an access token"]+"x")
	l.ask("GET", "/v2/team/app/manifests/1?access_token="+url.QueryEscape(l.secrets["an access token"]), "", "")
	l.ask("GET", "/token?password="+url.QueryEscape(l.secrets["a password"]), "ann", l.secrets["a wrong password"])
	l.ask("PUT", "/v2/team/app/manifests/2", "ann", l.secrets["a password"])
	l.ask("GET", "/v2/hub/app/manifests/1", "ann", l.secrets["a password"])
	l.ask("GET", "/metrics", "", l.secrets["the token of the figures"])
	for deadline := time.Now().Add(30 * time.Second); !strings.Contains(l.text(), "image.pushed") || !strings.Contains(l.text(), "image.quarantined"); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("no webhook was told of the push and the verdict:\n%s", l.text())
		}
	}
	for _, args := range []string{"registry robot list -o json", "registry audit export", "registry audit list -o json", "registry events list -o json", "registry usage -o json", "registry list", "policy check team/app:1 --facts -o json"} {
		out, _ := typed(t.Context(), l.home, l, strings.Fields(args)...)
		fmt.Fprintln(l, out)
	}
	l.stop()
	l.search("what the registry tells", l.text())
	l.files()
	for _, want := range []string{`"principal":"ann"`, "user=" + robot.User, "the registry answered 401", "plimsoll_registry_requests_total"} { // else there was nothing to find
		if !strings.Contains(l.text(), want) {
			t.Errorf("nothing tells of %s:\n%s", want, l.text())
		}
	}
}

// leaking serves a home whose every part was given a secret.
func leaking(t *testing.T) *leaks {
	t.Helper()
	l := &leaks{T: t, home: t.TempDir(), secrets: map[string]string{
		"a password": "canary-password-1", "a wrong password": "canary-guess-2", "a password in the wrong place": "canary-misplaced-3",
		"a webhook's secret": "canary-hook-secret-of-24-bytes-4", "a webhook's path": "canary-path-5", "the token of the figures": "canary-figures-token-of-some-length-6",
		"a password for upstream": "canary-upstream-7",
	}}
	receiver := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		fmt.Fprintln(l, r.Header, string(body))
	}))
	t.Cleanup(receiver.Close)
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { // tells all that it hears
		w.Header().Set("WWW-Authenticate", `Basic realm="x"`)
		http.Error(w, fmt.Sprintf(`{"errors":[{"code":"UNAUTHORIZED","message":%q}]}`, r.Header.Get("Authorization")), http.StatusUnauthorized)
	}))
	t.Cleanup(upstream.Close)
	issuer := issuertest.New(t)
	l.secrets["a workload's token"] = issuer.Sign(map[string]any{"sub": "robot", "aud": "here", "repository": "acme/app"})
	hash, err := bcrypt.GenerateFromPassword([]byte(l.secrets["a password"]), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	for file, text := range map[string]string{
		"users": "ann:" + string(hash) + "\n", "hook": l.secrets["a webhook's secret"] + "\n",
		"figures": l.secrets["the token of the figures"] + "\n", "upstream": l.secrets["a password for upstream"] + "\n",
		"policies/own.yaml": signedOnly,
		"registry.yaml": fmt.Sprintf(`apiVersion: plimsoll.dev/v1alpha1
kind: Registry
metadata: {name: here}
spec:
  auth:
    htpasswd: users
    issuers: [{name: ci, url: %q, caFile: %q, audience: here}]
  audit: {reads: all}
  metrics: {token: {file: figures}}
  webhooks: [{name: ci, url: %q, secret: {file: hook}}]
  projects:
  - name: team
    members: [{user: ann, role: publisher}, {role: reader, workload: {issuer: ci, claims: {repository: acme/app}}}]
  - name: hub
    members: [{user: ann, role: reader}]
    proxy: {source: %s, credentials: {username: us, password: upstream}}
`, issuer.URL, issuer.CAFile, receiver.URL+"/"+l.secrets["a webhook's path"], strings.TrimPrefix(upstream.URL, "http://")),
	} {
		write(t, filepath.Join(l.home, file), text)
	}
	l.serve()
	key, err := os.ReadFile(filepath.Join(l.home, "keys", "images.key"))
	if err != nil {
		t.Fatal(err)
	}
	l.secrets["the key that signs images"] = strings.Split(string(key), "\n")[2]
	return l
}

// serve serves the home and notes all that is logged.
func (l *leaks) serve() {
	l.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan int, 1)
	go func() {
		_, code := typed(ctx, l.home, l, "registry", "serve", "--addr", "127.0.0.1:0")
		ended <- code
	}()
	l.stop = sync.OnceValue(func() int { cancel(); return <-ended })
	l.Cleanup(func() { l.stop() })
	for deadline := time.Now().Add(time.Minute); l.addr == ""; time.Sleep(10 * time.Millisecond) {
		if found := regexp.MustCompile(`msg=serving addr=(\S+)`).FindStringSubmatch(l.text()); found != nil {
			l.addr = found[1]
		}
		if time.Now().After(deadline) {
			l.Fatalf("it does not serve:\n%s", l.text())
		}
	}
}

// ask notes what is answered: without a user the secret is a bearer's.
func (l *leaks) ask(method, path, user, secret string) (int, []byte) {
	l.Helper()
	r, err := http.NewRequest(method, "http://"+l.addr+path, nil)
	if err != nil {
		l.Fatal(err)
	}
	switch {
	case user != "":
		r.SetBasicAuth(user, secret)
	case secret != "":
		r.Header.Set("Authorization", "Bearer "+secret)
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		l.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		l.Fatal(err)
	}
	if path, _, _ := strings.Cut(path, "?"); path != "/token" || response.StatusCode != http.StatusOK {
		fmt.Fprintln(l, response.StatusCode, response.Header, string(body))
	}
	return response.StatusCode, body
}

// token exchanges what somebody shows for a token of the registry's.
func (l *leaks) token(user, secret string) string {
	l.Helper()
	status, body := l.ask("GET", "/token?scope=repository:team/app:pull", user, secret)
	var got struct{ Token string }
	if err := json.Unmarshal(body, &got); err != nil || got.Token == "" {
		l.Fatalf("no token for %s: %d %s", user, status, body)
	}
	return got.Token
}

// search looks for every secret, as it is and as clients send it.
func (l *leaks) search(where, text string) {
	l.Helper()
	for what, secret := range l.secrets {
		forms := []string{secret, url.QueryEscape(secret)}
		for _, user := range []string{"ann:", "us:", "oidc:", "robot+team/ci:"} {
			forms = append(forms, base64.StdEncoding.EncodeToString([]byte(user+secret)))
		}
		if tail := secret[strings.LastIndexByte(secret, '.')+1:]; tail != secret { // the signature alone
			forms = append(forms, tail)
		}
		for _, form := range forms {
			if at := strings.Index(text, form); at >= 0 {
				l.Errorf("%s holds %s: …%s…", where, what, text[max(0, at-200):min(len(text), at+len(form)+50)])
			}
		}
	}
}

// files looks into what the registry has written.
func (l *leaks) files() {
	l.Helper()
	err := filepath.WalkDir(l.home, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		name, err := filepath.Rel(l.home, path)
		if err != nil || within.MatchString(name) {
			return err
		}
		text, err := os.ReadFile(path)
		if err == nil {
			l.search(name, string(text))
		}
		return err
	})
	if err != nil {
		l.Fatal(err)
	}
}
