package oidc

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/zitadel/oidc/v3/example/server/exampleop"
	"github.com/zitadel/oidc/v3/example/server/storage"
	"github.com/zitadel/oidc/v3/pkg/op"
	"oras.land/oras-go/v2"
	"oras.land/oras-go/v2/content/memory"
	"oras.land/oras-go/v2/registry/remote"
	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/errcode"

	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/registry"
	"plimsoll.dev/plimsoll/internal/registry/access"
	"plimsoll.dev/plimsoll/internal/registry/access/login"
	"plimsoll.dev/plimsoll/internal/registry/settings"
	"plimsoll.dev/plimsoll/internal/testbed"
)

const clientID = "plimsoll"

// people is the provider's own example of a store, whose ID tokens also tell the address: without
// that a provider gives it only to those who ask with the access token.
type people struct{ *storage.Storage }

type telling struct{ op.Client }

func (telling) IDTokenUserinfoClaimsAssertion() bool { return true }

func (p people) GetClientByClientID(ctx context.Context, id string) (op.Client, error) {
	client, err := p.Storage.GetClientByClientID(ctx, id)
	if err != nil {
		return nil, err
	}
	return telling{client}, nil
}

// provider serves one, and gives its address and the file of its authority.
func provider(t *testing.T) (issuer, caFile string, client *http.Client) {
	t.Helper()
	var handler atomic.Pointer[http.Handler]
	authority, address := testbed.TLSServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { (*handler.Load()).ServeHTTP(w, r) }))
	native := storage.NativeClient(clientID, "http://127.0.0.1/callback")
	store := people{storage.NewStorageWithClients(storage.NewUserStore(address), map[string]*storage.Client{clientID: native})}
	var made http.Handler = exampleop.SetupServer(address, store, slog.New(slog.DiscardHandler), false)
	handler.Store(&made)
	caFile = filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(caFile, []byte(authority), 0o600); err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM([]byte(authority))
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return address, caFile, &http.Client{Jar: jar, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}}
}

// served serves a registry that lets the provider's people in, and gives its address.
func served(t *testing.T, issuer, caFile string) (host string) {
	t.Helper()
	home := t.TempDir()
	// The registry must know its name before it is served: the port is chosen here.
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	host = free.Addr().String()
	free.Close()
	text := fmt.Sprintf(`
apiVersion: plimsoll.dev/v1alpha1
kind: Registry
metadata: {name: site}
spec:
  externalURL: http://%s
  auth:
    issuers: [{name: corp, url: %q, caFile: %s, login: {clientID: %s, scopes: [openid, email, profile]}}]
  projects:
  - {name: team, members: [{user: "corp:test-user2@zitadel.ch", role: publisher}]}
  - {name: other}
`, host, issuer, caFile, clientID)
	if err := os.WriteFile(filepath.Join(home, "registry.yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	said, err := settings.Open(filepath.Join(home, "registry.yaml"), log, access.Check)
	if err != nil {
		t.Fatal(err)
	}
	who, err := access.Open(home, access.Options{Settings: said, Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	store, err := registry.Open(t.Context(), registry.Options{Root: filepath.Join(home, "registry")})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ready, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		ended <- store.Serve(ctx, registry.ServeOptions{
			Addr: host, Ready: func(net.Addr) { close(ready) },
			Doors: []func(http.Handler) http.Handler{who.Door}, Pages: who.Pages(),
		})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		_ = store.Close()
	})
	select {
	case <-ready:
	case err := <-ended:
		ended <- nil
		t.Fatal(err)
	}
	return host
}

var requestID = regexp.MustCompile(`name="id" value="([^"]+)"`)

// fillIn does what a person does in a browser: opens the page and sends the form. It gives the
// page at the end.
func fillIn(client *http.Client, page, password string) (string, error) {
	form, text, err := read(client.Get(page))
	if err != nil {
		return "", err
	}
	id := requestID.FindStringSubmatch(text)
	if id == nil {
		return text, nil
	}
	_, text, err = read(client.PostForm(form.String(), url.Values{"id": {id[1]}, "username": {"test-user2"}, "password": {password}}))
	return text, err
}

func read(resp *http.Response, err error) (*url.URL, string, error) {
	if err != nil {
		return nil, "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return resp.Request.URL, string(text), err
}

// TestLogInAtAProvider logs a person in with the code flow and PKCE, and pushes and pulls with
// oras by what the login gave.
func TestLogInAtAProvider(t *testing.T) {
	issuer, caFile, client := provider(t)
	host := served(t, issuer, caFile)
	at, err := login.Ask(t.Context(), client, "http://"+host)
	if err != nil {
		t.Fatal(err)
	}
	one, err := at.Issuer("")
	if err != nil {
		t.Fatal(err)
	}
	pages := make(chan string, 1)
	id, err := at.AtIssuer(t.Context(), one, func(line string) {
		if page := strings.TrimSpace(line); strings.HasPrefix(page, "https://") {
			go func() {
				text, err := fillIn(client, page, "verysecure")
				pages <- fmt.Sprint(text, err)
			}()
		}
	})
	if err != nil {
		t.Fatalf("%v; the browser shows %s", err, <-pages)
	}
	if page := <-pages; !strings.Contains(page, "You are logged in") {
		t.Errorf("the browser shows %s", page)
	}
	token, err := at.IDToken(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	pushAndPull(t, host, token)
}

// pushAndPull copies an artifact there and back with oras, and to where its holder may not.
func pushAndPull(t *testing.T, host, login string) {
	t.Helper()
	repository := func(name string) *remote.Repository {
		r, err := remote.NewRepository(host + "/" + name)
		if err != nil {
			t.Fatal(err)
		}
		r.PlainHTTP = true
		r.Client = &auth.Client{Cache: auth.NewCache(), Credential: auth.StaticCredential(host, auth.Credential{RefreshToken: login})}
		return r
	}
	from := memory.New()
	content := []byte("cargo")
	layer, err := oras.PushBytes(t.Context(), from, "text/plain", content)
	if err != nil {
		t.Fatal(err)
	}
	packed, err := oras.PackManifest(t.Context(), from, oras.PackManifestVersion1_1, "application/vnd.example.cargo", oras.PackManifestOptions{Layers: []ocispec.Descriptor{layer}})
	if err != nil {
		t.Fatal(err)
	}
	if err := from.Tag(t.Context(), packed, "1"); err != nil {
		t.Fatal(err)
	}
	if _, err := oras.Copy(t.Context(), from, "1", repository("team/cargo"), "1", oras.DefaultCopyOptions); err != nil {
		t.Fatal(err)
	}
	to := memory.New()
	if _, err := oras.Copy(t.Context(), repository("team/cargo"), "1", to, "1", oras.DefaultCopyOptions); err != nil {
		t.Fatal(err)
	}
	back, err := to.Fetch(t.Context(), layer)
	if err != nil {
		t.Fatal(err)
	}
	defer back.Close()
	if text, err := io.ReadAll(back); err != nil || !bytes.Equal(text, content) {
		t.Errorf("got %q back, %v", text, err)
	}
	var refusal *errcode.ErrorResponse
	if _, err := oras.Copy(t.Context(), from, "1", repository("other/cargo"), "1", oras.DefaultCopyOptions); !errors.As(err, &refusal) || refusal.StatusCode != http.StatusForbidden {
		t.Errorf("pushed elsewhere: %v", err)
	}
}

// TestWrongPasswordAtAProvider: who does not get in there gets nothing here.
func TestWrongPasswordAtAProvider(t *testing.T) {
	issuer, caFile, client := provider(t)
	at, err := login.Ask(t.Context(), client, "http://"+served(t, issuer, caFile))
	if err != nil {
		t.Fatal(err)
	}
	one, err := at.Issuer("")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	token, err := at.AtIssuer(ctx, one, func(line string) {
		if page := strings.TrimSpace(line); strings.HasPrefix(page, "https://") {
			go func() {
				defer cancel() // the person gives up
				if text, err := fillIn(client, page, "wrong"); err != nil || strings.Contains(text, "logged in") {
					t.Errorf("the browser shows %s, %v", text, err)
				}
			}()
		}
	})
	if err == nil || token != "" {
		t.Errorf("got in: %v", err)
	}
}

// TestAnotherProvider: a person whom another provider of the same kind knows, by the same name, is
// nobody here.
func TestAnotherProvider(t *testing.T) {
	issuer, caFile, _ := provider(t)
	other, _, client := provider(t)
	at, err := login.Ask(t.Context(), client, "http://"+served(t, issuer, caFile))
	if err != nil {
		t.Fatal(err)
	}
	one, err := at.Issuer("")
	if err != nil {
		t.Fatal(err)
	}
	one.URL = other
	id, err := at.AtIssuer(t.Context(), one, func(line string) {
		if page := strings.TrimSpace(line); strings.HasPrefix(page, "https://") {
			go func() { _, _ = fillIn(client, page, "verysecure") }()
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := at.IDToken(t.Context(), id); fault.KindOf(err) != fault.Denied {
		t.Errorf("got %v", err)
	}
}
