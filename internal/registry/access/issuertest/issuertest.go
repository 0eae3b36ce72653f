// Package issuertest takes claims and gives an OpenID Connect issuer on the loopback that signs
// them, and lets whoever asks log in with them.
package issuertest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"plimsoll.dev/plimsoll/internal/testbed"
)

// Issuer is one. Its fields may be changed between requests.
type Issuer struct {
	URL    string
	CAFile string // PEM of the authority that its server is known by

	t       testing.TB
	mu      sync.Mutex
	key     *ecdsa.PrivateKey
	kid     string
	down    bool
	name    string // what it calls itself; "" is URL
	asked   int    // how often for its keys
	person  map[string]any
	codes   map[string]url.Values // authorization requests, by code
	pending int                   // how often a device has to ask
}

// New starts one.
func New(t testing.TB) *Issuer {
	t.Helper()
	i := &Issuer{t: t, codes: map[string]url.Values{}}
	i.Rotate()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/openid-configuration", i.discovery)
	mux.HandleFunc("GET /keys", i.keys)
	mux.HandleFunc("GET /authorize", i.authorize)
	mux.HandleFunc("POST /token", i.token)
	mux.HandleFunc("POST /device", i.device)
	authority, address := testbed.TLSServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if i.isDown() {
			http.Error(w, "down", http.StatusServiceUnavailable)
			return
		}
		mux.ServeHTTP(w, r)
	}))
	i.URL, i.CAFile = address, filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(i.CAFile, []byte(authority), 0o600); err != nil {
		t.Fatal(err)
	}
	return i
}

// Rotate makes the issuer sign with another key and forget the one before.
func (i *Issuer) Rotate() {
	i.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		i.t.Fatal(err)
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.key, i.kid = key, rand.Text()
}

// Down makes it answer 503, or no longer.
func (i *Issuer) Down(down bool) { i.set(func() { i.down = down }) }

// CallItself makes it name itself so.
func (i *Issuer) CallItself(name string) { i.set(func() { i.name = name }) }

// LogIn says who logs in, and how often a device has to ask before he has.
func (i *Issuer) LogIn(claims map[string]any, pending int) {
	i.set(func() { i.person, i.pending = claims, pending })
}

// Asked says how often it was asked for its keys.
func (i *Issuer) Asked() (n int) {
	i.set(func() { n = i.asked })
	return n
}

func (i *Issuer) set(do func()) {
	i.mu.Lock()
	defer i.mu.Unlock()
	do()
}

func (i *Issuer) isDown() (down bool) {
	i.set(func() { down = i.down })
	return down
}

// Sign signs the claims, to which it adds its name and an hour of life where they say nothing.
func (i *Issuer) Sign(claims map[string]any) string {
	i.t.Helper()
	i.mu.Lock()
	defer i.mu.Unlock()
	all := map[string]any{"iss": i.URL, "iat": time.Now().Unix(), "exp": time.Now().Add(time.Hour).Unix()}
	for name, value := range claims {
		all[name] = value
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: i.key}, (&jose.SignerOptions{}).WithHeader("kid", i.kid))
	if err != nil {
		i.t.Fatal(err)
	}
	token, err := jwt.Signed(signer).Claims(all).Serialize()
	if err != nil {
		i.t.Fatal(err)
	}
	return token
}

// Public gives the key that signs now, and what it is called.
func (i *Issuer) Public() (key *ecdsa.PublicKey, kid string) {
	i.set(func() { key, kid = &i.key.PublicKey, i.kid })
	return key, kid
}

func (i *Issuer) discovery(w http.ResponseWriter, _ *http.Request) {
	name := i.URL
	i.set(func() {
		if i.name != "" {
			name = i.name
		}
	})
	answer(w, map[string]any{
		"issuer": name, "jwks_uri": i.URL + "/keys", "authorization_endpoint": i.URL + "/authorize", "token_endpoint": i.URL + "/token",
		"device_authorization_endpoint": i.URL + "/device", "id_token_signing_alg_values_supported": []string{"ES256"},
	})
}

// keys also has one of a kind that nobody understands.
func (i *Issuer) keys(w http.ResponseWriter, _ *http.Request) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.asked++
	answer(w, map[string]any{"keys": []any{
		map[string]any{"kty": "FUTURE", "kid": "x"},
		jose.JSONWebKey{Key: &i.key.PublicKey, KeyID: i.kid, Algorithm: "ES256", Use: "sig"},
	}})
}

// authorize sends whoever asks back with a code, as if he had logged in.
func (i *Issuer) authorize(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	to, err := url.Parse(query.Get("redirect_uri"))
	if err != nil || to.Hostname() != "127.0.0.1" || query.Get("code_challenge_method") != "S256" || query.Get("nonce") == "" {
		http.Error(w, "want a loopback address, PKCE and a nonce", http.StatusBadRequest)
		return
	}
	code := rand.Text()
	i.set(func() { i.codes[code] = query })
	to.RawQuery = url.Values{"code": {code}, "state": {query.Get("state")}}.Encode()
	http.Redirect(w, r, to.String(), http.StatusFound)
}

func (i *Issuer) device(w http.ResponseWriter, r *http.Request) {
	answer(w, map[string]any{"device_code": r.PostFormValue("client_id"), "user_code": "ABCD-EFGH", "verification_uri": i.URL + "/activate", "expires_in": 60, "interval": 1})
}

func (i *Issuer) token(w http.ResponseWriter, r *http.Request) {
	claims := map[string]any{}
	i.set(func() {
		for name, value := range i.person {
			claims[name] = value
		}
	})
	if r.PostFormValue("grant_type") == "urn:ietf:params:oauth:grant-type:device_code" {
		waits := false
		i.set(func() {
			i.pending--
			waits = i.pending >= 0
		})
		if waits {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusBadRequest)
			answer(w, map[string]any{"error": "authorization_pending"})
			return
		}
		claims["aud"] = r.PostFormValue("client_id")
	} else {
		asked := url.Values{}
		i.set(func() {
			asked = i.codes[r.PostFormValue("code")]
			delete(i.codes, r.PostFormValue("code"))
		})
		sum := sha256.Sum256([]byte(r.PostFormValue("code_verifier")))
		if asked == nil || base64.RawURLEncoding.EncodeToString(sum[:]) != asked.Get("code_challenge") || asked.Get("redirect_uri") != r.PostFormValue("redirect_uri") {
			http.Error(w, `{"error":"invalid_grant"}`, http.StatusBadRequest)
			return
		}
		claims["aud"], claims["nonce"] = asked.Get("client_id"), asked.Get("nonce")
	}
	answer(w, map[string]any{"access_token": "x", "token_type": "Bearer", "id_token": i.Sign(claims)})
}

func answer(w http.ResponseWriter, body any) {
	w.Header().Set("Content-Type", "application/json")
	text, err := json.Marshal(body)
	if err != nil {
		text = fmt.Appendf(nil, `{"error":%q}`, err)
	}
	_, _ = w.Write(text)
}
