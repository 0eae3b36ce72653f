package registry_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"plimsoll.dev/plimsoll/internal/registry"
)

func TestRefusals(t *testing.T) {
	base := "http://" + serve(t, open(t, registry.Options{}), registry.ServeOptions{})
	zero := "sha256:" + strings.Repeat("0", 64)
	big := append(append([]byte(`{"schemaVersion":2,"annotations":{"pad":"`), bytes.Repeat([]byte("x"), 4<<20)...), `"}}`...)
	for _, c := range []struct {
		name, request string
		body          []byte
		want          int
		code          string
	}{
		{"manifest too large", "PUT /v2/a/manifests/v1", big, 413, "SIZE_INVALID"},
		{"manifest not JSON", "PUT /v2/a/manifests/v1", []byte("nonsense"), 400, "MANIFEST_INVALID"},
		{"key twice", "PUT /v2/a/manifests/v1", []byte(`{"schemaVersion":2,"layers":[],"Layers":[]}`), 400, "MANIFEST_INVALID"},
		{"subject without digest", "PUT /v2/a/manifests/v1", []byte(`{"schemaVersion":2,"subject":{}}`), 400, "MANIFEST_INVALID"},
		{"other digest", "PUT /v2/a/manifests/" + zero, []byte(`{"schemaVersion":2}`), 400, "DIGEST_INVALID"},
		{"layer missing", "PUT /v2/a/manifests/v1", []byte(`{"schemaVersion":2,"mediaType":"` + ociManifest + `","config":{"mediaType":"a/b","digest":"` + zero + `","size":1},"layers":[]}`), 400, "MANIFEST_BLOB_UNKNOWN"},
		{"blob with another digest", "POST /v2/a/blobs/uploads/?digest=" + zero, []byte("x"), 400, "DIGEST_INVALID"},
		{"blob by no digest", "POST /v2/a/blobs/uploads/?digest=sha256:abc", []byte("x"), 400, "DIGEST_INVALID"},
		{"bad tag", "PUT /v2/a/manifests/v1?tag=../x", []byte(`{"schemaVersion":2}`), 400, "TAG_INVALID"},
		{"bad digest", "GET /v2/a/manifests/sha256:abc", nil, 400, "DIGEST_INVALID"},
		{"bad subject", "GET /v2/a/referrers/latest", nil, 400, "DIGEST_INVALID"},
		{"bad page", "GET /v2/a/tags/list?n=-1", nil, 400, "PAGINATION_NUMBER_INVALID"},
		{"unknown repository", "GET /v2/a/tags/list", nil, 404, "NAME_UNKNOWN"},
		{"upper case", "GET /v2/Team/tags/list", nil, 400, "NAME_INVALID"},
		{"climbing out", "GET /v2/..%2f..%2fetc/manifests/passwd", nil, 400, "NAME_INVALID"},
		{"our own tree", "GET /v2/_subjects/tags/list", nil, 400, "NAME_INVALID"},
		{"a layout folder", "GET /v2/a/_manifests/tags/list", nil, 400, "NAME_INVALID"},
		{"empty component", "GET /v2/a%2f%2fb/tags/list", nil, 400, "NAME_INVALID"},
		{"name too long", "GET /v2/" + strings.Repeat("a", 256) + "/tags/list", nil, 400, "NAME_INVALID"},
		{"no such endpoint", "GET /v2/a/b/c", nil, 404, "UNSUPPORTED"},
		{"referrers are not written", "PUT /v2/a/referrers/" + zero, nil, 405, "UNSUPPORTED"},
	} {
		t.Run(c.name, func(t *testing.T) {
			method, path, _ := strings.Cut(c.request, " ")
			req, err := http.NewRequest(method, base+path, bytes.NewReader(c.body))
			if err != nil {
				t.Fatal(err)
			}
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			text, _ := io.ReadAll(resp.Body)
			var answer struct{ Errors []struct{ Code string } }
			if err := json.Unmarshal(text, &answer); err != nil || len(answer.Errors) == 0 {
				t.Fatalf("answered %d %q: %v", resp.StatusCode, text, err)
			}
			if got := fmt.Sprint(resp.StatusCode, answer.Errors[0].Code); got != fmt.Sprint(c.want, c.code) {
				t.Errorf("got %s, want %d %s", got, c.want, c.code)
			}
		})
	}
}

func TestTagsArePaged(t *testing.T) {
	reg := open(t, registry.Options{})
	img := image(t, 64, 1)
	for _, tag := range []string{"c", "a", "e", "b", "d"} {
		write(t, reg, "store.local/a:"+tag, img)
	}
	client := &http.Client{Transport: reg.Transport()}
	var pages [][]string
	for next := "/v2/a/tags/list?n=2"; next != ""; {
		resp, err := client.Get("http://store.local" + next)
		if err != nil {
			t.Fatal(err)
		}
		var page struct{ Tags []string }
		err = json.NewDecoder(resp.Body).Decode(&page)
		resp.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		pages = append(pages, page.Tags)
		next, _, _ = strings.Cut(strings.TrimPrefix(resp.Header.Get("Link"), "<"), ">")
	}
	if diff := cmp.Diff([][]string{{"a", "b"}, {"c", "d"}, {"e"}}, pages); diff != "" {
		t.Error(diff)
	}
}

// TestDrain: a request under way when the server is told to stop is answered whole.
func TestDrain(t *testing.T) {
	root := t.TempDir()
	reg := open(t, registry.Options{Root: root})
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	ready, ended := make(chan net.Addr, 1), make(chan error, 1)
	go func() {
		ended <- reg.Serve(ctx, registry.ServeOptions{Addr: "127.0.0.1:0", Ready: func(a net.Addr) { ready <- a }})
	}()
	addr := (<-ready).String()
	body, feed := io.Pipe()
	answered := make(chan error, 1)
	digest := "sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
	go func() {
		resp, err := http.Post("http://"+addr+"/v2/a/blobs/uploads/?digest="+digest, "application/octet-stream", body)
		if err == nil {
			resp.Body.Close()
			if resp.StatusCode != http.StatusCreated {
				err = fmt.Errorf("answered %s", resp.Status)
			}
		}
		answered <- err
	}()
	begun := make(chan struct{})
	go func() {
		io.WriteString(feed, "hel")
		close(begun)
	}()
	// Under way means that the server has begun an upload.
	uploads := filepath.Join(root, "docker/registry/v2/repositories/a/_uploads/*")
	for deadline := time.Now().Add(20 * time.Second); ; {
		if found, err := filepath.Glob(uploads); err != nil || len(found) > 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("no upload has begun")
		}
	}
	cancel()
	for { // until the server takes nobody else; the test binary's deadline bounds it
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			break
		}
		conn.Close()
	}
	<-begun
	io.WriteString(feed, "lo")
	feed.Close()
	if err := <-answered; err != nil {
		t.Error(err)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
