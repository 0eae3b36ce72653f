package access_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"plimsoll.dev/plimsoll/internal/registry/access"
	"plimsoll.dev/plimsoll/internal/registry/access/issuertest"
)

const origin = "https://registry.example.com"

// withIssuer is a site whose issuer lets people in, and workloads.
func withIssuer(i *issuertest.Issuer) string {
	return fmt.Sprintf(`
  externalURL: %s
  auth:
    htpasswd: users
    issuers:
    - name: corp
      url: %s
      caFile: %s
      audience: registry
      login: {clientID: plimsoll-login}
  admins: [{user: ann}]
  projects:
  - name: team
    members:
    - {user: "corp:kim@example.com", role: publisher}
    - {group: "corp:sailors", role: reader}
    - role: publisher
      workload: {issuer: corp, claims: {repository: acme/app, ref: "refs/heads/*"}}
    - role: reader
      workload: {issuer: corp, claims: {sub: "system:serviceaccount:prod:*"}}
`, origin, i.URL, i.CAFile)
}

func (b *bed) exchange(token string, scopes ...string) got {
	b.t.Helper()
	return b.post(url.Values{
		"grant_type": {"urn:ietf:params:oauth:grant-type:token-exchange"}, "scope": scopes,
		"subject_token": {token}, "subject_token_type": {"urn:ietf:params:oauth:token-type:id_token"},
	})
}

// TestWorkloads: whose claims are as wanted gets what the member has, in every way to ask.
func TestWorkloads(t *testing.T) {
	i := issuertest.New(t)
	b := serve(t, withIssuer(i))
	ci := func(repository, ref string) map[string]any {
		return map[string]any{"sub": "repo:" + repository + ":ref:" + ref, "aud": "registry", "repository": repository, "ref": ref}
	}
	account := func(sub string) map[string]any { return map[string]any{"sub": sub, "aud": "registry"} }
	const all = "repository:team/app:pull,push,delete"
	for _, c := range []struct {
		name   string
		claims map[string]any
		want   string
	}{
		{"as wanted", ci("acme/app", "refs/heads/main"), "repository:team/app:pull,push"},
		{"another repository", ci("acme/app2", "refs/heads/main"), ""},
		{"a repository that ends so", ci("evil/acme/app", "refs/heads/main"), ""},
		{"another reference", ci("acme/app", "refs/pull/1/merge"), ""},
		{"a branch with a slash", ci("acme/app", "refs/heads/a/b"), ""},
		{"a reference that holds the wanted", ci("acme/app", "refs/tags/refs/heads/main"), ""},
		{"a second line", map[string]any{"sub": "x", "aud": "registry", "repository": "acme/app\n", "ref": "refs/heads/main"}, ""},
		{"a claim is missing", map[string]any{"sub": "x", "aud": "registry", "repository": "acme/app"}, ""},
		{"a claim of another type", map[string]any{"sub": "x", "aud": "registry", "repository": map[string]any{"acme/app": true}, "ref": "refs/heads/main"}, ""},
		{"one of a list", map[string]any{"sub": "x", "aud": "registry", "repository": []string{"other", "acme/app"}, "ref": "refs/heads/main"}, "repository:team/app:pull,push"},
		{"a service account", account("system:serviceaccount:prod:app"), "repository:team/app:pull"},
		{"another namespace", account("system:serviceaccount:production:app"), ""},
		{"one with a colon more", account("system:serviceaccount:prod:x:y"), ""},
		{"groups do not count", map[string]any{"sub": "x", "aud": "registry", "groups": []string{"sailors"}}, ""},
		{"nor do names", map[string]any{"sub": "kim@example.com", "aud": "registry", "email": "kim@example.com", "email_verified": true}, ""},
	} {
		token := i.Sign(c.claims)
		answer := b.exchange(token, all)
		got := b.tokens(answer)
		if answer.status != 200 || got.Scope != c.want || got.RefreshToken != "" || got.IssuedType != "urn:ietf:params:oauth:token-type:access_token" {
			t.Errorf("%s: exchanged for %d %+v, want %q", c.name, answer.status, got, c.want)
		}
		status := map[bool]int{true: http.StatusAccepted, false: http.StatusForbidden}[strings.Contains(c.want, "push")]
		for how, q := range map[string]asking{"exchanged": {bearer: got.AccessToken}, "as a password": {user: "oidc", password: token}, "as anybody's password": {user: "bob", password: token}} {
			q.method, q.path = http.MethodPost, "/v2/team/app/blobs/uploads/"
			if got := b.ask(q); got.status != status && !(how == "exchanged" && got.status == http.StatusUnauthorized && status != http.StatusAccepted) {
				t.Errorf("%s, %s: got %d, want %d: %s", c.name, how, got.status, status, got.body)
			}
		}
	}
	for name, token := range map[string]string{
		"another audience":                i.Sign(map[string]any{"sub": "system:serviceaccount:prod:app", "aud": "https://kubernetes.default.svc"}),
		"expired":                         i.Sign(map[string]any{"sub": "system:serviceaccount:prod:app", "aud": "registry", "exp": time.Now().Add(-time.Minute).Unix()}),
		"another issuer":                  issuertest.New(t).Sign(map[string]any{"sub": "system:serviceaccount:prod:app", "aud": "registry"}),
		"one in its name":                 issuertest.New(t).Sign(map[string]any{"iss": i.URL, "sub": "system:serviceaccount:prod:app", "aud": "registry"}),
		"a control character in its name": i.Sign(map[string]any{"sub": "x\ny", "aud": "registry"}),
		"no name":                         i.Sign(map[string]any{"aud": "registry"}),
	} {
		if got := b.exchange(token, all); got.status != http.StatusUnauthorized {
			t.Errorf("%s: got %d %s", name, got.status, got.body)
		}
	}
}

// TestWorkloadTokenEndsWithItsIssuers: a token that is exchanged gains no time.
func TestWorkloadTokenEndsWithItsIssuers(t *testing.T) {
	i := issuertest.New(t)
	b := serve(t, withIssuer(i))
	token := i.Sign(map[string]any{"sub": "system:serviceaccount:prod:app", "aud": "registry", "exp": time.Now().Add(90 * time.Second).Unix()})
	got := b.tokens(b.exchange(token, "repository:team/app:pull"))
	if got.ExpiresIn > 90 {
		t.Errorf("it is good for %d s", got.ExpiresIn)
	}
	ask := asking{path: "/v2/team/app/tags/list", bearer: got.AccessToken}
	if got := b.ask(ask); got.status != http.StatusNotFound {
		t.Fatalf("got %d %s", got.status, got.body)
	}
	b.say(strings.Replace(withIssuer(i), "prod:*", "test:*", 1))
	if got := b.ask(ask); got.status != http.StatusForbidden {
		t.Errorf("after the condition changed: got %d", got.status)
	}
	b.say(strings.Replace(withIssuer(i), "audience: registry", "audience: other", 1))
	if got := b.ask(ask); got.status != http.StatusUnauthorized {
		t.Errorf("after the audience changed: got %d", got.status)
	}
}

func TestPeople(t *testing.T) {
	i := issuertest.New(t)
	b := serve(t, withIssuer(i))
	person := func(more map[string]any) map[string]any {
		claims := map[string]any{"sub": "4711", "aud": "plimsoll-login", "email": "kim@example.com", "email_verified": true}
		for name, value := range more {
			claims[name] = value
		}
		return claims
	}
	for _, c := range []struct {
		name   string
		claims map[string]any
		want   int // to push to team/app
		pull   int
	}{
		{"a publisher", person(nil), 202, 404},
		{"one of a group", person(map[string]any{"email": "lee@example.com", "groups": []string{"sailors", "cooks"}}), 403, 404},
		{"one of another", person(map[string]any{"email": "lee@example.com", "groups": []string{"sailors2", "corp:sailors"}}), 403, 403},
		{"an address that nobody verified", person(map[string]any{"email_verified": false}), 401, 401},
		{"an address that says so as text", person(map[string]any{"email_verified": "true"}), 401, 401},
		{"no address", person(map[string]any{"email": nil}), 401, 401},
		{"claims of a workload", person(map[string]any{"email": "lee@example.com", "repository": "acme/app", "ref": "refs/heads/main"}), 403, 403},
		{"a login at this registry", person(map[string]any{"nonce": access.Nonce(origin)}), 202, 404},
		{"a login that another registry asked for", person(map[string]any{"nonce": access.Nonce("https://evil.example")}), 401, 401},
		{"a binding that is cut", person(map[string]any{"nonce": "plimsoll.x"}), 401, 401},
	} {
		token := i.Sign(c.claims)
		if got := b.ask(asking{method: http.MethodPost, path: "/v2/team/app/blobs/uploads/", user: "oidc", password: token}); got.status != c.want {
			t.Errorf("%s pushes: got %d, want %d: %s", c.name, got.status, c.want, got.body)
		}
		if got := b.ask(asking{path: "/v2/team/app/tags/list", user: "oidc", password: token}); got.status != c.pull {
			t.Errorf("%s pulls: got %d, want %d: %s", c.name, got.status, c.pull, got.body)
		}
	}
}

// TestLoginOfAPerson: a login outlives the issuer's token, but not its period, nor the issuer.
func TestLoginOfAPerson(t *testing.T) {
	i := issuertest.New(t)
	b := serve(t, withIssuer(i))
	token := i.Sign(map[string]any{"sub": "4711", "aud": "plimsoll-login", "email": "kim@example.com", "email_verified": true})
	form := url.Values{"grant_type": {"password"}, "username": {"oidc"}, "password": {token}, "access_type": {"offline"}}
	login := b.tokens(b.post(form)).RefreshToken
	again := func() got {
		return b.post(url.Values{"grant_type": {"refresh_token"}, "refresh_token": {login}, "scope": {"repository:team/app:push"}})
	}
	b.hand.move(11 * time.Hour)
	if got := b.tokens(again()); got.Scope != "repository:team/app:push" {
		t.Errorf("after 11 hours: %+v", got)
	}
	if got := b.post(form); got.status != http.StatusUnauthorized {
		t.Errorf("the issuer's token after 11 hours: got %d", got.status)
	}
	b.say(strings.Replace(withIssuer(i), "kim@", "lee@", 1))
	if got := b.tokens(again()); got.Scope != "" {
		t.Errorf("no longer a member: %+v", got)
	}
	b.say(strings.Replace(withIssuer(i), "clientID: plimsoll-login", "clientID: another", 1))
	if got := again(); got.status != http.StatusUnauthorized {
		t.Errorf("with another client: got %d", got.status)
	}
	b.say(withIssuer(i))
	b.hand.move(2 * time.Hour)
	if got := again(); got.status != http.StatusUnauthorized {
		t.Errorf("after 13 hours: got %d", got.status)
	}
}

// TestIssuerDown: what is no fault of the client's is not told as one, and not counted.
func TestIssuerDown(t *testing.T) {
	i := issuertest.New(t)
	b := serve(t, withIssuer(i))
	i.Down(true)
	token := i.Sign(map[string]any{"sub": "system:serviceaccount:prod:app", "aud": "registry"})
	for range 40 {
		got := b.exchange(token)
		if got.status != http.StatusServiceUnavailable || got.header.Get("Retry-After") == "" {
			t.Fatalf("exchanged: got %d %s", got.status, got.body)
		}
		if got := b.ask(asking{path: "/v2/", user: "oidc", password: token}); got.status != http.StatusServiceUnavailable {
			t.Fatalf("as a password: got %d %s", got.status, got.body)
		}
	}
	if got := b.ask(asking{path: "/v2/", user: "ann", password: "ann-secret"}); got.status != 200 {
		t.Errorf("users pay for it: got %d", got.status)
	}
}
