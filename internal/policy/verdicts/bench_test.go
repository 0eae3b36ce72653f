package verdicts_test

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/policy/verdicts"
)

// fleet has images of 15 rules' worth of results.
func fleet(b testing.TB, n int) (*verdicts.Keeper, *ledger) {
	rules := warnOnly
	for i := range 14 {
		rules += strings.ReplaceAll(`    - {name: rule-N, title: rule number N of the site, reason: r, expression: "image.user != 'N'", remedy: do something}
`, "N", fmt.Sprint(i))
	}
	l := newLedger(rules)
	for i := range n {
		facts := image(i)
		facts.Image.User = fmt.Sprint(i % 20)
		l.kept[verdicts.Image{Repository: "shop", Digest: facts.Image.Digest}] = facts
	}
	k := open(b, b.TempDir(), l, newShelf(), verdicts.Options{})
	if _, err := k.Recompute(b.Context()); err != nil {
		b.Fatal(err)
	}
	return k, l
}

func BenchmarkVerdict(b *testing.B) {
	k, _ := fleet(b, 10_000)
	images := make([]verdicts.Image, 1000)
	for i := range images {
		images[i] = verdicts.Image{Repository: "shop", Digest: digestOf(i * 7)}
	}
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for i := 0; pb.Next(); i++ {
			if v, err := k.Verdict(b.Context(), images[i%len(images)]); err != nil || v.At(artifact.GateAdmission) == "" {
				b.Error(err)
			}
		}
	})
}

// BenchmarkRecompute decides 10,000 images of small facts again: what the keeper itself costs.
func BenchmarkRecompute(b *testing.B) {
	k, _ := fleet(b, 10_000)
	start := time.Now()
	for b.Loop() {
		if stats, err := k.Recompute(b.Context()); err != nil || stats.Images != 10_000 {
			b.Fatal(stats, err)
		}
	}
	b.ReportMetric(float64(10_000*b.N)/time.Since(start).Seconds(), "images/s")
}

// TestMemory holds that 10,000 verdicts of 15 results each need less than 50 MB.
func TestMemory(t *testing.T) {
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	none, _ := fleet(t, 1)
	before := heap()
	k, l := fleet(t, 10_000)
	l.set(func(l *ledger) { clear(l.kept) })
	if grown := (heap() - before) >> 20; grown > 50 {
		t.Errorf("grown by %d MB", grown)
	} else {
		t.Logf("grown by %d MB", grown)
	}
	runtime.KeepAlive(none)
	want(t, k, verdicts.Image{Repository: "shop", Digest: digestOf(9_999)}, artifact.ActionAllow)
}
