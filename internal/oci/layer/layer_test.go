package layer_test

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/types"

	"plimsoll.dev/plimsoll/internal/oci/layer"
)

// text gives bytes that do not compress, more than a pipe holds.
func text(t testing.TB) []byte {
	t.Helper()
	out := make([]byte, 1<<20)
	if _, err := rand.NewChaCha8([32]byte{1}).Read(out); err != nil {
		t.Fatal(err)
	}
	return out
}

func writes(text []byte) func(io.Writer) error {
	return func(w io.Writer) error {
		_, err := w.Write(text)
		return err
	}
}

func TestCache(t *testing.T) {
	for _, compression := range []string{"gzip", "zstd"} {
		t.Run(compression, func(t *testing.T) {
			kept := layer.NewCache(t.TempDir(), compression)
			want := text(t)
			first, fresh, err := kept.Of(writes(want))
			if err != nil || !fresh {
				t.Fatalf("fresh %t, %v", fresh, err)
			}
			second, fresh, err := kept.Of(writes(want))
			if err != nil || fresh || first.Sum != second.Sum || first.Plain != second.Plain {
				t.Errorf("the same tar: fresh %t, %v, %v and %v", fresh, err, first, second)
			}
			if other, fresh, err := kept.Of(writes(want[1:])); err != nil || !fresh || other.Sum == first.Sum {
				t.Errorf("another tar: fresh %t, %v, %v", fresh, err, other)
			}
			r, err := second.Uncompressed()
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(r)
			if err != nil || !bytes.Equal(got, want) {
				t.Errorf("%d bytes went in, %d came out, %v", len(want), len(got), err)
			}
			if err := r.Close(); err != nil {
				t.Error(err)
			}
			media, err := second.MediaType()
			if want := map[string]types.MediaType{"gzip": types.OCILayer, "zstd": types.OCILayerZStd}[compression]; err != nil || media != want {
				t.Errorf("want %s, got %s, %v", want, media, err)
			}
		})
	}
}

func TestFailedWriteLeavesNothing(t *testing.T) {
	dir, broken := t.TempDir(), errors.New("broken")
	if _, _, err := layer.NewCache(dir, "gzip").Get("key", func(io.Writer) error { return broken }); !errors.Is(err, broken) {
		t.Errorf("want the writer's error, got %v", err)
	}
	if left, err := filepath.Glob(filepath.Join(dir, "gzip", "*")); err != nil || len(left) > 0 {
		t.Errorf("it left %v, %v", left, err)
	}
}

// TestUpload sends a layer as registries are sent layers: over a socket and with its size,
// for which the kernel would send the file itself, unseen.
func TestUpload(t *testing.T) {
	dir := t.TempDir()
	blob, _, err := layer.NewCache(dir, "gzip").Get("key", writes(text(t)))
	if err != nil {
		t.Fatal(err)
	}
	var got int64
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		got, _ = io.Copy(io.Discard, r.Body)
	}))
	defer server.Close()
	send := func() error {
		body, err := blob.Compressed()
		if err != nil {
			t.Fatal(err)
		}
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPatch, server.URL, body)
		if err != nil {
			t.Fatal(err)
		}
		request.ContentLength = blob.Bytes
		response, err := server.Client().Do(request)
		if err == nil {
			_ = response.Body.Close()
		}
		return err
	}
	if err := send(); err != nil || got != blob.Bytes {
		t.Errorf("want %d bytes sent, got %d, %v", blob.Bytes, got, err)
	}
	name := filepath.Join(dir, "gzip", "key.blob")
	damaged, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	damaged[len(damaged)/2] ^= 1
	if err := os.WriteFile(name, damaged, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := send(); err == nil || !strings.Contains(err.Error(), "damaged on the disk") {
		t.Errorf("want the damage told, got %v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "gzip", "key.json")); err == nil {
		t.Error("the damaged layer is still known")
	}
}
