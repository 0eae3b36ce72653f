package access_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"plimsoll.dev/plimsoll/internal/registry/access"
	"plimsoll.dev/plimsoll/internal/registry/access/ticket"
)

func TestChallengeLeadsToAToken(t *testing.T) {
	b := serve(t, site)
	got := b.ask(asking{path: "/v2/team/app/manifests/v1"})
	want := `Bearer realm="http://` + b.addr + `/token",service="plimsoll",scope="repository:team/app:pull"`
	if got.status != http.StatusUnauthorized || got.header.Get("WWW-Authenticate") != want {
		t.Errorf("got %d %q, want %q", got.status, got.header.Get("WWW-Authenticate"), want)
	}
	got = b.ask(asking{path: "/v2/", header: http.Header{"X-Forwarded-Host": {"evil.example"}, "X-Forwarded-Proto": {"https"}}})
	if text := got.header.Get("WWW-Authenticate"); strings.Contains(text, "evil") || strings.Contains(text, "https") {
		t.Errorf("a header leads clients elsewhere: %s", text)
	}
	b.say("  externalURL: https://registry.example.com\n" + strings.TrimPrefix(site, "\n"))
	got = b.ask(asking{path: "/v2/"})
	if want := `Bearer realm="https://registry.example.com/token",service="registry.example.com"`; got.header.Get("WWW-Authenticate") != want {
		t.Errorf("got %q, want %q", got.header.Get("WWW-Authenticate"), want)
	}
}

// TestTokenGrantsNoMore: what a token is good for is what was asked and may be done.
func TestTokenGrantsNoMore(t *testing.T) {
	b := serve(t, site)
	for _, c := range []struct{ name, user, password, asked, want string }{
		{"as asked", "bob", "bob-secret", "repository:team/app:pull", "repository:team/app:pull"},
		{"more than he may", "bob", "bob-secret", "repository:team/app:pull,push,delete,*", "repository:team/app:pull,push"},
		{"somebody else's", "bob", "bob-secret", "repository:team/secret/app:pull", ""},
		{"some of each", "bob", "bob-secret", "repository:team/app:push repository:base/x:pull,push", "repository:team/app:push repository:base/x:pull"},
		{"all there is", "bob", "bob-secret", "registry:catalog:*", ""},
		{"anybody", "", "", "repository:public/x:pull,push repository:team/app:pull", "repository:public/x:pull"},
		{"an admin", "ann", "ann-secret", "repository:any/x:* registry:catalog:*", "repository:any/x:pull,push,delete,* registry:catalog:*"},
	} {
		answer := b.ask(asking{path: "/token?" + url.Values{"scope": {c.asked}}.Encode(), user: c.user, password: c.password})
		if got := b.tokens(answer); answer.status != 200 || got.Scope != c.want {
			t.Errorf("%s: got %d %q, want %q", c.name, answer.status, got.Scope, c.want)
		}
	}
	for name, path := range map[string]string{
		"another service": "/token?service=registry.other.example&scope=repository:team/app:pull",
		"bad scope":       "/token?scope=repository:../x:pull",
		"too many":        "/token?" + url.Values{"scope": {strings.Repeat("repository:a:pull ", 200)}}.Encode(),
	} {
		if got := b.ask(asking{path: path, user: "bob", password: "bob-secret"}); got.status != http.StatusBadRequest {
			t.Errorf("%s: got %d %s", name, got.status, got.body)
		}
	}
	token := b.token("bob", "bob-secret", "repository:team/app:pull")
	if got := b.ask(asking{path: "/token?scope=repository:team/app:push", bearer: token}); got.status != http.StatusUnauthorized {
		t.Errorf("a token begets another: %d", got.status)
	}
}

// TestTokenReachesNoFurther shows tokens where they are not for.
func TestTokenReachesNoFurther(t *testing.T) {
	b := serve(t, site)
	for _, repo := range []string{"team/a", "team/ab", "team/a/b", "team"} {
		b.push(repo+":v1", "ann", "ann-secret")
	}
	token := b.token("bob", "bob-secret", "repository:team/a:pull")
	for path, want := range map[string]int{
		"/v2/": 200, "/v2/team/a/manifests/v1": 200,
		"/v2/team/ab/manifests/v1": 401, "/v2/team/a/b/manifests/v1": 401, "/v2/team/manifests/v1": 401,
		"/v2/team/secret/manifests/v1": 403, "/v2/_catalog": 403,
	} {
		if got := b.ask(asking{path: path, bearer: token}); got.status != want {
			t.Errorf("%s: got %d, want %d", path, got.status, want)
		}
	}
	got := b.ask(asking{method: http.MethodPost, path: "/v2/team/a/blobs/uploads/", bearer: token})
	if challenge := got.header.Get("WWW-Authenticate"); got.status != 401 || !strings.Contains(challenge, `scope="repository:team/a:pull,push",error="insufficient_scope"`) {
		t.Errorf("a client is not sent for a better token: %d %q", got.status, challenge)
	}
}

// TestForgedTokens changes a good token in every way that is known to have worked somewhere.
func TestForgedTokens(t *testing.T) {
	b := serve(t, site)
	b.push("team/secret/app:v1", "ann", "ann-secret")
	good := b.token("bob", "bob-secret", "repository:team/app:pull")
	parts := strings.Split(good, ".")
	payload := part[map[string]any](t, parts[1])
	header := part[map[string]any](t, parts[0])
	var keys []struct {
		ID   string
		Seed []byte
	}
	text, err := os.ReadFile(filepath.Join(access.Folder(b.home), "keys.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &keys); err != nil {
		t.Fatal(err)
	}
	ours := ed25519.NewKeyFromSeed(keys[0].Seed)
	public := ours.Public().(ed25519.PublicKey)
	_, theirs, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	edited := func(edit func(map[string]any)) map[string]any {
		out := part[map[string]any](t, parts[1])
		edit(out)
		return out
	}
	ann := edited(func(p map[string]any) {
		p["holder"] = map[string]any{"kind": "user", "name": "ann", "mark": p["holder"].(map[string]any)["mark"]}
		p["access"] = []any{map[string]any{"type": "repository", "name": "team/secret/app", "actions": []string{"pull"}}}
	})
	typ := jose.ContentType(header["typ"].(string))
	kid := header["kid"].(string)
	for name, token := range map[string]string{
		"payload edited":            parts[0] + "." + encoded(t, ann) + "." + parts[2],
		"alg none":                  encoded(t, map[string]any{"alg": "none", "typ": typ, "kid": kid}) + "." + encoded(t, ann) + ".",
		"alg none, old signature":   encoded(t, map[string]any{"alg": "none", "typ": typ, "kid": kid}) + "." + encoded(t, ann) + "." + parts[2],
		"alg None":                  encoded(t, map[string]any{"alg": "NoNe", "typ": typ, "kid": kid}) + "." + encoded(t, ann) + ".",
		"no signature":              parts[0] + "." + parts[1] + ".",
		"HS256 with our public key": signed(t, jose.HS256, []byte(public), map[jose.HeaderKey]any{"typ": typ, "kid": kid}, ann),
		"another's key":             signed(t, jose.EdDSA, theirs, map[jose.HeaderKey]any{"typ": typ, "kid": kid}, ann),
		"another's key, embedded": signed(t, jose.EdDSA, theirs, map[jose.HeaderKey]any{"typ": typ,
			"jwk": jose.JSONWebKey{Key: theirs.Public(), KeyID: "x"}}, ann),
		"kid is a path":      signed(t, jose.EdDSA, theirs, map[jose.HeaderKey]any{"typ": typ, "kid": "../../../../dev/null"}, ann),
		"kid is SQL":         signed(t, jose.EdDSA, theirs, map[jose.HeaderKey]any{"typ": typ, "kid": "x' OR '1'='1"}, ann),
		"no kid":             signed(t, jose.EdDSA, ours, map[jose.HeaderKey]any{"typ": typ}, payload),
		"jku":                signed(t, jose.EdDSA, theirs, map[jose.HeaderKey]any{"typ": typ, "kid": kid, "jku": "http://" + b.addr + "/keys"}, ann),
		"for another use":    signed(t, jose.EdDSA, ours, map[jose.HeaderKey]any{"typ": string(ticket.Refresh), "kid": kid}, payload),
		"for no use":         signed(t, jose.EdDSA, ours, map[jose.HeaderKey]any{"kid": kid}, payload),
		"another service":    signed(t, jose.EdDSA, ours, map[jose.HeaderKey]any{"typ": typ, "kid": kid}, edited(func(p map[string]any) { p["aud"] = "registry.other.example" })),
		"no service":         signed(t, jose.EdDSA, ours, map[jose.HeaderKey]any{"typ": typ, "kid": kid}, edited(func(p map[string]any) { delete(p, "aud") })),
		"another issuer":     signed(t, jose.EdDSA, ours, map[jose.HeaderKey]any{"typ": typ, "kid": kid}, edited(func(p map[string]any) { p["iss"] = "other" })),
		"expired":            signed(t, jose.EdDSA, ours, map[jose.HeaderKey]any{"typ": typ, "kid": kid}, edited(func(p map[string]any) { p["exp"] = time.Now().Add(-time.Minute).Unix() })),
		"never expires":      signed(t, jose.EdDSA, ours, map[jose.HeaderKey]any{"typ": typ, "kid": kid}, edited(func(p map[string]any) { delete(p, "exp") })),
		"not yet":            signed(t, jose.EdDSA, ours, map[jose.HeaderKey]any{"typ": typ, "kid": kid}, edited(func(p map[string]any) { p["nbf"] = time.Now().Add(time.Hour).Unix() })),
		"a kind of its own":  signed(t, jose.EdDSA, ours, map[jose.HeaderKey]any{"typ": typ, "kid": kid}, edited(func(p map[string]any) { p["holder"] = map[string]any{"kind": "root", "name": "ann"} })),
		"a user of its own":  signed(t, jose.EdDSA, ours, map[jose.HeaderKey]any{"typ": typ, "kid": kid}, edited(func(p map[string]any) { p["holder"] = map[string]any{"kind": "user", "name": "zoe", "mark": ""} })),
		"two signatures":     good + "." + parts[2],
		"JSON serialization": `{"payload":"` + parts[1] + `","protected":"` + parts[0] + `","signature":"` + parts[2] + `"}`,
		"too long":           good + strings.Repeat("A", 20<<10),
		"nothing":            "x",
		"dots":               "..",
	} {
		for _, path := range []string{"/v2/", "/v2/team/secret/app/manifests/v1", "/v2/team/app/manifests/v1"} {
			if got := b.ask(asking{path: path, bearer: token}); got.status != http.StatusUnauthorized {
				t.Errorf("%s, %s: got %d %s", name, path, got.status, got.body)
			}
		}
	}
	if got := b.ask(asking{path: "/v2/", bearer: signed(t, jose.EdDSA, ours, map[jose.HeaderKey]any{"typ": typ, "kid": kid}, payload)}); got.status != 200 {
		t.Errorf("nothing was tried: the token as it is, signed again, got %d", got.status)
	}
}

// TestTokensExpire also sets the clock back.
func TestTokensExpire(t *testing.T) {
	b := serve(t, site)
	user, secret := b.robot("team/ci", time.Hour, nil, "pull")
	token := b.token(user, secret, "repository:team/app:pull")
	shown := func(q asking, want int, when string) {
		t.Helper()
		q.path = "/v2/"
		if got := b.ask(q); got.status != want {
			t.Errorf("%s: got %d, want %d", when, got.status, want)
		}
	}
	shown(asking{bearer: token}, 200, "a new token")
	b.hand.move(6 * time.Minute)
	shown(asking{bearer: token}, 401, "a token after its time")
	b.hand.move(-6 * time.Minute)
	shown(asking{bearer: token}, 401, "a token after its time, with the clock set back")
	late := b.token(user, secret)
	b.hand.move(2 * time.Hour)
	shown(asking{user: user, password: secret}, 401, "an expired robot")
	shown(asking{bearer: late}, 401, "an expired robot's token")
	b.hand.move(-24 * time.Hour)
	shown(asking{user: user, password: secret}, 401, "an expired robot, with the clock set back")
	b.addr = b.start(access.Options{})
	shown(asking{user: user, password: secret}, 401, "an expired robot, with the clock set back and the server started again")
}

// TestTokenOfARobotEndsWithIt: no token is good for longer than what it was given for.
func TestTokenOfARobotEndsWithIt(t *testing.T) {
	b := serve(t, site)
	user, secret := b.robot("team/ci", 2*time.Minute, nil, "pull")
	answer := b.tokens(b.ask(asking{path: "/token?offline_token=true", user: user, password: secret}))
	if answer.ExpiresIn > 120 {
		t.Errorf("a token is good for %d s", answer.ExpiresIn)
	}
	for _, token := range []string{answer.Token, answer.RefreshToken} {
		claims := part[struct{ Exp, Iat int64 }](t, strings.Split(token, ".")[1])
		if claims.Exp-claims.Iat > 121 {
			t.Errorf("a token is good for %d s", claims.Exp-claims.Iat)
		}
	}
}

func TestRobotsLoseAccessAtOnce(t *testing.T) {
	b := serve(t, site)
	user, secret := b.robot("team/ci", year, nil, "pull")
	token := b.token(user, secret)
	renewed, next, err := b.book().Renew(t.Context(), "team/ci", year, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	for name, q := range map[string]asking{
		"the old secret": {user: user, password: secret}, "its token": {bearer: token}, "the new one": {user: user, password: next},
	} {
		q.path = "/v2/"
		if got := b.ask(q); got.status != 200 {
			t.Errorf("during the overlap, %s: got %d", name, got.status)
		}
	}
	b.hand.move(time.Hour + time.Minute)
	if got := b.ask(asking{path: "/v2/", user: user, password: secret}); got.status != 401 {
		t.Errorf("the old secret after the overlap: got %d", got.status)
	}
	token = b.token(user, next)
	if err := b.book().Remove(t.Context(), renewed.Full()); err != nil {
		t.Fatal(err)
	}
	for name, q := range map[string]asking{"its token": {bearer: token}, "its secret": {user: user, password: next}} {
		q.path = "/v2/"
		if got := b.ask(q); got.status != 401 {
			t.Errorf("a removed robot, %s: got %d", name, got.status)
		}
	}
}

// TestOAuth2 is the token server's POST.
func TestOAuth2(t *testing.T) {
	b := serve(t, site)
	login := b.tokens(b.post(url.Values{"grant_type": {"password"}, "username": {"bob"}, "password": {"bob-secret"}, "access_type": {"offline"}, "service": {"plimsoll"}, "client_id": {"test"}}))
	if login.RefreshToken == "" || login.AccessToken == "" {
		t.Fatalf("no login: %+v", login)
	}
	again := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {login.RefreshToken}, "scope": {"repository:team/app:pull,push,delete"}, "service": {"plimsoll"}}
	got := b.tokens(b.post(again))
	if got.Scope != "repository:team/app:pull,push" || got.RefreshToken != "" {
		t.Errorf("a login gave %+v", got)
	}
	for name, form := range map[string]url.Values{
		"wrong password":               {"grant_type": {"password"}, "username": {"bob"}, "password": {"x"}},
		"an access token as a login":   {"grant_type": {"refresh_token"}, "refresh_token": {login.AccessToken}},
		"nothing as a login":           {"grant_type": {"refresh_token"}},
		"no token to exchange":         {"grant_type": {"urn:ietf:params:oauth:grant-type:token-exchange"}, "subject_token_type": {"urn:ietf:params:oauth:token-type:id_token"}},
		"a login as a token to change": {"grant_type": {"urn:ietf:params:oauth:grant-type:token-exchange"}, "subject_token": {login.RefreshToken}, "subject_token_type": {"urn:ietf:params:oauth:token-type:jwt"}},
	} {
		if got := b.post(form); got.status != http.StatusUnauthorized || b.tokens(got).Error != "invalid_grant" {
			t.Errorf("%s: got %d %s", name, got.status, got.body)
		}
	}
	for name, form := range map[string]url.Values{
		"unsupported_grant_type": {"grant_type": {"client_credentials"}},
		"invalid_request":        {"grant_type": {"urn:ietf:params:oauth:grant-type:token-exchange"}, "subject_token": {"x"}, "subject_token_type": {"saml"}},
		"invalid_scope":          {"grant_type": {"password"}, "username": {"bob"}, "password": {"bob-secret"}, "scope": {"nonsense"}},
	} {
		if got := b.post(form); got.status != http.StatusBadRequest || b.tokens(got).Error != name {
			t.Errorf("%s: got %d %s", name, got.status, got.body)
		}
	}
	if got := b.ask(asking{method: http.MethodPost, path: "/token?grant_type=password&username=bob&password=bob-secret"}); got.status == 200 {
		t.Error("a password is taken from the query, which logs keep")
	}
	if got := b.ask(asking{path: "/v2/", bearer: login.RefreshToken}); got.status != http.StatusUnauthorized {
		t.Errorf("a login is taken for an access token: %d", got.status)
	}
	b.hand.move(31 * 24 * time.Hour)
	if got := b.post(again); got.status != http.StatusUnauthorized {
		t.Errorf("a login after its time: got %d", got.status)
	}
}

// TestKeysRotate: after a month another key signs, and what the one before signed is good.
func TestKeysRotate(t *testing.T) {
	b := serve(t, site)
	b.hand.move(29 * 24 * time.Hour)
	form := url.Values{"grant_type": {"password"}, "username": {"bob"}, "password": {"bob-secret"}, "access_type": {"offline"}}
	first := b.tokens(b.post(form))
	b.hand.move(2 * 24 * time.Hour)
	second := b.tokens(b.post(form))
	kid := func(token string) any {
		return part[map[string]any](t, strings.Split(token, ".")[0])["kid"]
	}
	if kid(first.RefreshToken) == kid(second.RefreshToken) {
		t.Error("the same key signs")
	}
	for name, login := range map[string]string{"first": first.RefreshToken, "second": second.RefreshToken} {
		if got := b.post(url.Values{"grant_type": {"refresh_token"}, "refresh_token": {login}}); got.status != 200 {
			t.Errorf("what the %s key signed: got %d", name, got.status)
		}
	}
	info, err := os.Stat(filepath.Join(access.Folder(b.home), "keys.json"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the keys can be read by others: %v %v", info.Mode(), err)
	}
}

// part decodes a part of a token.
func part[T any](t *testing.T, text string) (out T) {
	t.Helper()
	raw, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

func encoded(t *testing.T, value any) string {
	t.Helper()
	text, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return base64.RawURLEncoding.EncodeToString(text)
}

func signed(t *testing.T, alg jose.SignatureAlgorithm, key any, header map[jose.HeaderKey]any, claims map[string]any) string {
	t.Helper()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: key}, &jose.SignerOptions{ExtraHeaders: header})
	if err != nil {
		t.Fatal(err)
	}
	text, err := jwt.Signed(signer).Claims(claims).Serialize()
	if err != nil {
		t.Fatal(err)
	}
	return text
}
