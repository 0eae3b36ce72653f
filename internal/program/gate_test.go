package program_test

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// signedOnly is a policy that a test can fulfil by signing.
const signedOnly = `apiVersion: plimsoll.dev/v1alpha1
kind: ImagePolicy
metadata: {name: own}
spec:
  gates: {registry: deny}
  rules:
    - {name: signed, title: It is signed, reason: Somebody must answer for it., expression: size(signatures) > 0, remedy: plimsoll attest}
`

// TestGateFollows serves a home with a policy, and changes one after the other all that a verdict
// rests on: each change is followed without anybody asking for it.
func TestGateFollows(t *testing.T) {
	home := t.TempDir()
	policies := filepath.Join(home, "policies")
	write := func(file, text string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write(filepath.Join(policies, "own.yaml"), signedOnly)
	addr, stop := served(t, home)
	defer stop()
	digest := pushed(t, addr+"/team/app:1", runnable(t))
	command := func(want int, args ...string) string {
		t.Helper()
		var errs bytes.Buffer
		out, code := typed(context.Background(), home, &errs, args...)
		if code != want {
			t.Fatalf("plimsoll %s: exit %d, want %d\n%s%s", strings.Join(args, " "), code, want, out, errs.String())
		}
		return out + errs.String()
	}
	become := func(status int, why string) {
		t.Helper()
		var body string
		for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
			var got int
			if got, body = fetched(t, "http://"+addr+"/v2/team/app/manifests/1"); got == status && strings.Contains(body, why) {
				return
			}
		}
		t.Fatalf("it is never answered with %d %q; last was %s", status, why, body)
	}
	summary := func(result string) {
		t.Helper()
		var said struct{ VerificationResult string }
		for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
			out, code := typed(context.Background(), home, &bytes.Buffer{}, "verify", "team/app:1", "--show", "vsa")
			if code == 0 && json.Unmarshal([]byte(out), &said) == nil && said.VerificationResult == result {
				return
			}
		}
		t.Fatalf("the summary beside the image never says %s, but %q", result, said.VerificationResult)
	}

	become(http.StatusForbidden, "It is signed; remedy: plimsoll attest")
	for _, path := range []string{"manifests/" + digest.String(), "blobs/" + layerOf(t, home, digest)} {
		if status, body := fetched(t, "http://"+addr+"/v2/team/app/"+path); status != http.StatusForbidden {
			t.Errorf("%s is answered with %d %.100s", path, status, body)
		}
	}
	if said := command(3, "policy", "check", "team/app:1"); !strings.Contains(said, "hint: plimsoll attest") {
		t.Errorf("the check says %s", said)
	}

	if _, figures := fetched(t, "http://"+addr+"/metrics"); !strings.Contains(figures, `plimsoll_registry_quarantined_images{project=""} 1`) {
		t.Error("the figures do not tell of the image that is held back")
	}

	command(0, "attest", "team/app:1") // evidence, by another process
	become(http.StatusOK, "")
	summary("PASSED")
	if out := command(0, "query", "images where verdict = allowed", "-o", "json"); !strings.Contains(out, digest.String()) {
		t.Errorf("the inventory does not know of the verdict: %s", out)
	}

	write(filepath.Join(policies, "own.yaml"), strings.Replace(signedOnly, "size(signatures) > 0", "size(signatures) > 1", 1)) // policy
	become(http.StatusForbidden, "own/signed")
	summary("FAILED")

	write(filepath.Join(policies, "own.yaml"), strings.Replace(signedOnly, "size(signatures) > 0", "nonsense", 1)) // a broken one changes nothing
	become(http.StatusForbidden, "own/signed")

	write(filepath.Join(policies, "own.yaml"), strings.Replace(signedOnly, "size(signatures) > 0", "size(signatures) > 1", 1))
	command(0, "policy", "except", "for-now", "--rule", "own/signed", "--repository", "team/app", "--owner", "ann", "--reason", "a trial", "--expires", "2099-01-01")
	become(http.StatusOK, "") // an exception
	if err := os.Remove(filepath.Join(policies, "exception-for-now.yaml")); err != nil {
		t.Fatal(err)
	}
	become(http.StatusForbidden, "own/signed")

	write(filepath.Join(policies, "own.yaml"), signedOnly)
	become(http.StatusOK, "")
	if err := os.Rename(filepath.Join(home, "keys", "images.pub"), filepath.Join(home, "keys", "images.gone")); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(home, "keys", "images.key"), filepath.Join(home, "keys", "images.old")); err != nil {
		t.Fatal(err)
	}
	become(http.StatusForbidden, "own/signed") // trust
}

// runnable is an image that a runtime would start.
func runnable(t *testing.T) v1.Image {
	t.Helper()
	image, err := random.Image(1024, 2)
	if err != nil {
		t.Fatal(err)
	}
	image = mutate.ConfigMediaType(mutate.MediaType(image, types.OCIManifestSchema1), types.OCIConfigJSON)
	config, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	config = config.DeepCopy()
	config.OS, config.Architecture = "linux", "amd64"
	if image, err = mutate.ConfigFile(image, config); err != nil {
		t.Fatal(err)
	}
	return image
}

func pushed(t *testing.T, to string, image v1.Image) v1.Hash {
	t.Helper()
	ref, err := name.ParseReference(to)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(ref, image); err != nil {
		t.Fatal(err)
	}
	digest, err := image.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return digest
}

// fetched gives what a client without an account gets.
func fetched(t *testing.T, url string) (status int, body string) {
	t.Helper()
	response, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	var out bytes.Buffer
	if _, err := out.ReadFrom(response.Body); err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, out.String()
}

// layerOf gives the digest of a layer of the image in the home's store.
func layerOf(t *testing.T, home string, image v1.Hash) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(home, "registry", "docker", "registry", "v2", "blobs", image.Algorithm, image.Hex[:2], image.Hex, "data"))
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := v1.ParseManifest(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return manifest.Layers[0].Digest.String()
}
