package registry_test

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/opencontainers/go-digest"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/registry"
)

// TestQuarantineOfASharedStore: what another process takes in and removes is noticed, though
// its manifests were never asked for here.
func TestQuarantineOfASharedStore(t *testing.T) {
	root := t.TempDir()
	addr, _ := child(t, root, "")
	noticesOthers(t, openGated(t, registry.Options{Root: root}), addr)
}

// s3Quarantine: so it is in a bucket.
func s3Quarantine(t *testing.T, server *s3Server) {
	config := server.config(t, server.bucket(t, "quarantine"))
	other := serve(t, open(t, registry.Options{Config: config}), registry.ServeOptions{})
	noticesOthers(t, openGated(t, registry.Options{Config: config}), other)
}

// noticesOthers pushes through another registry on the store of a gated one.
func noticesOthers(t *testing.T, g *gated, other string) {
	for i := range 3 { // each after all before was looked at
		img := image(t, 64, 2)
		if err := remote.Write(ref(t, fmt.Sprintf("%s/a:v%d", other, i)), img); err != nil {
			t.Fatal(err)
		}
		name, err := img.Digest()
		if err != nil {
			t.Fatal(err)
		}
		layers, err := img.Layers()
		if err != nil {
			t.Fatal(err)
		}
		layer, err := layers[1].Digest()
		if err != nil {
			t.Fatal(err)
		}
		blob := "GET /v2/a/blobs/" + layer.String()
		if got := g.ask("reader", blob, nil).status; got != 403 && got != 404 {
			t.Fatalf("before any verdict: %d", got)
		}
		g.gate.say("a", digest.Digest(name.String()), artifact.ActionAllow)
		for deadline := time.Now().Add(20 * time.Second); g.ask("reader", blob, nil).status != 200; {
			if time.Now().After(deadline) {
				t.Fatalf("push %d is not noticed", i)
			}
		}
		if resp := do(t, http.DefaultClient, http.MethodDelete, "http://"+other+"/v2/a/manifests/"+name.String(), "", nil); resp.StatusCode != 202 {
			t.Fatalf("delete answered %s", resp.Status)
		}
		g.want("reader", blob, 404)
		if i == 2 {
			sig := g.attach("b", "", "", configType, simpleType, []byte(`{"sig":1}`))
			img, _ := g.image("b", "1", "the layer")
			g.gate.say("b", img, artifact.ActionAllow)
			g.want("reader", "GET /v2/b/manifests/"+sig.String(), 403)
			content := g.want("inspector", "GET /v2/b/manifests/"+sig.String(), 200).body
			tag := "http://" + other + "/v2/b/manifests/" + signatureTag(img, "sig")
			if resp := do(t, http.DefaultClient, http.MethodPut, tag, ociManifest, []byte(content)); resp.StatusCode != 201 {
				t.Fatalf("tag answered %s", resp.Status)
			}
			for deadline := time.Now().Add(20 * time.Second); g.ask("reader", "GET /v2/b/blobs/"+blobOf(`{"sig":1}`), nil).status != 200; {
				if time.Now().After(deadline) {
					t.Fatal("a signature's tag is not noticed")
				}
			}
		}
	}
}

// TestManifestOfTwoMeanings: another registry on the store takes in a manifest in which some
// readers find evidence, and others a layer to unpack.
func TestManifestOfTwoMeanings(t *testing.T) {
	root := t.TempDir()
	g, other := openGated(t, registry.Options{Root: root}), distribution(t, root)
	good, _ := g.image("a", "good", "good layer")
	g.gate.say("a", good, artifact.ActionAllow)
	content := fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"config":%s,"layers":[%s],"layers":[%s],"subject":{"mediaType":%q,"digest":%q,"size":1}}`,
		ociManifest, g.blob("a", emptyType, []byte("{}")), g.blob("a", layerType, archive(t)), g.blob("a", bundleType, []byte(`{"sig":1}`)), ociManifest, good)
	d := digest.FromString(content)
	if resp := do(t, http.DefaultClient, http.MethodPut, other+"/v2/a/manifests/"+d.String(), ociManifest, []byte(content)); resp.StatusCode != 201 {
		t.Fatalf("manifest answered %s", resp.Status)
	}
	g.want("reader", "GET /v2/a/manifests/"+d.String(), 403)
	g.want("reader", "GET /v2/a/blobs/"+blobOf(`{"sig":1}`), 403)
	g.gate.say("a", d, artifact.ActionAllow)
	g.want("reader", "GET /v2/a/manifests/"+d.String(), 200)
}
