package oci

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/google/go-containerregistry/pkg/v1/validate"
)

// TestStreams writes a blob as a stream, once, and reads it back; a registry that gives
// other bytes, fewer or more is found out.
func TestStreams(t *testing.T) {
	change := func(body []byte) []byte { return body }
	session, host := harbour(t, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method != http.MethodGet || !strings.Contains(r.URL.Path, "/blobs/") {
				next.ServeHTTP(w, r)
				return
			}
			caught := &caught{header: http.Header{}}
			next.ServeHTTP(caught, r)
			w.WriteHeader(http.StatusOK)
			_, _ = w.Write(change(caught.body.Bytes()))
		})
	})
	ref := parsed(t, host+"/app:1")
	data := []byte(strings.Repeat("cargo ", 100_000))
	blob := describe(t, types.OCILayer, data)
	open := func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(data)), nil }
	for i, want := range []int64{blob.Size, 0} {
		sent, err := session.PutStream(t.Context(), ref, blob, open)
		if err != nil || sent != want {
			t.Fatalf("write %d sent %d bytes, %v; want %d", i, sent, err, want)
		}
	}
	read := func() error {
		in, err := session.Open(t.Context(), ref, blob)
		if err != nil {
			return err
		}
		defer in.Close()
		got, err := io.ReadAll(in)
		if err == nil && !bytes.Equal(got, data) {
			t.Errorf("read %d bytes that are not what was written", len(got))
		}
		return err
	}
	if err := read(); err != nil {
		t.Fatal(err)
	}
	for name, hostile := range map[string]func([]byte) []byte{
		"other":  func(b []byte) []byte { return bytes.ToUpper(b) },
		"fewer":  func(b []byte) []byte { return b[:len(b)-1] },
		"more":   func(b []byte) []byte { return append(bytes.Clone(b), '!') },
		"no end": func(b []byte) []byte { return bytes.Repeat(b, 20) },
	} {
		change = hostile
		if err := read(); err == nil {
			t.Errorf("%s bytes pass", name)
		}
	}
}

// caught keeps an answer.
type caught struct {
	header http.Header
	body   bytes.Buffer
}

func (c *caught) Header() http.Header         { return c.header }
func (c *caught) WriteHeader(int)             {}
func (c *caught) Write(p []byte) (int, error) { return c.body.Write(p) }

// TestLazyImage reads an image by its manifest and configuration alone, until a layer is
// opened.
func TestLazyImage(t *testing.T) {
	reads := 0
	session, host := harbour(t, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/blobs/") {
				reads++
			}
			next.ServeHTTP(w, r)
		})
	})
	ref, made := parsed(t, host+"/app:1"), image(t, "amd64")
	if err := session.registries.PutImage(t.Context(), ref, made); err != nil {
		t.Fatal(err)
	}
	manifest, _ := made.RawManifest()
	config, _ := made.RawConfigFile()
	lazy, err := session.Image(t.Context(), ref, types.DockerManifestSchema2, manifest, config)
	if err != nil {
		t.Fatal(err)
	}
	if digest(t, lazy) != digest(t, made) || reads != 0 {
		t.Errorf("digest %s with %d blobs read, want %s with none", digest(t, lazy), reads, digest(t, made))
	}
	if err := validate.Image(lazy); err != nil || reads == 0 {
		t.Errorf("%v with %d blobs read", err, reads)
	}
}
