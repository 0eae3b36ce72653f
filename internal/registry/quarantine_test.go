package registry_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/registry"
	"plimsoll.dev/plimsoll/internal/registry/call"
)

func blobOf(content string) string { return digest.FromString(content).String() }

// TestQuarantine goes through all by which an image can be read, before it is released, after,
// and when that is taken back.
func TestQuarantine(t *testing.T) {
	g := openGated(t, registry.Options{})
	d, content := g.image("shop/app", "1", "the layer")
	g.attach("shop/app", "", d, emptyType, bundleType, []byte(`{"signed":true}`))
	layer, config, bundle := blobOf("the layer"), blobOf(`{"os":"linux","of":"the layer"}`), blobOf(`{"signed":true}`)
	var reads []string
	for _, method := range []string{"GET", "HEAD"} {
		for _, path := range []string{"manifests/1", "manifests/" + d.String(), "referrers/" + d.String(), "blobs/" + layer, "blobs/" + config, "blobs/" + bundle} {
			reads = append(reads, method+" /v2/shop/app/"+path)
		}
	}
	all := func(user string, status int) {
		t.Helper()
		for _, request := range reads {
			g.want(user, request, status)
		}
		g.want(user, "GET /v2/shop/app/tags/list", 200)
	}
	held := func() {
		t.Helper()
		all("reader", 403)
		all("inspector", 200)
		for _, h := range []string{"Range: bytes=0-3", `If-None-Match: "` + layer + `"`, "If-Range: x", "If-Modified-Since: Mon, 02 Jan 2040 15:04:05 GMT"} {
			g.want("reader", "GET /v2/shop/app/blobs/"+layer, 403, h)
		}
		for _, h := range []string{`If-None-Match: "` + d.String() + `"`, "If-None-Match: " + d.String(), "Accept: text/html", "Accept: " + ociIndex, "Range: bytes=0-3"} {
			g.want("reader", "GET /v2/shop/app/manifests/1", 403, h)
		}
		if resp := do(t, &http.Client{Transport: g.reg.Transport()}, "GET", "http://store.local/v2/shop/app/manifests/1", "", nil); resp.StatusCode != 200 {
			t.Errorf("this process gets %s", resp.Status)
		}
	}
	released := func() {
		t.Helper()
		all("reader", 200)
		g.want("reader", "GET /v2/shop/app/blobs/"+layer, 206, "Range: bytes=0-3")
		g.want("reader", "GET /v2/shop/app/manifests/1", 304, `If-None-Match: "`+d.String()+`"`)
		if got := g.want("reader", "GET /v2/shop/app/manifests/1", 200); got.body != content {
			t.Errorf("got %s", got.body)
		}
	}
	held()
	g.gate.say("shop/other", d, artifact.ActionAllow)
	held()
	g.gate.say("shop/app", d, artifact.ActionAllow)
	released()
	if got := g.want("reader", "GET /v2/shop/app/manifests/1", 200); got.header.Get("Warning") != "" {
		t.Errorf("a warning for what is allowed: %q", got.header)
	}
	g.gate.say("shop/app", d, artifact.ActionWarn)
	released()
	g.gate.say("shop/app", d, artifact.ActionAudit)
	released()
	g.gate.say("shop/app", d, "whatever")
	held()
	g.gate.say("shop/app", d, artifact.ActionDeny)
	held()
}

// TestServedWithoutDoors: who came over the network and was not asked who he is, is nobody.
func TestServedWithoutDoors(t *testing.T) {
	g := openGated(t, registry.Options{})
	d, _ := g.image("a", "1", "the layer")
	g.want("", "GET /v2/a/manifests/1", 403)
	g.want("", "GET /v2/a/blobs/"+blobOf("the layer"), 403)
	g.want("", "HEAD /v2/a/manifests/1", 403)           // who asks for a tag pulls
	g.want("", "HEAD /v2/a/manifests/"+d.String(), 404) // whoever he is, he may push
	g.gate.say("a", d, artifact.ActionAllow)
	g.want("", "GET /v2/a/manifests/1", 200)
}

// TestIndexWithDeniedChild: the child is held back by its own name, too, and so is the index if
// its verdict says so.
func TestIndexWithDeniedChild(t *testing.T) {
	g := openGated(t, registry.Options{})
	good, goodContent := g.image("a", "", "good layer")
	bad, badContent := g.image("a", "", "bad layer")
	index := fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"manifests":[%s,%s]}`, ociIndex, descriptor(ociManifest, []byte(goodContent)), descriptor(ociManifest, []byte(badContent)))
	both := g.manifest("a", "multi", ociIndex, index)
	g.gate.say("a", good, artifact.ActionAllow)
	g.gate.say("a", bad, artifact.ActionDeny)
	for _, action := range []artifact.Action{artifact.ActionDeny, artifact.ActionAllow} { // also where the judge was wrong
		g.gate.say("a", both, action)
		g.want("reader", "GET /v2/a/manifests/multi", map[artifact.Action]int{artifact.ActionDeny: 403, artifact.ActionAllow: 200}[action])
		g.want("reader", "GET /v2/a/manifests/"+good.String(), 200)
		g.want("reader", "GET /v2/a/blobs/"+blobOf("good layer"), 200)
		g.want("reader", "GET /v2/a/manifests/"+bad.String(), 403)
		g.want("reader", "GET /v2/a/blobs/"+blobOf("bad layer"), 403)
	}
}

// TestNoOtherManifestIsChosen: for a client that knows no indexes the distribution project
// chooses an image of a list, which nobody judged.
func TestNoOtherManifestIsChosen(t *testing.T) {
	g := openGated(t, registry.Options{})
	child := fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"config":%s,"layers":[%s]}`, dockerManifest,
		g.blob("a", "application/vnd.docker.container.image.v1+json", []byte("{}")), g.blob("a", "application/vnd.docker.image.rootfs.diff.tar.gzip", []byte("bad layer")))
	g.manifest("a", "", dockerManifest, child)
	list := fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"manifests":[%s]}`, dockerList,
		strings.Replace(descriptor(dockerManifest, []byte(child)), "}", `,"platform":{"architecture":"amd64","os":"linux"}}`, 1))
	g.gate.say("a", g.manifest("a", "multi", dockerList, list), artifact.ActionAllow)
	if got := g.ask("inspector", "GET /v2/a/manifests/multi", nil, "Accept: "+dockerManifest); got.body != child {
		t.Fatalf("nothing was tried: %d %s", got.status, got.body)
	}
	for _, method := range []string{"GET", "HEAD"} {
		got := g.ask("reader", method+" /v2/a/manifests/multi", nil, "Accept: "+dockerManifest)
		if strings.Contains(got.body, blobOf("bad layer")) || got.header.Get("Docker-Content-Digest") == blobOf(child) {
			t.Errorf("%s gives the child: %d %v %s", method, got.status, got.header, got.body)
		}
	}
}

// TestOneManifestOneVerdict: whatever algorithm names a manifest, it is the same one.
func TestOneManifestOneVerdict(t *testing.T) {
	g := openGated(t, registry.Options{})
	manifest, name := pushSHA512(t, &http.Client{Transport: g.reg.Transport()}, "a")
	canonical := digest.FromBytes(manifest)
	layer := []string{digest.SHA512.FromString("a layer").String(), digest.FromString("a layer").String()}
	paths := []string{"manifests/v1", "manifests/" + name, "manifests/" + canonical.String(), "blobs/" + layer[0], "blobs/" + layer[1]}
	all := func(status int) {
		t.Helper()
		for _, path := range paths {
			g.want("reader", "GET /v2/a/"+path, status)
			g.want("reader", "HEAD /v2/a/"+path, status)
		}
	}
	all(403)
	g.gate.say("a", digest.Digest(name), artifact.ActionAllow) // a name that no judge gives
	all(403)
	g.gate.say("a", canonical, artifact.ActionAllow)
	all(200)
	for _, bad := range []string{"SHA256:" + canonical.Encoded(), "sha256:" + strings.ToUpper(canonical.Encoded()), "md5:d41d8cd98f00b204e9800998ecf8427e", "sha256:", "sha256:" + canonical.Encoded() + "0", "sha256:..%2f" + canonical.Encoded()} {
		for _, kind := range []string{"manifests", "blobs", "referrers"} {
			if got := g.ask("reader", "GET /v2/a/"+kind+"/"+bad, nil); got.status != 400 && got.status != 404 {
				t.Errorf("%s %s answered %d %s", kind, bad, got.status, got.body)
			}
		}
	}
	g.want("reader", "GET /v2/a/manifests/"+digest.SHA384.FromBytes(manifest).String(), 404)
}

// TestMountOutOfQuarantine: in the query, and in a form where nobody else looks.
func TestMountOutOfQuarantine(t *testing.T) {
	g := openGated(t, registry.Options{})
	d, _ := g.image("a", "1", "the layer")
	layer := blobOf("the layer")
	mount := "mount=" + layer + "&from=a"
	multi := "--x\r\nContent-Disposition: form-data; name=\"mount\"\r\n\r\n" + layer + "\r\n--x\r\nContent-Disposition: form-data; name=\"from\"\r\n\r\na\r\n--x--\r\n"
	form, multipart := "Content-Type: application/x-www-form-urlencoded", "Content-Type: multipart/form-data; boundary=x"
	tried := []struct {
		name, query, body, header string
	}{
		{"query", "?" + mount, "", "X-A: b"},
		{"form", "", mount, form},
		{"form beside a query", "?mount=" + blobOf("another") + "&from=a", mount, form},
		{"multipart", "", multi, multipart},
		{"twice", "?mount=" + blobOf("another") + "&" + mount, "", "X-A: b"},
		{"semicolon", "?x;" + mount, "", "X-A: b"},
	}
	for _, c := range tried {
		if got := g.ask("publisher", "POST /v2/b/blobs/uploads/"+c.query, []byte(c.body), c.header); got.status != 202 {
			t.Errorf("%s: answered %d %s, want that the client is to send it", c.name, got.status, got.body)
		}
		g.want("inspector", "HEAD /v2/b/blobs/"+layer, 404)
	}
	for _, from := range []string{"", "A", "../a", "a/", "/a", "a//", "b/../a", "no/such"} {
		if got := g.ask("publisher", "POST /v2/b/blobs/uploads/?mount="+layer+"&from="+from, nil); got.status != 202 {
			t.Errorf("from %q answered %d", from, got.status)
		}
	}
	if got := g.ask("inspector", "POST /v2/c/blobs/uploads/?"+mount, nil); got.status != 201 {
		t.Errorf("who may inspect may not mount: %d", got.status)
	}
	g.gate.say("a", d, artifact.ActionAllow)
	if got := g.ask("publisher", "POST /v2/b/blobs/uploads/?"+mount, nil); got.status != 201 {
		t.Errorf("what is released may not be mounted: %d", got.status)
	}
	// It is in b now, but nothing there refers to it.
	g.want("reader", "GET /v2/b/blobs/"+layer, 404)
}

// TestBlobsAreNotHadByNamingThem: who has not got a blob does not get it into a repository of
// his own by any claim about it.
func TestBlobsAreNotHadByNamingThem(t *testing.T) {
	g := openGated(t, registry.Options{})
	_, content := g.image("a", "1", "the layer")
	layer := blobOf("the layer")
	for _, reference := range []string{"1", digest.FromString(content).String()} {
		if got := g.ask("publisher", "PUT /v2/b/manifests/"+reference, []byte(content), "Content-Type: "+ociManifest); got.status != 400 {
			t.Errorf("a manifest of another's blobs answered %d %s", got.status, got.body)
		}
	}
	far := strings.Replace(content, `"size":9}`, `"size":9,"urls":["https://example.com/x"]}`, 1)
	far = strings.Replace(far, `"config":`+descriptor(configType, []byte(`{"os":"linux","of":"the layer"}`)), `"config":`+g.blob("b", configType, []byte("{}")), 1)
	far = strings.Replace(far, layerType, "application/vnd.oci.image.layer.nondistributable.v1.tar", 1)
	g.gate.say("b", g.manifest("b", "far", ociManifest, far), artifact.ActionAllow)
	g.want("reader", "GET /v2/b/manifests/far", 200)
	g.want("reader", "GET /v2/b/blobs/"+layer, 404)
	for name, request := range map[string]string{
		"no content": "POST /v2/b/blobs/uploads/?digest=" + layer, "other content": "POST /v2/b/blobs/uploads/?digest=" + layer,
	} {
		body := map[string][]byte{"no content": nil, "other content": []byte("other")}[name]
		if got := g.ask("publisher", request, body); got.status == 201 {
			t.Errorf("%s: a blob is taken for sent", name)
		}
		g.want("inspector", "HEAD /v2/b/blobs/"+layer, 404)
	}
	begun := g.ask("publisher", "POST /v2/b/blobs/uploads/", nil)
	if got := g.ask("publisher", "PUT "+begun.header.Get("Location")+"&digest="+layer, nil); got.status == 201 {
		t.Error("an empty upload is taken for the blob")
	}
	g.want("inspector", "HEAD /v2/b/blobs/"+layer, 404)
}

// TestManifestAsBlob: a manifest's own bytes are no way round, sent in parts or whole.
func TestManifestAsBlob(t *testing.T) {
	g := openGated(t, registry.Options{})
	d, content := g.image("a", "1", "the layer")
	g.want("reader", "GET /v2/a/blobs/"+d.String(), 404)
	begun := g.ask("publisher", "POST /v2/a/blobs/uploads/", nil)
	part := g.ask("publisher", "PATCH "+begun.header.Get("Location"), []byte(content[:20]), "Content-Type: application/octet-stream", "Content-Range: 0-19")
	if got := g.ask("publisher", "PUT "+part.header.Get("Location")+"&digest="+d.String(), []byte(content[20:])); got.status != 201 {
		t.Fatalf("upload answered %d %s", got.status, got.body)
	}
	g.want("reader", "GET /v2/a/blobs/"+d.String(), 404)
	g.want("reader", "HEAD /v2/a/blobs/"+d.String(), 404)
	// An image that has the manifest for a layer is judged with all that it has.
	g.attach("a", "wrap", "", configType, "application/octet-stream", []byte(content))
	g.want("reader", "GET /v2/a/blobs/"+d.String(), 403)
}

// TestTagMovedWhilePulled: the content that is sent is the one that was judged.
func TestTagMovedWhilePulled(t *testing.T) {
	g := openGated(t, registry.Options{})
	good, goodContent := g.image("a", "1", "good layer")
	bad, badContent := g.image("a", "", "bad layer")
	g.gate.first = func(ctx context.Context, repo string, d digest.Digest) (registry.Judgement, error) {
		if call.PrincipalOf(ctx) != nil {
			t.Error("the judge is asked in the name of the client")
		}
		action := artifact.ActionDeny
		if d == good {
			g.manifest("a", "1", ociManifest, badContent) // as the tag is judged
			action = artifact.ActionAllow
		}
		return registry.Judgement{Action: action}, nil
	}
	if got := g.want("reader", "GET /v2/a/manifests/1", 200); got.body != goodContent {
		t.Errorf("got %s", got.body)
	}
	g.want("reader", "GET /v2/a/manifests/1", 403)
	g.want("reader", "GET /v2/a/manifests/"+bad.String(), 403)
	g.manifest("a", "1", ociManifest, goodContent)
	if got := g.want("reader", "GET /v2/a/manifests/1", 404, "Accept: "+ociIndex); strings.Contains(got.body, "bad") {
		t.Errorf("got %s", got.body)
	}
}

// TestGateThatFails: whatever is wrong with the judge, nothing is released, and nobody outside
// is told what.
func TestGateThatFails(t *testing.T) {
	hang := make(chan struct{})
	t.Cleanup(func() { close(hang) })
	for name, judge := range map[string]func(ctx context.Context, repo string, d digest.Digest) (registry.Judgement, error){
		"errs": func(context.Context, string, digest.Digest) (registry.Judgement, error) {
			return registry.Judgement{Action: artifact.ActionAllow}, errors.New("hunter2")
		},
		"panics": func(context.Context, string, digest.Digest) (registry.Judgement, error) { panic("hunter2") },
		"is late": func(ctx context.Context, _ string, _ digest.Digest) (registry.Judgement, error) {
			<-ctx.Done()
			return registry.Judgement{}, ctx.Err()
		},
		"hangs": func(context.Context, string, digest.Digest) (registry.Judgement, error) {
			<-hang
			return registry.Judgement{}, nil
		},
		"is empty": func(context.Context, string, digest.Digest) (registry.Judgement, error) {
			return registry.Judgement{}, nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			g := openGated(t, registry.Options{Gate: &rulings{first: judge}, Patience: 100 * time.Millisecond})
			g.image("a", "1", "the layer")
			for _, path := range []string{"manifests/1", "blobs/" + blobOf("the layer")} {
				if got := g.want("reader", "GET /v2/a/"+path, 403); strings.Contains(got.body, "hunter2") {
					t.Errorf("tells %s", got.body)
				}
			}
		})
	}
	t.Run("panics at once", func(t *testing.T) {
		g := openGated(t, registry.Options{Gate: panicking{}})
		g.image("a", "1", "the layer")
		g.want("reader", "GET /v2/a/manifests/1", 403)
		g.want("reader", "GET /v2/a/blobs/"+blobOf("the layer"), 403)
	})
}

type panicking struct{}

func (panicking) Known(string, digest.Digest) (registry.Judgement, bool) { panic("hunter2") }

func (panicking) Judge(context.Context, string, digest.Digest) (registry.Judgement, error) {
	return registry.Judgement{Action: artifact.ActionAllow}, nil
}

// TestOneNameForARepository: what the gate asks about is what the store reads, however a path
// is written.
func TestOneNameForARepository(t *testing.T) {
	g := openGated(t, registry.Options{})
	names := []string{"a", "a/b", "a/manifests/b", "a/blobs/uploads", "manifests", "blobs/uploads/x", "tags/list", "a/referrers"}
	for i, repo := range names {
		g.image(repo, "1", fmt.Sprint("layer ", i))
	}
	open, _ := g.image("open", "1", "open layer")
	g.gate.say("open", open, artifact.ActionAllow)
	for i, repo := range names {
		layer := blobOf(fmt.Sprint("layer ", i))
		for _, written := range []string{repo, strings.ReplaceAll(repo, "/", "%2f"), strings.ReplaceAll(repo, "a", "%61"), "open/../" + repo, "open%2f..%2f" + repo, "/" + repo, repo + "/", "./" + repo, repo + "//", "open/manifests/../../" + repo, "open%00" + repo, strings.ToUpper(repo)} {
			for _, path := range []string{"/manifests/1", "/manifests/1/", "/blobs/" + layer, "//blobs/" + layer, "/blobs/../blobs/" + layer, "%2fblobs%2f" + layer} {
				got := g.ask("reader", "GET /v2/"+written+path, nil)
				if got.status == 200 || strings.Contains(got.body, fmt.Sprint("layer ", i)) {
					t.Errorf("%s answered %d %s", written+path, got.status, got.body)
				}
			}
		}
	}
	g.want("reader", "GET /v2/open/blobs/"+blobOf("open layer"), 200)
}
