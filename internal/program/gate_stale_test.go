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

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// servedHome is a home with a policy, and a server.
type servedHome struct {
	t    *testing.T
	home string
	addr string
	stop func() int
}

func serveHome(t *testing.T, policy string) *servedHome {
	t.Helper()
	b := &servedHome{t: t, home: t.TempDir()}
	b.write("policies/own.yaml", policy)
	b.serve()
	pushed(t, b.addr+"/warm/up:1", runnable(t))
	b.command(0, "attest", "warm/up:1") // makes the keys: that others are trusted has all looked into anew
	b.stop()
	b.serve()
	return b
}

func (b *servedHome) serve() { b.addr, b.stop = served(b.t, b.home) }

func (b *servedHome) write(file, text string) {
	b.t.Helper()
	file = filepath.Join(b.home, file)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		b.t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		b.t.Fatal(err)
	}
}

func (b *servedHome) command(want int, args ...string) string {
	b.t.Helper()
	var errs bytes.Buffer
	out, code := typed(context.Background(), b.home, &errs, args...)
	if code != want {
		b.t.Fatalf("plimsoll %s: exit %d, want %d\n%s%s", strings.Join(args, " "), code, want, out, errs.String())
	}
	return out + errs.String()
}

// becomes waits until the manifest is answered so.
func (b *servedHome) becomes(path string, status int) {
	b.t.Helper()
	var got int
	var body string
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if got, body = fetched(b.t, "http://"+b.addr+"/v2/"+path); got == status {
			return
		}
	}
	b.t.Fatalf("%s is never answered with %d; last was %d %s", path, status, got, body)
}

// evidence gives "@DIGEST" of the manifests that refer to an image, and ":TAG" of its signatures.
func (b *servedHome) evidence(repository string, d v1.Hash) (all []string) {
	b.t.Helper()
	_, body := fetched(b.t, "http://"+b.addr+"/v2/"+repository+"/referrers/"+d.String())
	var index struct{ Manifests []struct{ Digest string } }
	if err := json.Unmarshal([]byte(body), &index); err != nil {
		b.t.Fatal(err, body)
	}
	for _, m := range index.Manifests {
		all = append(all, "@"+m.Digest)
	}
	return append(all, ":sha256-"+d.Hex+".sig")
}

// TestRemovedEvidenceCountsNoMore: what a signature allowed ends with it, though a command beside
// the server removed it.
func TestRemovedEvidenceCountsNoMore(t *testing.T) {
	b := serveHome(t, signedOnly)
	defer func() { b.stop() }()
	d := pushed(t, b.addr+"/team/app:1", runnable(t))
	b.command(0, "attest", "team/app:1")
	b.becomes("team/app/manifests/1", http.StatusOK)
	for _, reference := range b.evidence("team/app", d) {
		// A newer summary may have taken the place of an older one.
		_, _ = typed(context.Background(), b.home, &bytes.Buffer{}, "registry", "rm", "team/app"+reference)
	}
	b.becomes("team/app/manifests/1", http.StatusForbidden)
}

// TestDistrustedWhileStopped: a key that nobody trusts any more allows nothing, though no server ran
// when it was taken away.
func TestDistrustedWhileStopped(t *testing.T) {
	b := serveHome(t, signedOnly)
	defer func() { b.stop() }()
	pushed(t, b.addr+"/team/app:1", runnable(t))
	b.command(0, "attest", "team/app:1")
	b.becomes("team/app/manifests/1", http.StatusOK)
	b.stop()
	for _, name := range []string{"images.pub", "images.key"} {
		if err := os.Rename(filepath.Join(b.home, "keys", name), filepath.Join(b.home, name)); err != nil {
			t.Fatal(err)
		}
	}
	b.serve()
	b.becomes("team/app/manifests/1", http.StatusForbidden)
}

// TestRemovedTagCountsNoMore: the command that the starter set prints for a tag mends it.
func TestRemovedTagCountsNoMore(t *testing.T) {
	b := serveHome(t, strings.Replace(signedOnly, "size(signatures) > 0", "\"!('latest' in image.tags)\"", 1))
	defer b.stop()
	image := runnable(t)
	d := pushed(t, b.addr+"/team/app:1", image)
	b.becomes("team/app/manifests/1", http.StatusOK)
	pushed(t, b.addr+"/team/app:latest", image)
	b.becomes("team/app/manifests/"+d.String(), http.StatusForbidden)
	b.command(0, "registry", "rm", "team/app:latest")
	b.becomes("team/app/manifests/"+d.String(), http.StatusOK)
}
