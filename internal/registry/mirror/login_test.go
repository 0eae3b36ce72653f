package mirror_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/distribution/distribution/v3/configuration"
	_ "github.com/distribution/distribution/v3/registry/auth/htpasswd"
	_ "github.com/distribution/distribution/v3/registry/auth/token"
	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/google/go-containerregistry/pkg/authn"
	"golang.org/x/crypto/bcrypt"

	"plimsoll.dev/plimsoll/internal/oci"
	"plimsoll.dev/plimsoll/internal/registry/mirror"
	"plimsoll.dev/plimsoll/internal/registry/mirror/upstream"
	"plimsoll.dev/plimsoll/internal/testbed"
)

const (
	user     = "ferry"
	password = "hunter2"
)

// guarded starts the distribution project's registry with TLS and a login.
func guarded(t *testing.T, auth configuration.Auth, tokens http.Handler) (o *outside, carrier http.RoundTripper) {
	t.Helper()
	mux := http.NewServeMux()
	o = &outside{}
	mux.Handle("/", o.ServeHTTP(distributions(t, auth)))
	if tokens != nil {
		mux.Handle("/auth/token", tokens)
	}
	authority, address := testbed.TLSServer(t, mux)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(authority))
	o.address = strings.TrimPrefix(address, "https://")
	carrier = upstream.New(upstream.Options{Next: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}, Backoff: time.Millisecond, PerSecond: 10_000})
	registries := &oci.Registries{Agent: "test", Remote: carrier, Keys: authn.NewMultiKeychain(known{})}
	o.session = registries.Session()
	if err := registries.PutImage(t.Context(), o.ref(t, "team/app:1"), image(t, 100_000)); err != nil {
		t.Fatal(err)
	}
	return o, carrier
}

// known is a user's own credentials.
type known struct{}

func (known) Resolve(authn.Resource) (authn.Authenticator, error) {
	return &authn.Basic{Username: user, Password: password}, nil
}

// basic wants a password with each request.
func basic(t *testing.T) (configuration.Auth, http.Handler) {
	hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "users")
	if err := os.WriteFile(file, []byte(user+":"+string(hash)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return configuration.Auth{"htpasswd": configuration.Parameters{"realm": "harbour", "path": file}}, nil
}

// bearer wants a token, which its token server gives for a password.
func bearer(t *testing.T) (configuration.Auth, http.Handler) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	public, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: "one", Algorithm: "ES256", Use: "sig"}}})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "keys.json")
	if err := os.WriteFile(file, public, 0o600); err != nil {
		t.Fatal(err)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: key, KeyID: "one"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	tokens := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if u, p, _ := r.BasicAuth(); u != user || p != password {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		type access struct {
			Type    string   `json:"type"`
			Name    string   `json:"name"`
			Actions []string `json:"actions"`
		}
		now, granted := time.Now(), []access{}
		for _, scope := range r.URL.Query()["scope"] {
			if parts := strings.Split(scope, ":"); len(parts) == 3 {
				granted = append(granted, access{parts[0], parts[1], strings.Split(parts[2], ",")})
			}
		}
		token, err := jwt.Signed(signer).Claims(jwt.Claims{
			Issuer: "harbour", Audience: jwt.Audience{"registry"}, Subject: user,
			IssuedAt: jwt.NewNumericDate(now), NotBefore: jwt.NewNumericDate(now.Add(-time.Minute)), Expiry: jwt.NewNumericDate(now.Add(time.Minute)),
		}).Claims(map[string]any{"access": granted}).Serialize()
		if err != nil {
			t.Error(err)
		}
		fmt.Fprintf(w, `{"token":%q}`, token)
	})
	return configuration.Auth{"token": configuration.Parameters{
		"autoredirect": true, "autoredirectpath": "/auth/token", "realm": "unused", "issuer": "harbour", "service": "registry", "jwks": file,
		"signingalgorithms": []any{"ES256"},
	}}, tokens
}

func TestImportLogsIn(t *testing.T) {
	for _, c := range []struct {
		name  string
		login func(*testing.T) (configuration.Auth, http.Handler)
	}{{"by password", basic}, {"by token", bearer}} {
		t.Run(c.name, func(t *testing.T) {
			auth, tokens := c.login(t)
			them, carrier := guarded(t, auth, tokens)
			secret := filepath.Join(t.TempDir(), "password")
			if err := os.WriteFile(secret, []byte(password+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			for _, c := range []struct {
				name, credentials string
				keys              authn.Keychain
				want              mirror.Result
			}{
				{"the user's own", "", known{}, mirror.Imported},
				{"from a file", fmt.Sprintf("credentials: {username: %s, password: %s}\n", user, secret), authn.NewMultiKeychain(), mirror.Imported},
				{"from a variable", fmt.Sprintf("credentials: {username: %s, password: 'env://PASS'}\n", user), authn.NewMultiKeychain(), mirror.Imported},
				{"from a variable that is not set", fmt.Sprintf("credentials: {username: %s, password: 'env://NONE'}\n", user), known{}, mirror.Broken},
				{"wrong", "credentials: {username: eve, password: 'env://PASS'}\n", known{}, mirror.Denied},
				{"none", "", authn.NewMultiKeychain(), mirror.Denied},
			} {
				t.Run(c.name, func(t *testing.T) {
					s := newSite(t, func(o *mirror.Options) {
						o.Transport, o.Registries.Keys = carrier, c.keys
						o.Getenv = func(name string) string { return map[string]string{"PASS": password}[name] }
					})
					got := s.run(t, s.read(t, "app", fmt.Sprintf("source: %s/team/app\n%stags: {names: ['1']}\ndestination: {repository: app}", them.address, c.credentials))).Tags[0]
					if got.Result != c.want || strings.Contains(got.Why, password) {
						t.Errorf("got %s: %s", got.Result, got.Why)
					}
				})
			}
		})
	}
}
