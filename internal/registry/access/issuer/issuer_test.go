package issuer_test

import (
	"encoding/base64"
	"encoding/json"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/registry/access/issuer"
	"plimsoll.dev/plimsoll/internal/registry/access/issuertest"
)

// bed is an issuer, who verifies its tokens, and a clock.
type bed struct {
	*issuertest.Issuer
	verify *issuer.Issuer
	ahead  time.Duration
}

func newBed(t *testing.T) *bed {
	t.Helper()
	b := &bed{Issuer: issuertest.New(t)}
	var err error
	b.verify, err = issuer.New(b.URL, b.CAFile, func() time.Time { return time.Now().Add(b.ahead) }, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// good are the claims of a token that is, for ever.
func good() map[string]any {
	return map[string]any{"sub": "ci", "aud": "registry", "exp": time.Now().Add(1000 * time.Hour).Unix()}
}

func with(name string, value any) map[string]any {
	claims := good()
	claims[name] = value
	return claims
}

func TestVerify(t *testing.T) {
	b := newBed(t)
	claims, err := b.verify.Verify(t.Context(), b.Sign(with("nonce", "n")), "registry")
	if err != nil || claims.Subject != "ci" || claims.Nonce != "n" || claims.All["aud"] != "registry" {
		t.Fatalf("a good token gave %+v, %v", claims, err)
	}
	public, kid := b.Public()
	payload := strings.Split(b.Sign(good()), ".")[1]
	header := func(alg string) string {
		text, err := json.Marshal(map[string]string{"alg": alg, "kid": kid})
		if err != nil {
			t.Fatal(err)
		}
		return base64.RawURLEncoding.EncodeToString(text)
	}
	point, err := public.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	hmac, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.HS256, Key: point}, (&jose.SignerOptions{}).WithHeader("kid", kid))
	if err != nil {
		t.Fatal(err)
	}
	symmetric, err := jwt.Signed(hmac).Claims(good()).Serialize()
	if err != nil {
		t.Fatal(err)
	}
	for name, token := range map[string]string{
		"another audience":           b.Sign(with("aud", "other")),
		"audience that begins so":    b.Sign(with("aud", "registry2")),
		"no audience":                b.Sign(with("aud", nil)),
		"another issuer":             b.Sign(with("iss", "https://other.example")),
		"issuer with a slash more":   b.Sign(with("iss", b.URL+"/")),
		"expired":                    b.Sign(with("exp", time.Now().Add(-time.Minute).Unix())),
		"never expires":              b.Sign(with("exp", nil)),
		"not yet":                    b.Sign(with("nbf", time.Now().Add(time.Hour).Unix())),
		"nobody":                     b.Sign(with("sub", "")),
		"unsigned":                   header("none") + "." + payload + ".",
		"HS256 with the public key":  symmetric,
		"signature cut off":          strings.TrimRight(b.Sign(good()), "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-"),
		"signed by another's key":    issuertest.New(t).Sign(with("iss", b.URL)),
		"too long":                   b.Sign(with("more", strings.Repeat("x", 20<<10))),
		"nothing":                    "",
		"an algorithm of the future": header("ES9000") + "." + payload + ".AAAA",
	} {
		claims, err := b.verify.Verify(t.Context(), token, "registry")
		if fault.KindOf(err) != fault.Denied || err == nil || claims.Subject != "" {
			t.Errorf("%s: got %+v, %v", name, claims, err)
		}
		if err != nil && len(token) > 40 && strings.Contains(err.Error(), token[:40]) {
			t.Errorf("%s: the error holds the token", name)
		}
	}
	if _, err := b.verify.Verify(t.Context(), b.Sign(with("aud", "")), ""); err == nil {
		t.Error("no audience is one")
	}
}

// TestKeysRotate: a new key is asked for, but nobody can make the registry ask all the time.
func TestKeysRotate(t *testing.T) {
	b := newBed(t)
	check := func(token string, good bool, asked int, when string) {
		t.Helper()
		if _, err := b.verify.Verify(t.Context(), token, "registry"); (err == nil) != good || b.Asked() != asked {
			t.Errorf("%s: got %v after asking %d times, want %d", when, err, b.Asked(), asked)
		}
	}
	first := b.Sign(good())
	check(first, true, 1, "at first")
	check(first, true, 1, "again")
	b.Rotate()
	second := b.Sign(good())
	check(second, false, 1, "a new key, at once")
	check(first, true, 1, "the old one, not asked again")
	b.ahead += 11 * time.Second
	check(second, true, 2, "a new key, after a while")
	check(first, false, 2, "the old one, now gone")
	stranger := issuertest.New(t)
	for range 50 {
		check(stranger.Sign(with("iss", b.URL)), false, 2, "a key that is unknown")
	}
	b.ahead += 2 * time.Hour
	check(second, true, 3, "keys that are old are asked for again")
}

// TestIssuerDown: the last keys count for a day, and the issuer is asked ever more rarely.
func TestIssuerDown(t *testing.T) {
	b := newBed(t)
	token := b.Sign(good())
	b.Down(true)
	if _, err := b.verify.Verify(t.Context(), token, "registry"); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("never reached: got %v", err)
	}
	b.Down(false)
	b.ahead += 15 * time.Second
	if _, err := b.verify.Verify(t.Context(), token, "registry"); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("asked too early: got %v", err)
	}
	b.ahead += 10 * time.Second
	if _, err := b.verify.Verify(t.Context(), token, "registry"); err != nil {
		t.Errorf("after a while: got %v", err)
	}
	b.Down(true)
	b.ahead += 23 * time.Hour
	if _, err := b.verify.Verify(t.Context(), token, "registry"); err != nil {
		t.Errorf("with the keys of yesterday: %v", err)
	}
	b.ahead += 2 * time.Hour
	if _, err := b.verify.Verify(t.Context(), token, "registry"); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("with keys that are too old: got %v", err)
	}
	b.Down(false)
	b.CallItself("https://other.example")
	b.ahead += time.Hour
	if _, err := b.verify.Verify(t.Context(), token, "registry"); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("an issuer that calls itself otherwise: got %v", err)
	}
}

func TestServerIsKnown(t *testing.T) {
	b := newBed(t)
	stranger, err := issuer.New(b.URL, issuertest.New(t).CAFile, time.Now, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stranger.Verify(t.Context(), b.Sign(good()), "registry"); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("a server with another's certificate: got %v", err)
	}
	if b.Asked() != 0 {
		t.Error("it was asked")
	}
}

func FuzzOf(f *testing.F) {
	f.Add("eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJodHRwczovL2EiLCJhdWQiOiJiIn0.AAAA")
	f.Add("..")
	f.Add("eyJhbGciOiJub25lIn0.eyJpc3MiOiJhIn0.")
	f.Fuzz(func(t *testing.T, text string) {
		if url, _, ok := issuer.Of(text); ok && (url == "" || strings.Count(text, ".") != 2) {
			t.Fatalf("%q is of %q", text, url)
		}
	})
}
