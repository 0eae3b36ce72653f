package verdicts_test

import (
	"fmt"
	"runtime"
	"strings"
	"testing"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/policy/starter"
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

// BenchmarkRecompute decides all images again: of small facts, which is what the keeper itself costs,
// and of those of a usual image by the profile restricted.
func BenchmarkRecompute(b *testing.B) {
	recompute := func(b *testing.B, k *verdicts.Keeper, images int) {
		for b.Loop() {
			if stats, err := k.Recompute(b.Context()); err != nil || stats.Images != images {
				b.Fatal(stats, err)
			}
		}
		b.ReportMetric(float64(images*b.N)/b.Elapsed().Seconds(), "images/s")
	}
	b.Run("small", func(b *testing.B) {
		k, _ := fleet(b, 10_000)
		recompute(b, k, 10_000)
	})
	b.Run("restricted", func(b *testing.B) {
		rules, err := starter.Policies("restricted")
		if err != nil {
			b.Fatal(err)
		}
		l := newLedger(string(rules))
		for i := range 1_000 {
			facts := usual(image(i))
			l.kept[verdicts.Image{Repository: "shop", Digest: facts.Image.Digest}] = facts
		}
		recompute(b, open(b, b.TempDir(), l, newShelf(), verdicts.Options{}), 1_000)
	})
}

// usual adds 300 packages and 80 findings.
func usual(facts artifact.Facts) artifact.Facts {
	for i := range 300 {
		p := artifact.Package{
			Type: "deb", Namespace: "debian", Name: fmt.Sprintf("package-%d", i), Version: "1.2.3-4", Arch: "amd64", Distro: "debian-13",
			Source: fmt.Sprintf("source-%d", i), Licenses: []string{"MIT", "GPL-2.0-only"}, Paths: []string{"var/lib/dpkg/status"}, Layer: digestOf(i % 8),
		}
		facts.Packages, facts.InBase = append(facts.Packages, p), append(facts.InBase, i%3 > 0)
		if i < 80 {
			facts.Findings = append(facts.Findings, artifact.Finding{
				ID: fmt.Sprintf("CVE-2026-%04d", i), Severity: artifact.SeverityMedium, Source: "debian", Package: p, State: "affected", Remedy: artifact.RemedyNone,
			})
		}
	}
	facts.Licenses = []string{"GPL-2.0-only", "MIT"}
	return facts
}

// TestMemory holds that 10,000 verdicts of 15 results each need less than 50 MB.
func TestMemory(t *testing.T) {
	heap := func() uint64 {
		runtime.GC()
		runtime.GC() // pools need two
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	none, _ := fleet(t, 1)
	before := heap()
	k, l := fleet(t, 10_000)
	if err := k.Close(); err != nil { // so that nothing is under way
		t.Fatal(err)
	}
	l.set(func(l *ledger) { clear(l.kept) })
	if grown := (heap() - before) >> 20; grown > 50 {
		t.Errorf("grown by %d MB", grown)
	} else {
		t.Logf("grown by %d MB", grown)
	}
	runtime.KeepAlive(none)
	want(t, k, verdicts.Image{Repository: "shop", Digest: digestOf(9_999)}, artifact.ActionAllow) // they are still there
}
