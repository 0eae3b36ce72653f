package registry_test

import (
	"bytes"
	"fmt"
	"net/http"
	"testing"

	"github.com/opencontainers/go-digest"
)

// do sends a request and gives its answer, whose body is closed.
func do(t testing.TB, client *http.Client, method, url, contentType string, body []byte) *http.Response {
	t.Helper()
	req, err := http.NewRequest(method, url, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	return resp
}

// pushSHA512 pushes an image in which everything is named by sha512, tagged v1.
func pushSHA512(t testing.TB, client *http.Client, repo string) (manifest []byte, name string) {
	t.Helper()
	base := "http://store.local/v2/" + repo
	named := func(mediaType string, content []byte) string {
		d := digest.SHA512.FromBytes(content)
		resp := do(t, client, http.MethodPost, base+"/blobs/uploads/?digest="+d.String(), "application/octet-stream", content)
		if resp.StatusCode != http.StatusCreated || resp.Header.Get("Docker-Content-Digest") != d.String() {
			t.Fatalf("blob answered %s %q", resp.Status, resp.Header.Get("Docker-Content-Digest"))
		}
		return fmt.Sprintf(`{"mediaType":%q,"digest":%q,"size":%d}`, mediaType, d, len(content))
	}
	manifest = fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":%q,"config":%s,"layers":[%s]}`,
		ociManifest, named("application/vnd.oci.image.config.v1+json", []byte("{}")),
		named("application/vnd.oci.image.layer.v1.tar", []byte("a layer")))
	name = digest.SHA512.FromBytes(manifest).String()
	resp := do(t, client, http.MethodPut, base+"/manifests/v1", ociManifest, manifest)
	if resp.StatusCode != http.StatusCreated || resp.Header.Get("Docker-Content-Digest") != name {
		t.Fatalf("manifest answered %s %q", resp.Status, resp.Header.Get("Docker-Content-Digest"))
	}
	return manifest, name
}

const ociManifest = "application/vnd.oci.image.manifest.v1+json"
