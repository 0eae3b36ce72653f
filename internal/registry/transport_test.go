package registry_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"testing"

	"plimsoll.dev/plimsoll/internal/registry"
)

// pattern gives n bytes without holding them.
func pattern(n int64) io.Reader { return io.LimitReader(endless{}, n) }

type endless struct{}

func (endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(i)
	}
	return len(p), nil
}

func pushPattern(t *testing.T, client *http.Client, n int64) string {
	t.Helper()
	hash := sha256.New()
	if _, err := io.Copy(hash, struct{ io.Reader }{pattern(n)}); err != nil {
		t.Fatal(err)
	}
	digest := fmt.Sprintf("sha256:%x", hash.Sum(nil))
	req, err := http.NewRequest(http.MethodPost, "http://store.local/v2/a/blobs/uploads/?digest="+digest, pattern(n))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/octet-stream")
	req.ContentLength = n
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusCreated {
		t.Fatalf("push answered %s", resp.Status)
	}
	return digest
}

// TestTransportStreams moves a blob both ways and looks at what was allocated meanwhile.
func TestTransportStreams(t *testing.T) {
	const size = 64 << 20
	client := &http.Client{Transport: open(t, registry.Options{}).Transport()}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	digest := pushPattern(t, client, size)
	resp, err := client.Get("http://store.local/v2/a/blobs/" + digest)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	hash := sha256.New()
	n, err := io.Copy(hash, resp.Body)
	if err != nil || n != size || resp.ContentLength != size {
		t.Fatalf("pulled %d of %d bytes: %v", n, resp.ContentLength, err)
	}
	runtime.ReadMemStats(&after)
	if got := fmt.Sprintf("sha256:%x", hash.Sum(nil)); got != digest {
		t.Errorf("pulled %s, want %s", got, digest)
	}
	if grown := after.TotalAlloc - before.TotalAlloc; grown > size/8 {
		t.Errorf("allocated %d MiB to move %d MiB", grown>>20, size>>20)
	}
}

func TestTransportStopsWithItsCaller(t *testing.T) {
	client := &http.Client{Transport: open(t, registry.Options{}).Transport()}
	digest := pushPattern(t, client, 8<<20)
	get := func(ctx context.Context) *http.Response {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://store.local/v2/a/blobs/"+digest, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		return resp
	}
	ctx, cancel := context.WithCancel(context.Background())
	resp := get(ctx)
	cancel()
	if _, err := io.Copy(io.Discard, resp.Body); !errors.Is(err, context.Canceled) {
		t.Errorf("a canceled pull ends with %v", err)
	}
	resp.Body.Close()
	before := runtime.NumGoroutine()
	for range 20 {
		resp := get(context.Background())
		if _, err := io.CopyN(io.Discard, resp.Body, 10); err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
	}
	// The handlers of bodies that were closed early end by themselves.
	for runtime.NumGoroutine() > before+5 {
		runtime.Gosched() // the test binary's deadline bounds it
	}
}
