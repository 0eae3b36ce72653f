package pods

import (
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"plimsoll.dev/plimsoll/internal/executor"
	"plimsoll.dev/plimsoll/internal/executor/pod"
	"plimsoll.dev/plimsoll/internal/executor/sandbox"
	"plimsoll.dev/plimsoll/internal/testbed"
)

// BenchmarkPodStep measures what a pod costs beside the sandbox: a step that does nothing,
// with its image on the node already, and folders on their way there and back.
func BenchmarkPodStep(b *testing.B) {
	testbed.Tool(b, "bwrap")
	bed := New(b)
	inPod := bed.Executor(b, pod.Options{})
	inSandbox, err := sandbox.New(b.TempDir(), sandbox.Options{})
	if err != nil {
		b.Fatal(err)
	}
	large := folder(b, 8, 32<<20)
	many := folder(b, 20_000, 1<<10)
	for b.Loop() {
		nothing := took(b, inPod, "true")
		fmt.Printf("\na step that does nothing, median of %d:\n", rounds)
		fmt.Printf("  pod      %8.0f ms\n", ms(nothing))
		fmt.Printf("  sandbox  %8.0f ms\n", ms(took(b, inSandbox, "true")))
		for _, c := range []struct {
			name   string
			dir    string
			bytes  int
			script string
		}{
			{"256 MiB in 8 files, there", large, 256 << 20, "true"},
			{"256 MiB in 8 files, there and back", large, 512 << 20, "for f in /w/*; do cp $f /tmp/x && cat /tmp/x > $f; done"},
			{"20,000 files of 1 KiB, there", many, 20 << 20, "true"},
		} {
			took := took(b, inPod, c.script, executor.Mount{Kind: executor.ReadWrite, Source: c.dir, Target: "/w"}) - nothing
			fmt.Printf("  %-36s %6.0f ms more, %4.0f MB/s\n", c.name, ms(took), float64(c.bytes)/1e6/took.Seconds())
		}
		b.ReportMetric(ms(nothing), "ms/step")
	}
}

// rounds is how often each step is run; the median counts.
const rounds = 5

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func took(b *testing.B, e executor.Executor, script string, mounts ...executor.Mount) time.Duration {
	b.Helper()
	s := step(b, script, mounts...)
	var all []time.Duration
	for range rounds + 1 { // the first has the image brought
		began := time.Now()
		if r, err := e.Run(b.Context(), s, os.Stdout, os.Stderr); err != nil || !r.OK() {
			b.Fatalf("%s: %+v, %v", script, r, err)
		}
		all = append(all, time.Since(began))
	}
	all = all[1:]
	slices.Sort(all)
	return all[len(all)/2]
}

// folder makes one with so many files of so many random bytes.
func folder(b *testing.B, files, size int) string {
	b.Helper()
	dir := b.TempDir()
	content := make([]byte, size)
	for i := range files {
		_, _ = rand.Read(content) // never fails
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprint(i)), content, 0o644); err != nil {
			b.Fatal(err)
		}
	}
	return dir
}
