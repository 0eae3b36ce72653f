package registry_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/distribution/distribution/v3/configuration"
	"github.com/distribution/distribution/v3/registry/handlers"
	"github.com/opencontainers/go-digest"

	"plimsoll.dev/plimsoll/internal/registry"
)

// side is one of the two registries that are measured in turn.
type side struct {
	url     string
	ops     int
	spent   time.Duration
	latency []time.Duration
}

// sides gives ours, behind all that Serve adds, and the distribution project's handlers
// alone. Both keep to the filesystem, without a cache, and log nowhere.
func sides(b *testing.B) (ours, theirs *side) {
	ours = &side{url: "http://" + serve(b, open(b, registry.Options{}), registry.ServeOptions{})}
	return ours, &side{url: distribution(b, b.TempDir())}
}

// distribution serves the distribution project's handlers alone over the folder.
func distribution(t testing.TB, root string) (url string) {
	config := &configuration.Configuration{Storage: configuration.Storage{
		"filesystem":  configuration.Parameters{"rootdirectory": root},
		"delete":      configuration.Parameters{"enabled": true},
		"redirect":    configuration.Parameters{"disable": true},
		"maintenance": configuration.Parameters{"uploadpurging": map[any]any{"enabled": false}},
	}}
	config.HTTP.RelativeURLs = true
	config.Catalog.MaxEntries = 1000
	config.Validation.Enabled = true
	config.Validation.Manifests.URLs.Allow = []string{"^https?://"}
	config.Validation.Manifests.Indexes.Platforms = "all"
	app := handlers.NewApp(context.Background(), config)
	server := httptest.NewServer(app)
	t.Cleanup(func() {
		server.Close()
		app.Shutdown()
	})
	return server.URL
}

const benchLayer = 1 << 20

func BenchmarkPull(b *testing.B) {
	compare(b, func(b *testing.B, client *http.Client, s *side) func(int) {
		paths := []string{"/v2/bench/app/manifests/v1"}
		for _, blob := range pushBench(b, client, s.url, "v1", randomBytes(benchLayer)) {
			paths = append(paths, "/v2/bench/app/blobs/"+blob.String())
		}
		return func(int) {
			for _, path := range paths {
				exchange(b, client, http.MethodGet, s.url+path, "", nil, http.StatusOK)
			}
		}
	})
}

func BenchmarkPush(b *testing.B) {
	compare(b, func(b *testing.B, client *http.Client, s *side) func(int) {
		layer := randomBytes(128 << 10)
		return func(n int) {
			unique := append(fmt.Appendf(nil, "%d %d ", n, time.Now().UnixNano()), layer...)
			pushBench(b, client, s.url, fmt.Sprintf("t%d", n%100), unique)
		}
	})
}

// compare measures both sides in short turns within one run, so that whatever else the
// machine does hits both.
func compare(b *testing.B, prepare func(*testing.B, *http.Client, *side) func(int)) {
	for _, clients := range []int{1, 16, 64} {
		b.Run(fmt.Sprintf("clients=%d", clients), func(b *testing.B) {
			ours, plain := sides(b)
			client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: clients}}
			defer client.CloseIdleConnections()
			op := map[*side]func(int){ours: prepare(b, client, ours), plain: prepare(b, client, plain)}
			turn := max(2*clients, 20)
			b.ResetTimer()
			for done := 0; done < b.N; done += turn {
				order := []*side{ours, plain}
				if done/turn%2 == 1 {
					slices.Reverse(order)
				}
				for _, s := range order {
					s.turn(clients, turn, op[s])
				}
			}
			b.StopTimer()
			report(b, ours, plain)
		})
	}
}

func (s *side) turn(clients, ops int, op func(int)) {
	var next atomic.Int64
	var mu sync.Mutex
	var wg sync.WaitGroup
	start := time.Now()
	for range clients {
		wg.Go(func() {
			var took []time.Duration
			for n := int(next.Add(1)); n <= ops; n = int(next.Add(1)) {
				begun := time.Now()
				op(s.ops + n)
				took = append(took, time.Since(begun))
			}
			mu.Lock()
			s.latency = append(s.latency, took...)
			mu.Unlock()
		})
	}
	wg.Wait()
	s.spent += time.Since(start)
	s.ops += ops
}

func report(b *testing.B, ours, plain *side) {
	rate := func(s *side) float64 { return float64(s.ops) / s.spent.Seconds() }
	p99 := func(s *side) float64 {
		slices.Sort(s.latency)
		return s.latency[len(s.latency)*99/100].Seconds() * 1000
	}
	b.ReportMetric(0, "ns/op") // of both sides together: says nothing
	b.ReportMetric(rate(ours), "ours/s")
	b.ReportMetric(rate(plain), "plain/s")
	b.ReportMetric(rate(ours)/rate(plain), "ours:plain")
	b.ReportMetric(p99(ours), "ours-p99-ms")
	b.ReportMetric(p99(plain), "plain-p99-ms")
}

func randomBytes(n int) []byte {
	p := make([]byte, n)
	rand.Read(p)
	return p
}

// pushBench pushes an image of one layer and gives its blobs.
func pushBench(b *testing.B, client *http.Client, url, tag string, layer []byte) []digest.Digest {
	var named []digest.Digest
	var descriptors []any
	for _, content := range [][]byte{[]byte(`{"architecture":"amd64","os":"linux"}`), layer} {
		d := digest.FromBytes(content)
		resp := exchange(b, client, http.MethodPost, url+"/v2/bench/app/blobs/uploads/", "", nil, http.StatusAccepted)
		location := url + resp.Header.Get("Location") + "&digest=" + d.String()
		exchange(b, client, http.MethodPut, location, "application/octet-stream", content, http.StatusCreated)
		named = append(named, d)
		descriptors = append(descriptors, d, len(content))
	}
	manifest := fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":"`+ociManifest+`",`+
		`"config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":%q,"size":%d},`+
		`"layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":%q,"size":%d}]}`, descriptors...)
	exchange(b, client, http.MethodPut, url+"/v2/bench/app/manifests/"+tag, ociManifest, manifest, http.StatusCreated)
	return named
}

func exchange(b *testing.B, client *http.Client, method, url, contentType string, body []byte, want int) *http.Response {
	req, err := http.NewRequest(method, url, bytes.NewReader(body))
	if err != nil {
		b.Error(err)
		return &http.Response{}
	}
	req.Header.Set("Accept", ociManifest)
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	resp, err := client.Do(req)
	if err != nil {
		b.Error(err)
		return &http.Response{}
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode != want {
		b.Errorf("%s %s answered %s: %v", method, url, resp.Status, err)
	}
	return resp
}
