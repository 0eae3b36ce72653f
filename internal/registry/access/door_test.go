package access_test

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"plimsoll.dev/plimsoll/internal/registry/access"
	"plimsoll.dev/plimsoll/internal/registry/call"
)

func actionOf(text string) call.Action { return call.Action(text) }

const year = 365 * 24 * time.Hour

// site is what most tests say: ann is admin of all, bob publishes in team and reads base.
const site = `
  auth: {htpasswd: users}
  admins: [{user: ann}]
  auditors: [{user: eve}]
  projects:
  - name: team
    members:
    - {user: bob, role: publisher}
  - name: team/secret
    members:
    - {robot: team/ci, role: reader}
  - name: base
    members:
    - {user: bob, role: reader}
    - {robot: team/ci, role: reader}
  - name: public
    public: true
`

// TestWhoMayDoWhat is the table of roles, asked over HTTP with Basic and with a token.
func TestWhoMayDoWhat(t *testing.T) {
	b := serve(t, site)
	for _, repo := range []string{"team/app", "teams/app", "team/secret/app", "base/run", "public/app", "stray"} {
		b.push(repo+":v1", "ann", "ann-secret")
	}
	ci, ciSecret := b.robot("team/ci", year, []string{"team/app*"}, "pull", "push")
	reader, readerSecret := b.robot("team/reader", year, nil, "pull")
	for _, c := range []struct {
		name, user, password string
		method, path         string
		want                 int // with Basic, and with a token for all that could be asked
	}{
		{"admin, anywhere", "ann", "ann-secret", "GET", "/v2/stray/manifests/v1", 200},
		{"admin lists all", "ann", "ann-secret", "GET", "/v2/_catalog", 200},
		{"auditor lists all", "eve", "eve-secret", "GET", "/v2/_catalog", 200},
		{"auditor does not pull", "eve", "eve-secret", "GET", "/v2/team/app/manifests/v1", 403},
		{"publisher pulls", "bob", "bob-secret", "GET", "/v2/team/app/manifests/v1", 200},
		{"publisher pushes", "bob", "bob-secret", "POST", "/v2/team/app/blobs/uploads/", 202},
		{"publisher does not delete", "bob", "bob-secret", "DELETE", "/v2/team/app/manifests/v1", 403},
		{"publisher does not list all", "bob", "bob-secret", "GET", "/v2/_catalog", 403},
		{"a name that begins so", "bob", "bob-secret", "GET", "/v2/teams/app/manifests/v1", 403},
		{"a project below", "bob", "bob-secret", "GET", "/v2/team/secret/app/manifests/v1", 403},
		{"nobody's", "bob", "bob-secret", "GET", "/v2/stray/manifests/v1", 403},
		{"reader pulls", "bob", "bob-secret", "GET", "/v2/base/run/tags/list", 200},
		{"reader does not push", "bob", "bob-secret", "POST", "/v2/base/run/blobs/uploads/", 403},
		{"public", "bob", "bob-secret", "GET", "/v2/public/app/manifests/v1", 200},
		{"public is not for writing", "bob", "bob-secret", "PUT", "/v2/public/app/manifests/v1", 403},
		{"anybody, public", "", "", "GET", "/v2/public/app/manifests/v1", 200},
		{"anybody, public, writing", "", "", "POST", "/v2/public/app/blobs/uploads/", 401},
		{"anybody", "", "", "GET", "/v2/team/app/manifests/v1", 401},
		{"robot in its repositories", ci, ciSecret, "POST", "/v2/team/app2/blobs/uploads/", 202},
		{"robot beside them", ci, ciSecret, "GET", "/v2/team/other/manifests/v1", 403},
		{"robot where it is a member", ci, ciSecret, "GET", "/v2/base/run/manifests/v1", 200},
		{"robot where it is a member, writing", ci, ciSecret, "POST", "/v2/base/run/blobs/uploads/", 403},
		{"robot in the project below, as a member", ci, ciSecret, "GET", "/v2/team/secret/app/manifests/v1", 200},
		{"robot in the project below", reader, readerSecret, "GET", "/v2/team/secret/app/manifests/v1", 403},
		{"robot elsewhere", reader, readerSecret, "GET", "/v2/base/run/manifests/v1", 403},
		{"robot in public", reader, readerSecret, "GET", "/v2/public/app/manifests/v1", 200},
		{"robot that only pulls", reader, readerSecret, "POST", "/v2/team/app/blobs/uploads/", 403},
		{"robot that only pulls, deleting", reader, readerSecret, "DELETE", "/v2/team/app/manifests/v1", 403},
		{"robot does not list all", ci, ciSecret, "GET", "/v2/_catalog", 403},
	} {
		got := b.ask(asking{method: c.method, path: c.path, user: c.user, password: c.password})
		if got.status != c.want {
			t.Errorf("%s: Basic got %d, want %d: %s", c.name, got.status, c.want, got.body)
		}
		to, _ := call.Parse(c.path)
		scopes := []string{"registry:catalog:*"}
		if to.Repository != "" {
			scopes = append(scopes, "repository:"+to.Repository+":*")
		}
		token := b.token(c.user, c.password, scopes...)
		if got := b.ask(asking{method: c.method, path: c.path, bearer: token}); got.status != c.want {
			t.Errorf("%s: a token got %d, want %d: %s", c.name, got.status, c.want, got.body)
		}
	}
}

// TestRefusalsTellNothing: a repository that one may not pull looks the same whether it is
// there or not.
func TestRefusalsTellNothing(t *testing.T) {
	b := serve(t, site)
	b.push("team/secret/app:v1", "ann", "ann-secret")
	for _, who := range []asking{{}, {user: "bob", password: "bob-secret"}} {
		there, absent := who, who
		there.path, absent.path = "/v2/team/secret/app/manifests/v1", "/v2/team/secret/abc/manifests/v1"
		one, other := b.ask(there), b.ask(absent)
		alike := func(text string) string { return strings.ReplaceAll(text, "secret/abc", "secret/app") }
		if one.status != other.status || one.body != alike(other.body) || one.header.Get("WWW-Authenticate") != alike(other.header.Get("WWW-Authenticate")) {
			t.Errorf("as %q: %+v and %+v", who.user, one, other)
		}
		if one.status == http.StatusForbidden && !strings.Contains(one.body, "may not pull in team/secret/app") {
			t.Errorf("it does not say what is missing: %s", one.body)
		}
	}
}

// TestConfigurationCountsAtOnce: who is taken out loses what he had, with a token that is good.
func TestConfigurationCountsAtOnce(t *testing.T) {
	b := serve(t, site)
	b.push("team/app:v1", "ann", "ann-secret")
	token := b.token("bob", "bob-secret", "repository:team/app:pull")
	ask := asking{path: "/v2/team/app/manifests/v1", bearer: token}
	if got := b.ask(ask); got.status != 200 {
		t.Fatalf("got %d", got.status)
	}
	b.say(strings.Replace(site, "{user: bob, role: publisher}", "{user: eve, role: publisher}", 1))
	if got := b.ask(ask); got.status != http.StatusForbidden {
		t.Errorf("a removed member's token: got %d", got.status)
	}
	b.say(strings.Replace(site, "publisher", "captain", 1))
	if got := b.ask(ask); got.status != http.StatusForbidden || !strings.Contains(b.log.String(), "registry settings cannot be taken up") {
		t.Errorf("a broken file counts, or is not told: got %d", got.status)
	}
	b.say(site)
	if got := b.ask(ask); got.status != 200 {
		t.Errorf("let in again: got %d", got.status)
	}
	htpasswd(t, filepath.Join(b.home, "users"), map[string]string{"ann": "ann-secret", "bob": "changed"})
	if got := b.ask(ask); got.status != http.StatusUnauthorized {
		t.Errorf("a token from before the password changed: got %d", got.status)
	}
	b.say("  auth: {htpasswd: users, notBefore: 2099-01-01T00:00:00Z}\n  admins: [{user: ann}]\n")
	if got := b.ask(asking{path: "/v2/", bearer: b.token("ann", "ann-secret")}); got.status != http.StatusUnauthorized {
		t.Errorf("a token from before notBefore: got %d", got.status)
	}
}

// TestPathConfusion: what one handler could read in one way and the next in another is read by
// neither.
func TestPathConfusion(t *testing.T) {
	b := serve(t, site)
	b.push("team/secret/app:v1", "ann", "ann-secret")
	token := b.token("bob", "bob-secret", "repository:team/app:pull,push")
	for _, path := range []string{
		"/v2/team/app/../secret/app/manifests/v1",
		"/v2/team/app/%2e%2e/secret/app/manifests/v1",
		"/v2/team/app%2f..%2fsecret%2fapp/manifests/v1",
		"/v2/team%2Fsecret%2Fapp/manifests/v1",
		"/v2//team/secret/app/manifests/v1",
		"/v2/team//secret/app/manifests/v1",
		"/v2/./team/secret/app/manifests/v1",
		"/v2/team/secret/app/manifests/v1/",
		"/v2/team/app/manifests/..%2f..%2f..%2fsecret/app/manifests/v1",
		"/v2/team\\secret\\app/manifests/v1",
		"/v2/TEAM/secret/app/manifests/v1",
		"/v2/team/secret/app/manifests/v1%00",
		"/V2/team/secret/app/manifests/v1",
		"/v2/team/app/manifests/v1/../../../secret/app/manifests/v1",
		"/v2/public/../team/secret/app/manifests/v1",
		"//v2/team/secret/app/manifests/v1",
		"/token/../v2/team/secret/app/manifests/v1",
	} {
		for _, who := range []asking{{bearer: token}, {user: "bob", password: "bob-secret"}, {}} {
			who.path = path
			if got := b.ask(who); got.status < 400 || got.status == 500 || strings.Contains(got.body, "schemaVersion") {
				t.Errorf("%s as %q: got %d", path, who.user, got.status)
			}
		}
	}
}

func TestHeaderSmuggling(t *testing.T) {
	b := serve(t, site)
	anybody := b.token("", "", "repository:team/app:pull")
	for name, header := range map[string][]string{
		"two":               {"Basic Ym9iOmJvYi1zZWNyZXQ=", "Basic YW5uOmFubi1zZWNyZXQ="},
		"two schemes":       {"Bearer " + anybody, "Basic YW5uOmFubi1zZWNyZXQ="},
		"unknown scheme":    {"Negotiate abc"},
		"empty":             {""},
		"empty bearer":      {"Bearer "},
		"folded into one":   {"Bearer " + anybody + ", Basic YW5uOmFubi1zZWNyZXQ="},
		"not base64":        {"Basic %%%"},
		"no colon":          {"Basic YW5u"},
		"password too long": {"Basic " + strings.Repeat("QUFB", 10000)},
	} {
		got := b.ask(asking{path: "/v2/team/app/manifests/v1", header: http.Header{"Authorization": header}})
		if got.status != http.StatusUnauthorized {
			t.Errorf("%s: got %d", name, got.status)
		}
	}
}

// TestMountFromElsewhere: a blob of a repository that one may not pull is not to be had by
// mounting it.
func TestMountFromElsewhere(t *testing.T) {
	b := serve(t, site)
	img := b.push("team/secret/app:v1", "ann", "ann-secret")
	layers, err := img.Layers()
	if err != nil {
		t.Fatal(err)
	}
	digest, err := layers[0].Digest()
	if err != nil {
		t.Fatal(err)
	}
	path := "/v2/team/mine/blobs/uploads/?mount=" + digest.String() + "&from=team/secret/app"
	token := b.token("bob", "bob-secret", "repository:team/mine:pull,push", "repository:team/secret/app:pull")
	for _, who := range []asking{{user: "bob", password: "bob-secret"}, {bearer: token}} {
		who.method, who.path = http.MethodPost, path
		if got := b.ask(who); got.status != http.StatusAccepted {
			t.Errorf("got %d, want an upload as if the blob were not there", got.status)
		}
	}
	for _, path := range []string{path + "&from=team/mine", "/v2/team/mine/blobs/uploads/?mount=" + digest.String() + "&from=team/mine&from=team/secret/app"} {
		b.ask(asking{method: http.MethodPost, path: path, user: "bob", password: "bob-secret"})
	}
	const form = "application/x-www-form-urlencoded"
	for contentType, body := range map[string]string{
		form: "mount=" + digest.String() + "&from=team/secret/app",
		"multipart/form-data; boundary=x": "--x\r\nContent-Disposition: form-data; name=mount\r\n\r\n" + digest.String() +
			"\r\n--x\r\nContent-Disposition: form-data; name=from\r\n\r\nteam/secret/app\r\n--x--\r\n",
	} {
		for _, query := range []string{"", "?mount=" + digest.String() + "&from=team/mine"} {
			got := b.ask(asking{
				method: http.MethodPost, path: "/v2/team/mine/blobs/uploads/" + query, user: "bob", password: "bob-secret",
				header: http.Header{"Content-Type": {contentType}}, body: body,
			})
			if got.status == http.StatusCreated {
				t.Errorf("%s, %q: mounted", contentType, query)
			}
		}
	}
	if got := b.ask(asking{path: "/v2/team/mine/blobs/" + digest.String(), user: "bob", password: "bob-secret"}); got.status != http.StatusNotFound {
		t.Errorf("the blob is there: got %d", got.status)
	}
	if got := b.ask(asking{method: http.MethodPost, path: path, user: "ann", password: "ann-secret"}); got.status != http.StatusCreated {
		t.Errorf("who may pull there cannot mount: got %d %s", got.status, got.body)
	}
}

// TestWithoutSettings: a site that says nothing is open, or open to whoever has an account.
func TestWithoutSettings(t *testing.T) {
	b := serve(t, "")
	if got := b.ask(asking{method: http.MethodPost, path: "/v2/any/blobs/uploads/"}); got.status != http.StatusAccepted {
		t.Errorf("without anything said: got %d", got.status)
	}
	if _, err := os.Stat(filepath.Join(b.home, "access")); !os.IsNotExist(err) {
		t.Error("a site that says nothing of access keeps something")
	}
	b.say(site)
	if got := b.ask(asking{method: http.MethodPost, path: "/v2/any/blobs/uploads/"}); got.status != http.StatusUnauthorized {
		t.Errorf("once something is said: got %d", got.status)
	}
}

func TestAccountsAlone(t *testing.T) {
	b := serve(t, "")
	file := filepath.Join(b.home, "accounts")
	htpasswd(t, file, map[string]string{"ann": "secret", "bob": "other"})
	b.addr = b.start(access.Options{Htpasswd: file})
	for _, c := range []struct {
		name, user, password string
		want                 int
	}{
		{"nobody", "", "", 401},
		{"known", "ann", "secret", 200},
		{"known, again from memory", "ann", "secret", 200},
		{"wrong password", "ann", "other", 401},
		{"empty password", "ann", "", 401},
		{"unknown", "eve", "secret", 401},
		{"the boundary between user and password moved", "anns", "ecret", 401},
	} {
		got := b.ask(asking{path: "/v2/", user: c.user, password: c.password})
		if got.status != c.want {
			t.Errorf("%s: got %d, want %d", c.name, got.status, c.want)
		}
		if c.want == 401 && !strings.HasPrefix(got.header.Get("WWW-Authenticate"), "Basic ") {
			t.Errorf("%s: no challenge in %v", c.name, got.header)
		}
	}
	if got := b.ask(asking{path: "/healthz"}); got.status != 200 {
		t.Errorf("/healthz needs an account: %d", got.status)
	}
	b.push("a:v1", "bob", "other")
	if err := remote.Write(b.ref("a:v2"), image(t)); err == nil {
		t.Error("anybody may push")
	}
	htpasswd(t, file, map[string]string{"ann": "changed"})
	for user, want := range map[string]int{"ann secret": 401, "ann changed": 200, "bob other": 401} {
		name, password, _ := strings.Cut(user, " ")
		if got := b.ask(asking{path: "/v2/", user: name, password: password}); got.status != want {
			t.Errorf("after a change %s gets %d, want %d", user, got.status, want)
		}
	}
	replace(t, file, "half a li")
	if got := b.ask(asking{path: "/v2/", user: "ann", password: "changed"}); got.status != 200 {
		t.Errorf("a broken file locks everybody out: %d", got.status)
	}
}

// TestLogHoldsNoCredentials looks for every kind of secret in all that is logged.
func TestLogHoldsNoCredentials(t *testing.T) {
	b := serve(t, site)
	user, secret := b.robot("team/ci", year, nil, "pull", "push")
	if err := remote.Write(b.ref("team/app:v1"), image(t), remote.WithAuth(&authn.Basic{Username: user, Password: secret})); err != nil {
		t.Fatal(err)
	}
	token := b.token(user, secret, "repository:team/app:pull")
	b.ask(asking{path: "/v2/team/app/manifests/none?access_token=" + secret, user: user, password: secret})
	b.ask(asking{path: "/v2/", user: "ann", password: "wrong-hunter2"})
	b.ask(asking{path: "/v2/team/app/tags/list", bearer: token})
	b.ask(asking{path: "/v2/team/app/tags/list", bearer: "hunter2"})
	b.ask(asking{path: "/token?password=hunter2", user: "ann", password: "hunter2"})
	text := b.log.String()
	for _, secret := range []string{"hunter2", "_state", "Basic ", "Bearer ", secret, token, token[:40]} {
		if strings.Contains(text, secret) {
			t.Errorf("the log holds %q:\n%s", secret, text)
		}
	}
	var line struct {
		Msg, Method, Path, User string
		Status                  int
	}
	found := false
	for entry := range strings.Lines(text) {
		if err := json.Unmarshal([]byte(entry), &line); err != nil {
			t.Fatal(err)
		}
		found = found || line.Method == "PUT" && line.Path == "/v2/team/app/manifests/v1" && line.User == user && line.Status == 201
	}
	if !found {
		t.Errorf("no line for the push of a manifest:\n%s", text)
	}
}
