package program_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// TestGateAsksWhoPulls: of a public project anybody pulls what is released. A client that has an
// account is asked for it where something is held back, and then sees what the account lets it see;
// one that has none is told why, once it has said so.
func TestGateAsksWhoPulls(t *testing.T) {
	u := keep(t, "")
	u.stop()
	if err := os.MkdirAll(filepath.Join(u.home, "policies"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(u.home, "policies", "own.yaml"), []byte(signedOnly), 0o644); err != nil {
		t.Fatal(err)
	}
	addr, stop := served(t, u.home)
	defer stop()
	ann := &authn.Basic{Username: "ann", Password: "ann-secret"}
	ref, err := name.ParseReference(addr + "/team/app:1")
	if err == nil {
		err = remote.Write(ref, runnable(t), remote.WithAuth(ann))
	}
	if err != nil {
		t.Fatal(err)
	}
	get := func(method, authorization string) (*http.Response, string) {
		t.Helper()
		q, err := http.NewRequest(method, "http://"+addr+"/v2/team/app/manifests/1", nil)
		if err != nil {
			t.Fatal(err)
		}
		if authorization != "" {
			q.Header.Set("Authorization", authorization)
		}
		resp, err := http.DefaultClient.Do(q)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		var said struct {
			Errors []struct{ Code, Message string }
		}
		if method == http.MethodGet && resp.StatusCode >= 400 {
			if err := json.NewDecoder(resp.Body).Decode(&said); err != nil || len(said.Errors) != 1 {
				t.Fatalf("%v: %+v", err, said)
			}
			return resp, said.Errors[0].Code + " " + said.Errors[0].Message
		}
		return resp, ""
	}
	var challenge string
	for _, method := range []string{http.MethodHead, http.MethodGet} {
		resp, said := get(method, "")
		challenge = resp.Header.Get("WWW-Authenticate")
		if resp.StatusCode != http.StatusUnauthorized || !strings.Contains(challenge, `scope="repository:team/app:pull"`) {
			t.Errorf("%s: %d %q", method, resp.StatusCode, challenge)
		}
		if method == http.MethodGet && !strings.HasPrefix(said, "UNAUTHORIZED team/app:1 is quarantined: ") {
			t.Errorf("it says %q", said)
		}
	}
	if resp, said := get(http.MethodGet, "Bearer "+token(t, challenge, nil)); resp.StatusCode != http.StatusForbidden || !strings.HasPrefix(said, "DENIED team/app:1 is quarantined: ") {
		t.Errorf("with a token for anybody: %d %s", resp.StatusCode, said)
	}
	if resp, said := get(http.MethodGet, "Bearer "+token(t, challenge, ann)); resp.StatusCode != http.StatusOK {
		t.Errorf("with a publisher's token: %d %s", resp.StatusCode, said)
	}
	u.run(0, "attest", "team/app:1")
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		resp, said := get(http.MethodGet, "")
		if resp.StatusCode == http.StatusOK {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("released, it is answered with %d %s", resp.StatusCode, said)
		}
	}
}

// token gets a token as a challenge says, with an account's password or for anybody.
func token(t *testing.T, challenge string, account *authn.Basic) string {
	t.Helper()
	part := map[string]string{}
	for _, m := range regexp.MustCompile(`(\w+)="([^"]*)"`).FindAllStringSubmatch(challenge, -1) {
		part[m[1]] = m[2]
	}
	q, err := http.NewRequest(http.MethodGet, part["realm"]+"?"+url.Values{"service": {part["service"]}, "scope": {part["scope"]}}.Encode(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if account != nil {
		q.SetBasicAuth(account.Username, account.Password)
	}
	resp, err := http.DefaultClient.Do(q)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var out struct{ Token string }
	if err := json.NewDecoder(resp.Body).Decode(&out); err != nil || out.Token == "" {
		t.Fatalf("%s: %v", resp.Status, err)
	}
	return out.Token
}
