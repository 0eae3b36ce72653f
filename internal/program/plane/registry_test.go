package plane

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/random"

	"plimsoll.dev/plimsoll/internal/oci"
	"plimsoll.dev/plimsoll/internal/registry"
)

// put publishes an image of random content.
func put(t *testing.T, registries *oci.Registries, tag string) (image v1.Image, manifest, layer v1.Hash) {
	t.Helper()
	image, err := random.Image(1<<10, 1)
	if err != nil {
		t.Fatal(err)
	}
	ref, err := oci.ParseTag(tag)
	if err != nil {
		t.Fatal(err)
	}
	if err := registries.PutImage(t.Context(), ref, image); err != nil {
		t.Fatal(err)
	}
	if manifest, err = image.Digest(); err != nil {
		t.Fatal(err)
	}
	layers, err := image.Layers()
	if err != nil {
		t.Fatal(err)
	}
	if layer, err = layers[0].Digest(); err != nil {
		t.Fatal(err)
	}
	return image, manifest, layer
}

// TestNodesPassTheGateForStepsAlone asks a relay in every way for what is not an image of steps: all
// of it must go by the gate, which refuses here.
func TestNodesPassTheGateForStepsAlone(t *testing.T) {
	store, err := registry.Open(t.Context(), registry.Options{Root: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	registries := &oci.Registries{Agent: "test", Local: func(context.Context) (http.RoundTripper, error) { return store.Transport(), nil }}
	_, steps, stepsLayer := put(t, registries, stepsRepository+":1")
	_, other, otherLayer := put(t, registries, "shop/app:1")
	gate := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) })
	served := &servedRegistry{address: "127.0.0.1:1"} // its transport is the store
	node := httptest.NewServer(relay(served.steps(store.Transport()), gate))
	defer node.Close()

	const at = "/v2/" + stepsRepository
	open := []string{at + "/manifests/" + steps.String(), at + "/manifests/" + steps.String() + "?ns=x", at + "/blobs/" + stepsLayer.String()}
	for _, path := range open {
		if status := ask(t, node, "GET", path); status != http.StatusOK {
			t.Errorf("GET %s: %d", path, status)
		}
	}
	var shut []string
	for _, what := range []string{"manifests/" + other.String(), "blobs/" + otherLayer.String(), "manifests/1", "tags/list", "referrers/" + other.String()} {
		shut = append(shut, "/v2/shop/app/"+what)
		for _, way := range []string{"/../../shop/app/", "/..%2f..%2fshop/app/", "/%2e%2e/%2e%2e/shop/app/", "//../../shop/app/", "/manifests/../../../shop/app/", "%2f..%2f..%2fshop%2fapp/"} {
			shut = append(shut, at+way+what)
		}
	}
	shut = append(shut, at+"/tags/list", at+"/manifests/1", "/v2/_catalog", "/v2/plimsoll/steps2/manifests/1",
		"/v2/plimsoll%2fsteps/manifests/"+steps.String(), "/v2//plimsoll/steps/manifests/"+steps.String(), at+"/manifests/"+steps.String()+"%0a", at+"/blobs/"+steps.String()+"/x")
	for _, path := range shut {
		if status := ask(t, node, "GET", path); status != http.StatusTeapot {
			t.Errorf("GET %s: %d, past the gate", path, status)
		}
	}
	// What is another repository's is not in that of steps.
	for _, path := range []string{at + "/manifests/" + other.String(), at + "/blobs/" + otherLayer.String()} {
		if status := ask(t, node, "GET", path); status != http.StatusNotFound {
			t.Errorf("GET %s: %d", path, status)
		}
	}
	for _, method := range []string{"PUT", "POST", "DELETE", "PATCH", "CONNECT", "TRACE"} {
		for _, path := range append(open, "/v2/shop/app/blobs/uploads/") {
			if status := ask(t, node, method, path); status != http.StatusMethodNotAllowed {
				t.Errorf("%s %s: %d", method, path, status)
			}
		}
	}
}

// ask sends the path as it is: a client of Go's would tidy it up.
func ask(t *testing.T, server *httptest.Server, method, path string) int {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(server.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "%s %s HTTP/1.1\r\nHost: node\r\nConnection: close\r\nX-HTTP-Method-Override: PUT\r\nX-Original-URL: /v2/shop/app/tags/list\r\n\r\n", method, path)
	answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	defer answer.Body.Close()
	_, _ = io.Copy(io.Discard, answer.Body)
	return answer.StatusCode
}
