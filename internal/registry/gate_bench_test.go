package registry_test

import (
	"math/rand/v2"
	"net/http"
	"runtime"
	"runtime/metrics"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/registry"
)

// gatedSides gives the registry with a gate that knows its verdicts, the same without one, and
// the distribution project's handlers alone; each with the image of pushBench.
func gatedSides(b *testing.B, layer []byte) (client *http.Client, with, without, plain *side, paths []string) {
	client = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 1000}}
	b.Cleanup(client.CloseIdleConnections)
	g := openGated(b, registry.Options{})
	doors := registry.ServeOptions{Doors: []func(http.Handler) http.Handler{principals}}
	with, without, plain = &side{url: g.url}, &side{url: "http://" + serve(b, open(b, registry.Options{}), doors)}, &side{url: distribution(b, b.TempDir())}
	for _, s := range []*side{with, without, plain} {
		blobs := pushBench(b, client, s.url, "v1", layer)
		paths = []string{"/v2/bench/app/manifests/v1"}
		for _, d := range blobs {
			paths = append(paths, "/v2/bench/app/blobs/"+d.String())
		}
	}
	manifest := exchange(b, client, http.MethodHead, without.url+paths[0], "", nil, http.StatusOK).Header.Get("Docker-Content-Digest")
	g.gate.say("bench/app", digest.Digest(manifest), artifact.ActionAllow)
	return client, with, without, plain, paths
}

// BenchmarkGate pulls a manifest whose verdict is known, and the blobs of an image, by 64
// clients at a time.
func BenchmarkGate(b *testing.B) {
	for _, what := range []string{"manifest", "blob"} {
		b.Run(what, func(b *testing.B) {
			client, with, without, plain, paths := gatedSides(b, randomBytes(16<<10))
			path := paths[0]
			if what == "blob" {
				path = paths[2]
			}
			b.ResetTimer()
			for done := 0; done < b.N; done += 640 {
				round(64, 10, []*side{with, without, plain}, func(s *side) {
					exchange(b, client, http.MethodGet, s.url+path, "", nil, http.StatusOK)
				})
			}
			b.StopTimer()
			b.ReportMetric(0, "ns/op") // of all sides together: says nothing
			for name, s := range map[string]*side{"gated": with, "open": without, "plain": plain} {
				slices.Sort(s.latency)
				b.ReportMetric(s.at(50), name+"-p50-ms")
				b.ReportMetric(s.at(99), name+"-p99-ms")
			}
			b.ReportMetric(with.at(99)-without.at(99), "overhead-p99-ms")
		})
	}
}

// pause is what a client waits between its requests, on average: 64 of them that never wait
// measure how long the queue for the processor is.
const pause = 30 * time.Millisecond

// round lets each client ask all sides, another one first each time: whatever else the machine
// does in the meantime hits all.
func round(clients, times int, sides []*side, op func(*side)) {
	var mu sync.Mutex
	var wg sync.WaitGroup
	for i := range clients {
		wg.Go(func() {
			for n := range times * len(sides) {
				s := sides[(i+n)%len(sides)]
				time.Sleep(rand.N(2 * pause))
				begun := time.Now()
				op(s)
				took := time.Since(begun)
				mu.Lock()
				s.latency = append(s.latency, took)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
}

// at gives the latency that so many of a hundred requests keep within, in milliseconds. The
// latencies are sorted.
func (s *side) at(percent int) float64 {
	return s.latency[len(s.latency)*percent/100].Seconds() * 1000
}

// BenchmarkPull1000 lets a thousand clients pull an image at once. The heap is that of servers
// and clients together.
func BenchmarkPull1000(b *testing.B) {
	client, with, _, plain, paths := gatedSides(b, randomBytes(1<<20))
	sides := map[string]*side{"gated": with, "plain": plain}
	peak := map[string]uint64{}
	for range b.N {
		for name, s := range sides {
			runtime.GC()
			stop := watchHeap()
			s.turn(1000, 1000, func(int) {
				for _, path := range paths {
					exchange(b, client, http.MethodGet, s.url+path, "", nil, http.StatusOK)
				}
			})
			peak[name] = max(peak[name], stop())
		}
	}
	b.ReportMetric(0, "ns/op")
	for name, s := range sides {
		slices.Sort(s.latency)
		b.ReportMetric(float64(s.ops)/s.spent.Seconds(), name+"-pulls/s")
		b.ReportMetric(s.at(99), name+"-p99-ms")
		b.ReportMetric(float64(peak[name]>>20), name+"-peak-MB")
	}
}

// watchHeap looks at the heap until it is stopped, and gives the most bytes of objects seen.
func watchHeap() (stop func() uint64) {
	done, most := make(chan struct{}), make(chan uint64)
	go func() {
		sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
		var peak uint64
		for tick := time.NewTicker(5 * time.Millisecond); ; {
			metrics.Read(sample)
			peak = max(peak, sample[0].Value.Uint64())
			select {
			case <-done:
				tick.Stop()
				most <- peak
				return
			case <-tick.C:
			}
		}
	}()
	return func() uint64 { close(done); return <-most }
}
