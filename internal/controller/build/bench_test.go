package build

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"syscall"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"plimsoll.dev/plimsoll/internal/controller/image"
)

// BenchmarkReconcile declares Images that are built already (10,000, or PLIMSOLL_BENCH_IMAGES) and
// prints what it costs to begin with them, to look at all again, to do nothing, and to rebase them
// with a worker that takes no time: what the control plane itself adds.
func BenchmarkReconcile(b *testing.B) {
	n := 10_000
	if text := os.Getenv("PLIMSOLL_BENCH_IMAGES"); text != "" {
		var err error
		if n, err = strconv.Atoi(text); err != nil {
			b.Fatal(err)
		}
	}
	y := newYard(b, Options{})
	y.stop()
	y.estate(b, n)
	for range b.N {
		y.writes.Store(0)
		began := time.Now()
		y.start(b)
		last := y.declare(b, fmt.Sprint("last-", began.UnixNano()), nil)
		y.ready(b, last, metav1.ConditionTrue, image.UpToDate)
		y.rest(b) // what is new goes before what was there
		fmt.Printf("%d Images: steady %.1f s after a cold start, with %d writes, all for one that is new\n", n, time.Since(began).Seconds(), y.writes.Load())

		began = time.Now()
		y.writes.Store(0)
		y.images.WakeAll(b.Context())
		y.rest(b)
		fmt.Printf("%d Images: looked at all again in %.2f s, with %d writes\n", n, time.Since(began).Seconds(), y.writes.Load())

		runtime.GC()
		var memory runtime.MemStats
		runtime.ReadMemStats(&memory)
		cpu, wall := cpuTime(b), time.Now()
		time.Sleep(20 * time.Second) // what is measured is that nothing happens
		fmt.Printf("%d Images: idle %.2f %% of a core, heap %d MB\n", n, 100*(cpuTime(b)-cpu).Seconds()/time.Since(wall).Seconds(), memory.HeapAlloc>>20)

		run := fmt.Sprint("run", time.Now().UnixNano())
		began, cpu = time.Now(), cpuTime(b)
		y.writes.Store(0)
		y.builder(b, "builder1", run)
		y.rebased(b, n, run)
		took := time.Since(began).Seconds()
		fmt.Printf("%d Images: all on another base in %.1f s (%.0f a second, of which the work itself takes none), %.2f writes and %.1f ms of this process's CPU each\n",
			n, took, float64(n)/took, float64(y.writes.Load())/float64(n), 1000*(cpuTime(b)-cpu).Seconds()/float64(n))
		y.stop()
	}
}

// rest waits until all Images that were woken have been looked at.
func (y *yard) rest(t testing.TB) {
	t.Helper()
	y.Until(t, func() string {
		if left := y.images.Waiting(); left > 0 {
			return fmt.Sprintf("%d Images wait to be looked at", left)
		}
		return ""
	})
}

// cpuTime gives what this process has used.
func cpuTime(t testing.TB) time.Duration {
	t.Helper()
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		t.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
