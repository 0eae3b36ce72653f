package webhook

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"

	"plimsoll.dev/plimsoll/api/v1alpha1"
	"plimsoll.dev/plimsoll/internal/controller"
	"plimsoll.dev/plimsoll/internal/controller/bed"
)

const (
	token  = "a-token-of-the-team"
	github = `{"ref":"refs/heads/main","repository":{"clone_url":"https://git.example.com/team/shop.git","ssh_url":"git@git.example.com:team/shop.git","html_url":"https://git.example.com/team/shop","default_branch":"main"}}`
	gitlab = `{"ref":"refs/heads/main","project":{"git_http_url":"https://git.example.com/team/shop.git","git_ssh_url":"git@git.example.com:team/shop.git","default_branch":"main"}}`
)

func hexOf(key, body string) string { return hex.EncodeToString(sign([]byte(key), []byte(body))) }

func standard(key, body string, at time.Time) http.Header {
	seconds := strconv.FormatInt(at.Unix(), 10)
	signature := base64.StdEncoding.EncodeToString(sign([]byte(key), []byte("id."+seconds+"."), []byte(body)))
	return header("webhook-id", "id", "webhook-timestamp", seconds, "webhook-signature", "v1,AAAA v1,"+signature)
}

func header(pairs ...string) http.Header {
	h := http.Header{}
	for i := 0; i < len(pairs); i += 2 {
		h.Set(pairs[i], pairs[i+1])
	}
	return h
}

func TestVerify(t *testing.T) {
	const body = `{"ref":"refs/heads/main"}`
	stripped := standard(token, body, time.Now())
	stripped.Del("webhook-timestamp")
	for _, test := range []struct {
		name   string
		header http.Header
		token  string
		want   bool
	}{
		{"GitHub", header("X-Hub-Signature-256", "sha256="+hexOf(token, body)), token, true},
		{"GitHub, of another body", header("X-Hub-Signature-256", "sha256="+hexOf(token, body+" ")), token, false},
		{"GitHub, of another token", header("X-Hub-Signature-256", "sha256="+hexOf("other", body)), token, false},
		{"GitHub, without its prefix", header("X-Hub-Signature-256", hexOf(token, body)), token, false},
		{"GitHub, cut", header("X-Hub-Signature-256", "sha256="+hexOf(token, body)[:10]), token, false},
		{"GitHub's older one alone", header("X-Hub-Signature", "sha1="+hexOf(token, body)), token, false},
		{"Gitea", header("X-Gitea-Signature", hexOf(token, body)), token, true},
		{"Forgejo", header("X-Forgejo-Signature", hexOf(token, body)), token, true},
		{"Gitea, nonsense", header("X-Gitea-Signature", "nonsense"), token, false},
		{"GitLab's token", header("X-Gitlab-Token", token), token, true},
		{"GitLab, another token", header("X-Gitlab-Token", token+"x"), token, false},
		{"GitLab, a part of it", header("X-Gitlab-Token", token[:5]), token, false},
		{"GitLab, signed", standard(token, body, time.Now()), token, true},
		{"GitLab, signed with a key in base64", standard("key", body, time.Now()), "whsec_" + base64.StdEncoding.EncodeToString([]byte("key")), true},
		{"GitLab, signed long ago", standard(token, body, time.Now().Add(-6*time.Minute)), token, false},
		{"GitLab, signed tomorrow", standard(token, body, time.Now().Add(6*time.Minute)), token, false},
		{"GitLab, signed without a time", stripped, token, false},
		{"a wrong signature beside a right token", header("X-Hub-Signature-256", "sha256=00", "X-Gitlab-Token", token), token, false},
		{"nothing", header(), token, false},
		{"an empty token", header("X-Gitlab-Token", ""), "", false},
		{"an empty token, signed", header("X-Hub-Signature-256", "sha256="+hexOf("", body)), "", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := verify(test.header, []byte(body), []byte(test.token)); got != test.want {
				t.Errorf("got %v", got)
			}
		})
	}
}

func TestParse(t *testing.T) {
	for _, test := range []struct {
		name, kind, body string
		ref              string
		at               []string
		sound            bool
	}{
		{"GitHub", "application/json", github, "refs/heads/main", []string{"git.example.com/team/shop"}, true},
		{"GitHub's form", "application/x-www-form-urlencoded", "payload=" + url.QueryEscape(github), "refs/heads/main", []string{"git.example.com/team/shop"}, true},
		{"GitLab", "application/json; charset=utf-8", gitlab, "refs/heads/main", []string{"git.example.com/team/shop"}, true},
		{"a ping", "application/json", `{"zen":"Keep it simple","repository":{"clone_url":"https://a/b"}}`, "", []string{"a/b"}, true},
		{"no JSON", "application/json", "hello", "", nil, false},
		{"an empty form", "application/x-www-form-urlencoded", "", "", nil, false},
		{"a ref that is a number", "application/json", `{"ref":1}`, "", nil, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			p, sound := parse(test.kind, []byte(test.body))
			if sound != test.sound || p.Ref != test.ref {
				t.Errorf("got %q, %v", p.Ref, sound)
			}
			if diff := cmp.Diff(test.at, p.repositories()); diff != "" {
				t.Errorf("repositories (-want +got):\n%s", diff)
			}
		})
	}
}

func TestBears(t *testing.T) {
	for _, test := range []struct {
		revision, ref, fallback string
		want                    bool
	}{
		{"main", "refs/heads/main", "main", true},
		{"main", "refs/heads/next", "main", false},
		{"v1", "refs/tags/v1", "main", true},
		{"refs/heads/main", "refs/heads/main", "", true},
		{"", "refs/heads/main", "main", true},
		{"", "refs/heads/next", "main", false},
		{"", "refs/heads/next", "", true},
		{"main", "", "", true},
	} {
		i := &v1alpha1.Image{}
		i.Spec.Source.Git = &v1alpha1.GitSource{Revision: test.revision}
		p := push{Ref: test.ref, Project: place{DefaultBranch: test.fallback}}
		if got := p.bears(i); got != test.want {
			t.Errorf("%+v: got %v", test, got)
		}
	}
}

// doorbell remembers whom it was rung for.
type doorbell struct {
	mu      sync.Mutex
	asked   []string
	doubted []string
}

func (d *doorbell) Doubt(name types.NamespacedName) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.doubted = append(d.doubted, name.String())
}

func (d *doorbell) Ask(name types.NamespacedName) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.asked = append(d.asked, name.String())
	return true
}

func (d *doorbell) all() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	out := slices.Sorted(slices.Values(d.asked))
	d.asked = nil
	return out
}

// TestHandler sends webhooks for Images of a real API server.
func TestHandler(t *testing.T) {
	b := bed.New(t)
	bell := &doorbell{}
	var handler http.Handler
	ready := make(chan struct{})
	b.Manager(t, controller.Options{}, func(m ctrl.Manager) error {
		if err := Index(m.GetFieldIndexer()); err != nil {
			return err
		}
		handler = Handler(Cluster{Cache: m.GetClient(), Secrets: m.GetAPIReader(), Leading: m.Elected()}, bell)
		close(ready)
		return nil
	})
	<-ready
	for namespace, secret := range map[string]string{"default": token, "other": "another-token"} {
		if namespace != "default" {
			b.Create(t, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}})
		}
		b.Create(t, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "hook"}, Data: map[string][]byte{"token": []byte(secret)}})
	}
	declare := func(namespace, name, url, revision, secret string) {
		i := &v1alpha1.Image{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
		i.Spec = v1alpha1.ImageSpec{Tag: namespace + "/" + name + ":1", Builder: v1alpha1.ClusterReference{Name: "standard"}, Source: v1alpha1.ImageSource{Git: &v1alpha1.GitSource{URL: url, Revision: revision}}}
		if secret != "" {
			i.Spec.Triggers.WebhookSecret = &v1alpha1.LocalReference{Name: secret}
		}
		b.Create(t, i)
	}
	declare("default", "web", "https://git.example.com/team/shop.git", "main", "hook")
	declare("default", "ssh", "git@git.example.com:team/shop.git", "", "hook")
	declare("default", "next", "https://git.example.com/team/shop.git", "next", "hook")
	declare("default", "deaf", "https://git.example.com/team/shop.git", "main", "")
	declare("default", "lost", "https://git.example.com/team/shop.git", "main", "nosuch")
	declare("default", "elsewhere", "https://git.example.com/team/other.git", "main", "hook")
	declare("other", "web", "https://git.example.com/team/shop.git", "main", "hook")

	send := func(path, body string, h http.Header) *httptest.ResponseRecorder {
		request := httptest.NewRequest("POST", path, strings.NewReader(body))
		for name, values := range h {
			request.Header[name] = values
		}
		answer := httptest.NewRecorder()
		handler.ServeHTTP(answer, request)
		return answer
	}
	signed := header("X-Hub-Signature-256", "sha256="+hexOf(token, github), "Content-Type", "application/json")
	b.Until(t, func() string { // the cache has all
		if answer := send("/webhooks", github, signed); answer.Code != 202 || !strings.Contains(answer.Body.String(), `"images":3`) {
			return answer.Body.String()
		}
		return ""
	})
	bell.all()
	for _, test := range []struct {
		name, path, body string
		header           http.Header
		code             int
		want             []string
	}{
		{"one Image", "/webhooks/default/web", github, signed, 202, []string{"default/web"}},
		{"one Image, by GitLab", "/webhooks/default/web", gitlab, header("X-Gitlab-Token", token), 202, []string{"default/web"}},
		{"all that the secret is for", "/webhooks", github, signed, 202, []string{"default/ssh", "default/web"}},
		{"all of another team", "/webhooks", github, header("X-Gitea-Signature", hexOf("another-token", github)), 202, []string{"other/web"}},
		{"one that follows another branch", "/webhooks/default/next", github, signed, 202, nil},
		{"one that hears none", "/webhooks/default/deaf", github, signed, 401, nil},
		{"one whose secret is not there", "/webhooks/default/lost", github, signed, 401, nil},
		{"one that is not there", "/webhooks/default/nobody", github, signed, 401, nil},
		{"another team's token", "/webhooks/other/web", github, signed, 401, nil},
		{"no signature", "/webhooks/default/web", github, nil, 401, nil},
		{"no signature, for all", "/webhooks", github, nil, 401, nil},
		{"signed nonsense", "/webhooks/default/web", "nonsense", header("X-Hub-Signature-256", "sha256="+hexOf(token, "nonsense")), 400, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			answer := send(test.path, test.body, test.header)
			if answer.Code != test.code {
				t.Errorf("got %d: %s", answer.Code, answer.Body)
			}
			if diff := cmp.Diff(test.want, bell.all()); diff != "" {
				t.Errorf("asked (-want +got):\n%s", diff)
			}
		})
	}
	if len(bell.doubted) == 0 || slices.ContainsFunc(bell.doubted, func(name string) bool { return name != "default/lost" }) {
		t.Errorf("doubted were %v", bell.doubted)
	}
	t.Run("a body without end", func(t *testing.T) {
		if answer := send("/webhooks/default/web", strings.Repeat("x", maxBody+1), signed); answer.Code != http.StatusRequestEntityTooLarge {
			t.Errorf("got %d", answer.Code)
		}
	})
	t.Run("a storm of strangers", func(t *testing.T) {
		busy := 0
		for range 500 {
			if send("/webhooks/default/web", github, nil).Code == http.StatusServiceUnavailable {
				busy++
			}
		}
		if busy == 0 {
			t.Error("each of 500 asked the API for a secret")
		}
	})
	t.Run("another replica leads", func(t *testing.T) {
		handler := Handler(Cluster{Leading: make(chan struct{})}, bell)
		answer := httptest.NewRecorder()
		handler.ServeHTTP(answer, httptest.NewRequest("POST", "/webhooks/default/web", nil))
		if answer.Code != http.StatusServiceUnavailable {
			t.Errorf("got %d", answer.Code)
		}
	})
}

// FuzzParse holds that no body breaks the parser, and that what it finds is a host and a path.
func FuzzParse(f *testing.F) {
	f.Add("application/json", []byte(github))
	f.Add("application/json", []byte(gitlab))
	f.Add("application/x-www-form-urlencoded", []byte("payload="+url.QueryEscape(github)))
	f.Add("", []byte(`{"repository":{"clone_url":"://","ssh_url":":","html_url":"@:"}}`))
	f.Fuzz(func(t *testing.T, kind string, body []byte) {
		p, _ := parse(kind, body)
		for _, at := range p.repositories() {
			if host, path, ok := strings.Cut(at, "/"); !ok || host == "" || path == "" {
				t.Errorf("%q", at)
			}
		}
	})
}

// FuzzVerify holds that nobody without the token is believed.
func FuzzVerify(f *testing.F) {
	for _, name := range []string{"webhook-signature", "X-Hub-Signature-256", "X-Gitea-Signature", "X-Gitlab-Token"} {
		f.Add(name, "sha256=00", "0", []byte("body"))
		f.Add(name, "v1,AAAA v1", fmt.Sprint(time.Now().Unix()), []byte("body"))
	}
	f.Fuzz(func(t *testing.T, name, value, timestamp string, body []byte) {
		h := http.Header{}
		h.Set(name, value)
		h.Set("webhook-timestamp", timestamp)
		if verify(h, body, []byte("a token that nobody can guess 7f3b")) && value != "a token that nobody can guess 7f3b" {
			t.Errorf("%s: %q is believed", name, value)
		}
	})
}
