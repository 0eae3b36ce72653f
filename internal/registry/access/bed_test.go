package access_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/crypto/bcrypt"

	"plimsoll.dev/plimsoll/internal/registry"
	"plimsoll.dev/plimsoll/internal/registry/access"
	"plimsoll.dev/plimsoll/internal/registry/access/robot"
	"plimsoll.dev/plimsoll/internal/registry/settings"
)

// bed is a registry that is served, with access before it.
type bed struct {
	t    testing.TB
	home string
	addr string // host:port
	log  *lockedBuffer
	hand *hand
}

// serve serves a registry whose registry.yaml has that spec; "" is none. Users ann, bob and eve
// have the passwords ann-secret and so on.
func serve(t testing.TB, spec string) *bed {
	t.Helper()
	b := &bed{t: t, home: t.TempDir(), log: &lockedBuffer{}, hand: &hand{}}
	htpasswd(t, filepath.Join(b.home, "users"), map[string]string{"ann": "ann-secret", "bob": "bob-secret", "eve": "eve-secret"})
	if spec != "" {
		b.say(spec)
	}
	b.addr = b.start(access.Options{})
	return b
}

// start serves the home once more, and gives the address.
func (b *bed) start(o access.Options) string {
	b.t.Helper()
	log := slog.New(slog.NewJSONHandler(b.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	said, err := settings.Open(filepath.Join(b.home, "registry.yaml"), log, access.Check)
	if err != nil {
		b.t.Fatal(err)
	}
	o.Settings, o.Logger, o.Now = said, log, b.hand.now
	who, err := access.Open(b.home, o)
	if err != nil {
		b.t.Fatal(err)
	}
	reg, err := registry.Open(context.Background(), registry.Options{Root: filepath.Join(b.home, "registry"), Logger: log})
	if err != nil {
		b.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ready, ended := make(chan net.Addr, 1), make(chan error, 1)
	go func() {
		ended <- reg.Serve(ctx, registry.ServeOptions{
			Addr: "127.0.0.1:0", Ready: func(a net.Addr) { ready <- a },
			Doors: []func(http.Handler) http.Handler{who.Door}, Pages: who.Pages(),
		})
	}()
	b.t.Cleanup(func() {
		cancel()
		if err := errors.Join(<-ended, reg.Close()); err != nil {
			b.t.Errorf("server ended with %v", err)
		}
	})
	select {
	case a := <-ready:
		return a.String()
	case err := <-ended:
		ended <- nil
		b.t.Fatal(err)
		return ""
	}
}

// say writes registry.yaml.
func (b *bed) say(spec string) {
	b.t.Helper()
	text := "apiVersion: plimsoll.dev/v1alpha1\nkind: Registry\nmetadata: {name: site}\nspec:\n" + spec
	replace(b.t, filepath.Join(b.home, "registry.yaml"), text)
}

func replace(t testing.TB, path, text string) {
	t.Helper()
	if err := errors.Join(os.WriteFile(path+".new", []byte(text), 0o600), os.Rename(path+".new", path)); err != nil {
		t.Fatal(err)
	}
}

func htpasswd(t testing.TB, path string, users map[string]string) {
	t.Helper()
	var text strings.Builder
	text.WriteString("# who may push\n\n")
	for user, password := range users {
		hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&text, "%s:%s\n", user, hash)
	}
	replace(t, path, text.String())
}

// robot makes a robot and gives its user name and secret.
func (b *bed) robot(full string, period time.Duration, repositories []string, allow ...string) (user, secret string) {
	b.t.Helper()
	project, short, err := robot.Split(full)
	if err != nil {
		b.t.Fatal(err)
	}
	r := robot.Robot{Project: project, Name: short, Repositories: repositories}
	for _, action := range allow {
		r.Allow = append(r.Allow, actionOf(action))
	}
	made, secret, err := b.book().Create(context.Background(), r, period)
	if err != nil {
		b.t.Fatal(err)
	}
	return made.User(), secret
}

func (b *bed) book() *robot.Book {
	b.t.Helper()
	book, err := robot.Open(access.Folder(b.home), b.hand.now, slog.New(slog.DiscardHandler))
	if err != nil {
		b.t.Fatal(err)
	}
	return book
}

// push stores an image as ann, who is the registry's admin in most tests.
func (b *bed) push(reference, user, password string) v1.Image {
	b.t.Helper()
	img := image(b.t)
	if err := remote.Write(b.ref(reference), img, remote.WithAuth(&authn.Basic{Username: user, Password: password})); err != nil {
		b.t.Fatal(err)
	}
	return img
}

func image(t testing.TB) v1.Image {
	t.Helper()
	img, err := random.Image(512, 1)
	if err != nil {
		t.Fatal(err)
	}
	return mutate.ConfigMediaType(mutate.MediaType(img, types.OCIManifestSchema1), types.OCIConfigJSON)
}

func (b *bed) ref(text string) name.Reference {
	b.t.Helper()
	ref, err := name.ParseReference(b.addr + "/" + text)
	if err != nil {
		b.t.Fatal(err)
	}
	return ref
}

// asking is one request.
type asking struct {
	method, path   string // GET, /v2/
	user, password string
	bearer         string
	header         http.Header
	body           string
}

// got is its answer.
type got struct {
	status int
	header http.Header
	body   string
}

func (b *bed) ask(q asking) got {
	b.t.Helper()
	if q.method == "" {
		q.method = http.MethodGet
	}
	req, err := http.NewRequest(q.method, "http://"+b.addr+q.path, strings.NewReader(q.body))
	if err != nil {
		b.t.Fatal(err)
	}
	for name, values := range q.header {
		req.Header[name] = values
	}
	if q.user != "" {
		req.SetBasicAuth(q.user, q.password)
	}
	if q.bearer != "" {
		req.Header.Add("Authorization", "Bearer "+q.bearer)
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		b.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	return got{resp.StatusCode, resp.Header, string(body)}
}

// tokens is what the token server answers.
type tokens struct {
	Token        string `json:"token"`
	AccessToken  string `json:"access_token"`
	RefreshToken string `json:"refresh_token"`
	Scope        string `json:"scope"`
	ExpiresIn    int    `json:"expires_in"`
	Error        string `json:"error"`
	IssuedType   string `json:"issued_token_type"`
}

// token asks the token server, and fails the test where it refuses.
func (b *bed) token(user, password string, scopes ...string) string {
	b.t.Helper()
	answer := b.ask(asking{path: "/token?service=" + b.service() + "&" + url.Values{"scope": scopes}.Encode(), user: user, password: password})
	if answer.status != http.StatusOK {
		b.t.Fatalf("no token for %q: %d %s", user, answer.status, answer.body)
	}
	return b.tokens(answer).Token
}

func (b *bed) tokens(answer got) (out tokens) {
	b.t.Helper()
	if err := json.Unmarshal([]byte(answer.body), &out); err != nil {
		b.t.Fatalf("%v: %s", err, answer.body)
	}
	return out
}

func (b *bed) service() string { return "plimsoll" }

// post asks the token server by a form.
func (b *bed) post(form url.Values) got {
	b.t.Helper()
	return b.ask(asking{method: http.MethodPost, path: "/token", body: form.Encode(), header: http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}})
}

// hand moves the clock.
type hand struct {
	mu sync.Mutex
	by time.Duration
}

func (h *hand) now() time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	return time.Now().Round(0).Add(h.by)
}

func (h *hand) move(by time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.by += by
}

// lockedBuffer is a log that servers write to while a test reads it.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
