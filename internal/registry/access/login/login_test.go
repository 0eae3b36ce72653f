package login_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/docker/cli/cli/config"
	"golang.org/x/crypto/bcrypt"

	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/registry/access"
	"plimsoll.dev/plimsoll/internal/registry/access/issuertest"
	"plimsoll.dev/plimsoll/internal/registry/access/login"
	"plimsoll.dev/plimsoll/internal/registry/settings"
)

// bed is a token server, an issuer, and a client that knows both.
type bed struct {
	t      *testing.T
	issuer *issuertest.Issuer
	origin string
	client *http.Client
}

func newBed(t *testing.T) *bed {
	t.Helper()
	b := &bed{t: t, issuer: issuertest.New(t)}
	var pages atomic.Pointer[http.Handler]
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { (*pages.Load()).ServeHTTP(w, r) }))
	t.Cleanup(server.Close)
	b.origin = server.URL
	home := t.TempDir()
	hash, err := bcrypt.GenerateFromPassword([]byte("secret"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(home, "users"), "ann:"+string(hash)+"\n")
	write(t, filepath.Join(home, "registry.yaml"), fmt.Sprintf(`
apiVersion: plimsoll.dev/v1alpha1
kind: Registry
metadata: {name: site}
spec:
  externalURL: %s
  auth:
    htpasswd: users
    issuers: [{name: corp, url: %q, caFile: %s, login: {clientID: plimsoll-login}}]
  projects: [{name: team, members: [{user: "corp:kim@example.com", role: reader}]}]
`, b.origin, b.issuer.URL, b.issuer.CAFile))
	log := slog.New(slog.DiscardHandler)
	said, err := settings.Open(filepath.Join(home, "registry.yaml"), log, access.Check)
	if err != nil {
		t.Fatal(err)
	}
	who, err := access.Open(home, access.Options{Settings: said, Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	handler := who.Pages()
	pages.Store(&handler)
	b.client = clientOf(t, b.issuer)
	b.issuer.LogIn(map[string]any{"sub": "4711", "email": "kim@example.com", "email_verified": true}, 0)
	return b
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func clientOf(t *testing.T, i *issuertest.Issuer) *http.Client {
	t.Helper()
	pem, err := os.ReadFile(i.CAFile)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)
	return &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}}
}

func (b *bed) ask() *login.Registry {
	b.t.Helper()
	r, err := login.Ask(context.Background(), b.client, b.origin)
	if err != nil {
		b.t.Fatal(err)
	}
	return r
}

// browser opens what it is shown, and gives what the page said.
func (b *bed) browser(pages chan<- string) func(string) {
	return func(line string) {
		page := strings.TrimSpace(line)
		if !strings.HasPrefix(page, "https://") {
			return
		}
		go func() {
			resp, err := b.client.Get(page)
			if err != nil {
				pages <- err.Error()
				return
			}
			resp.Body.Close()
			pages <- resp.Status
		}()
	}
}

func TestLogInAtTheIssuer(t *testing.T) {
	b := newBed(t)
	r := b.ask()
	one, err := r.Issuer("")
	if err != nil {
		t.Fatal(err)
	}
	pages := make(chan string, 1)
	id, err := r.AtIssuer(t.Context(), one, b.browser(pages))
	if err != nil {
		t.Fatal(err)
	}
	if page := <-pages; page != "200 OK" {
		t.Errorf("the browser saw %q", page)
	}
	token, err := r.IDToken(t.Context(), id)
	if err != nil || strings.Count(token, ".") != 2 {
		t.Fatalf("got %q, %v", token, err)
	}
	b.issuer.LogIn(map[string]any{"sub": "4711", "email": "kim@example.com"}, 0)
	if id, err = r.AtIssuer(t.Context(), one, b.browser(pages)); err != nil {
		t.Fatal(err)
	}
	if _, err := r.IDToken(t.Context(), id); fault.KindOf(err) != fault.Denied {
		t.Errorf("an address that nobody verified: got %v", err)
	}
}

func TestLogInByDevice(t *testing.T) {
	b := newBed(t)
	b.issuer.LogIn(map[string]any{"sub": "4711", "email": "kim@example.com", "email_verified": true}, 1)
	r := b.ask()
	one, err := r.Issuer("corp")
	if err != nil {
		t.Fatal(err)
	}
	var shown string
	id, err := r.ByDevice(t.Context(), one, func(line string) { shown += line })
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(shown, "/activate") || !strings.Contains(shown, "ABCD-EFGH") {
		t.Errorf("shows %q", shown)
	}
	if _, err := r.IDToken(t.Context(), id); err != nil {
		t.Error(err)
	}
}

// TestRegistryThatLures names another registry's issuer and client, and gets nothing that the
// other believes.
func TestRegistryThatLures(t *testing.T) {
	b := newBed(t)
	told := map[string]any{"service": "x", "origin": b.origin, "issuers": []any{map[string]any{"name": "corp", "url": b.issuer.URL, "clientID": "plimsoll-login", "scopes": []string{"openid"}}}}
	lure := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = json.NewEncoder(w).Encode(told)
	}))
	defer lure.Close()
	r, err := login.Ask(t.Context(), b.client, lure.URL)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Issuer("corp"); fault.KindOf(err) != fault.Denied {
		t.Errorf("it calls itself otherwise: got %v", err)
	}
	told["origin"] = lure.URL
	if r, err = login.Ask(t.Context(), b.client, lure.URL); err != nil {
		t.Fatal(err)
	}
	one, err := r.Issuer("corp")
	if err != nil {
		t.Fatal(err)
	}
	pages := make(chan string, 1)
	id, err := r.AtIssuer(t.Context(), one, b.browser(pages))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.ask().IDToken(t.Context(), id); fault.KindOf(err) != fault.Denied {
		t.Errorf("a token that the lure got is believed elsewhere: %v", err)
	}
	told["issuers"] = []any{map[string]any{"name": "corp", "url": "http://127.0.0.1:1", "clientID": "x"}}
	if r, err = login.Ask(t.Context(), b.client, lure.URL); err != nil {
		t.Fatal(err)
	}
	if one, err = r.Issuer(""); err != nil {
		t.Fatal(err)
	}
	if _, err := r.AtIssuer(t.Context(), one, func(string) {}); fault.KindOf(err) != fault.Denied {
		t.Errorf("an issuer without TLS: got %v", err)
	}
}

func TestPassword(t *testing.T) {
	b := newBed(t)
	r := b.ask()
	if _, err := r.Password(t.Context(), "ann", "secret"); err != nil {
		t.Error(err)
	}
	_, err := r.Password(t.Context(), "ann", "hunter2")
	if fault.KindOf(err) != fault.Denied || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("a wrong password: got %v", err)
	}
	for range 20 {
		_, err = r.Password(t.Context(), "ann", "hunter2")
	}
	if fault.KindOf(err) != fault.Unavailable || !strings.Contains(err.Error(), `"too many failed logins", try again in 1 s`) {
		t.Errorf("after many wrong passwords: got %v", err)
	}
	plain := httptest.NewServer(http.NotFoundHandler())
	defer plain.Close()
	if _, err := login.Ask(t.Context(), b.client, plain.URL); err == nil || fault.HintOf(err) == "" {
		t.Errorf("another's registry: got %v", err)
	}
}

func TestCallbackWantsTheState(t *testing.T) {
	b := newBed(t)
	r := b.ask()
	one, err := r.Issuer("")
	if err != nil {
		t.Fatal(err)
	}
	pages := make(chan string, 1)
	_, err = r.AtIssuer(t.Context(), one, func(line string) {
		page := strings.TrimSpace(line)
		_, back, ok := strings.Cut(page, "redirect_uri=http%3A%2F%2F")
		if !ok {
			return
		}
		host, _, _ := strings.Cut(strings.ReplaceAll(back, "%3A", ":"), "%2F")
		for _, query := range []string{"?code=x", "?code=x&state=", "?code=x&state=guess"} {
			resp, err := http.Get("http://" + host + "/callback" + query)
			if err != nil {
				t.Error(err)
				continue
			}
			resp.Body.Close()
			if resp.StatusCode != http.StatusNotFound {
				t.Errorf("%s: got %d", query, resp.StatusCode)
			}
		}
		b.browser(pages)(line)
	})
	if err != nil {
		t.Error(err)
	}
}

func TestStore(t *testing.T) {
	folder := t.TempDir()
	config.SetDir(folder)
	if err := login.Store("registry.example.com", "ann", "a-token"); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(folder, "config.json")
	info, err := os.Stat(file)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	kept, err := config.Load(folder)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := kept.GetAuthConfig("registry.example.com"); err != nil || got.IdentityToken != "a-token" || got.Username != "ann" || got.Password != "" {
		t.Errorf("kept %+v, %v", got, err)
	}
	if err := login.Forget("registry.example.com"); err != nil {
		t.Fatal(err)
	}
	if kept, err = config.Load(folder); err != nil || len(kept.AuthConfigs) > 0 {
		t.Errorf("still there: %+v, %v", kept.AuthConfigs, err)
	}
}
