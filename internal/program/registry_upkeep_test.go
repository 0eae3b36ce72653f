package program_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"golang.org/x/crypto/bcrypt"
)

// upkept is a served registry of one project, and the receiver of its events.
type upkept struct {
	*testing.T
	home, addr string
	stop       func() int

	mu    sync.Mutex
	types []string // of the events received
}

func keep(t *testing.T, project string) *upkept {
	t.Helper()
	u := &upkept{T: t, home: t.TempDir()}
	receiver := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var e struct{ Type, Subject string }
		if err := json.NewDecoder(r.Body).Decode(&e); err != nil || r.Header.Get("webhook-signature") == "" {
			t.Errorf("no signed event: %v", err)
		}
		u.mu.Lock()
		defer u.mu.Unlock()
		u.types = append(u.types, e.Type)
	}))
	t.Cleanup(receiver.Close)
	hash, err := bcrypt.GenerateFromPassword([]byte("ann-secret"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"users": "ann:" + string(hash) + "\n",
		"hook":  "a secret that is long enough\n",
		"registry.yaml": `apiVersion: plimsoll.dev/v1alpha1
kind: Registry
metadata: {name: here}
spec:
  auth: {htpasswd: users}
  keeping: {untagged: 0s}
  webhooks: [{name: ci, url: "` + receiver.URL + `", secret: {file: hook}}]
  projects:
  - name: team
    public: true
    members: [{user: ann, role: publisher}]
` + project,
	} {
		if err := os.WriteFile(filepath.Join(u.home, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	u.addr, u.stop = served(t, u.home)
	return u
}

// ask gives the status and the answer's text.
func (u *upkept) ask(method, path, body string) (int, string) {
	u.Helper()
	r, err := http.NewRequest(method, "http://"+u.addr+path, strings.NewReader(body))
	if err != nil {
		u.Fatal(err)
	}
	r.SetBasicAuth("ann", "ann-secret")
	r.Header.Set("Content-Type", "application/vnd.oci.image.index.v1+json")
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		u.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		u.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

func (u *upkept) push(tag, content string, want int) string {
	u.Helper()
	index := fmt.Sprintf(`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[],"annotations":{"is":%q}}`, content)
	status, text := u.ask(http.MethodPut, "/v2/team/app/manifests/"+tag, index)
	if status != want {
		u.Fatalf("push of %s: %d %s, want %d", tag, status, text, want)
	}
	return text
}

func (u *upkept) run(want int, args ...string) string {
	u.Helper()
	var errs bytes.Buffer
	out, code := typed(context.Background(), u.home, &errs, args...)
	if code != want {
		u.Fatalf("plimsoll %s: exit %d, want %d\n%s%s", strings.Join(args, " "), code, want, out, errs.String())
	}
	return out + errs.String()
}

// What a site says of its registry holds while it is served, and all that was done is in the log.
func TestRegistryIsKept(t *testing.T) {
	u := keep(t, `    quota: {tags: 4}
    immutableTags: ["release-*"]
    retention: [{tags: ["v*"], keepLast: 1}]
`)
	u.push("v1", "one", 201)
	u.push("v2", "two", 201)
	u.push("release-1", "three", 201)
	u.push("v3", "four", 201)
	if text := u.push("v4", "five", 403); !strings.Contains(text, "quota") {
		t.Errorf("over the quota: %s", text)
	}
	if text := u.push("release-1", "another", 403); !strings.Contains(text, "immutable") {
		t.Errorf("a tag that does not move: %s", text)
	}
	for path, want := range map[string]string{"/readyz": "ready\n", "/metrics": `plimsoll_registry_project_tags{project="team"} 4`} {
		if status, text := u.ask(http.MethodGet, path, ""); status != 200 || !strings.Contains(text, want) {
			t.Errorf("%s: %d %s", path, status, text)
		}
	}
	if out := u.run(0, "registry", "usage"); !strings.Contains(out, "team") {
		t.Error(out)
	}
	if out := u.run(0, "registry", "retention", "run", "--grace", "0s", "--dry-run"); !strings.Contains(out, "2 tags would be removed and 2 kept") {
		t.Error(out)
	}
	if out := u.run(0, "registry", "retention", "run", "--grace", "0s"); !strings.Contains(out, "2 tags removed and 2 kept") {
		t.Error(out)
	}
	if status, _ := u.ask(http.MethodGet, "/v2/team/app/manifests/v1", ""); status != 404 {
		t.Errorf("v1 is still there: %d", status)
	}
	u.run(0, "registry", "rm", "team/app:release-1") // the machine's own commands are not bound, but heard of
	if out := u.run(0, "registry", "audit", "list", "--who", "machine"); !strings.Contains(out, "team/app:release-1") {
		t.Error(out)
	}
	u.mended("pushed, and removed", func() bool {
		u.mu.Lock()
		defer u.mu.Unlock()
		all := strings.Join(u.types, " ")
		return strings.Count(all, "image.pushed") == 4 && strings.Count(all, "image.deleted") == 2
	})
	if code := u.stop(); code != 0 {
		t.Errorf("the server exits with %d", code)
	}
	if out := u.run(0, "registry", "events", "list", "-o", "json"); strings.Contains(out, `"dead": true`) {
		t.Errorf("events were given up: %s", out)
	}
	refused := u.run(0, "registry", "audit", "list", "--refused", "--who", "ann", "-o", "json")
	if strings.Count(refused, `"outcome": "refused"`) != 2 || !strings.Contains(refused, "immutable") {
		t.Errorf("what was refused: %s", refused)
	}
	if out := u.run(0, "registry", "audit", "export", "--repository", "team/**"); strings.Count(out, "\n") < 8 || strings.Contains(out, "ann-secret") {
		t.Errorf("the log: %s", out)
	}
	if out := u.run(0, "registry", "audit", "verify"); !strings.Contains(out, "held against the key") {
		t.Error(out)
	}
	u.meddle()
	if out := u.run(3, "registry", "audit", "verify"); !strings.Contains(out, "does not hold") {
		t.Error(out)
	}
}

// mended waits until something is as it should be.
func (u *upkept) mended(what string, is func() bool) {
	u.Helper()
	for deadline := time.Now().Add(30 * time.Second); !is(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			u.mu.Lock()
			defer u.mu.Unlock()
			u.Fatalf("it did not come: %s; got %v", what, u.types)
		}
	}
}

// meddle makes somebody else of who pushed.
func (u *upkept) meddle() {
	u.Helper()
	found, err := filepath.Glob(filepath.Join(u.home, "audit", "audit-*.jsonl"))
	if err != nil || len(found) == 0 {
		u.Fatal("there is no log", err)
	}
	text, err := os.ReadFile(found[0])
	if err != nil {
		u.Fatal(err)
	}
	changed := bytes.Replace(text, []byte(`"principal":"ann"`), []byte(`"principal":"bob"`), 1)
	if bytes.Equal(text, changed) {
		u.Fatal("the log does not say who pushed")
	}
	if err := os.WriteFile(found[0], changed, 0o600); err != nil {
		u.Fatal(err)
	}
}

// What is deleted through the API is no longer in the inventory.
func TestInventoryHearsOfDeletions(t *testing.T) {
	u := keep(t, "    retention: []\n")
	img, err := random.Image(1024, 1)
	if err != nil {
		t.Fatal(err)
	}
	to, err := name.ParseReference(u.addr + "/team/app:v1")
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(to, img, remote.WithAuth(&authn.Basic{Username: "ann", Password: "ann-secret"})); err != nil {
		t.Fatal(err)
	}
	text := filepath.Join(u.home, "registry.yaml")
	settings, err := os.ReadFile(text)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(text, bytes.Replace(settings, []byte("publisher"), []byte("admin"), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	total := func() int {
		var answer struct{ Total int }
		out, _ := typed(context.Background(), u.home, io.Discard, "query", `images where repository = "team/app"`, "-o", "json")
		_ = json.Unmarshal([]byte(out), &answer)
		return answer.Total
	}
	u.mended("the image is in the inventory", func() bool { return total() == 1 })
	if status, answer := u.ask(http.MethodDelete, "/v2/team/app/manifests/v1", ""); status != 202 {
		t.Fatalf("%d %s", status, answer)
	}
	u.mended("it is gone from the inventory", func() bool { return total() == 0 })
	u.stop()
}
