package program_test

import (
	"encoding/json"
	"net/http"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// TestStrangersReleaseNothing: whoever may push may sign with keys of his own, and that is nothing
// until a key signs that is trusted.
func TestStrangersReleaseNothing(t *testing.T) {
	home, eve := t.TempDir(), t.TempDir()
	addr, stop := served(t, home)
	defer stop()
	digest := pushed(t, addr+"/team/app:1", runnable(t))
	command(t, eve, 0, "attest", addr+"/team/app:1")
	if all := referrersOf(t, addr, digest); len(all) == 0 {
		t.Fatal("nothing is attached")
	}
	write(t, home+"/policies/own.yaml", signedOnly)
	answered(t, addr, http.StatusForbidden)
	command(t, home, 3, "policy", "check", "team/app:1")
	command(t, home, 0, "attest", "team/app:1")
	answered(t, addr, http.StatusOK)
}

// TestPassEndsWithItsEvidence: what a signature allowed ends when somebody deletes it over HTTP, in
// both its forms.
func TestPassEndsWithItsEvidence(t *testing.T) {
	home := t.TempDir()
	write(t, home+"/policies/own.yaml", signedOnly)
	addr, stop := served(t, home)
	defer stop()
	digest := pushed(t, addr+"/team/app:1", runnable(t))
	command(t, home, 0, "attest", "team/app:1")
	answered(t, addr, http.StatusOK)
	for _, name := range append(referrersOf(t, addr, digest), "sha256-"+digest.Hex+".sig") {
		r, err := http.NewRequest(http.MethodDelete, "http://"+addr+"/v2/team/app/manifests/"+name, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		response, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode != http.StatusAccepted && response.StatusCode != http.StatusNotFound { // a newer verdict takes an older one's place
			t.Fatalf("DELETE %s: %s", name, response.Status)
		}
	}
	answered(t, addr, http.StatusForbidden)
}

// referrersOf gives the digests of what refers to a manifest of team/app.
func referrersOf(t *testing.T, addr string, digest v1.Hash) (all []string) {
	t.Helper()
	_, body := fetched(t, "http://"+addr+"/v2/team/app/referrers/"+digest.String())
	var index struct{ Manifests []struct{ Digest string } }
	if err := json.Unmarshal([]byte(body), &index); err != nil {
		t.Fatal(err, body)
	}
	for _, m := range index.Manifests {
		all = append(all, m.Digest)
	}
	return all
}
