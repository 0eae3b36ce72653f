package program

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"plimsoll.dev/plimsoll/api/v1alpha1"
)

// BenchmarkPlane measures a whole control plane, `plimsoll up` with the real API server and etcd,
// that keeps 10,000 Images (or PLIMSOLL_BENCH_IMAGES), each in a repository of its own, with
// policies, and verdicts on all: what it costs to begin with them and to do nothing, and how long
// it takes from a fixed base until a tenth of them, and then all others, stand on it with evidence,
// verdicts and statuses. Beside it the lifecycle's rebaser, once for each of thirty.
func BenchmarkPlane(b *testing.B) {
	n := 10_000
	if text := os.Getenv("PLIMSOLL_BENCH_IMAGES"); text != "" {
		var err error
		n, err = strconv.Atoi(text)
		must(b, err)
	}
	for range b.N {
		p := newPlaneBench(b)
		p.start()
		p.apply(p.before("node20"), p.before("web"), p.buildBase())
		p.builder("build", "node20", "web")
		p.judge()
		p.stop()
		p.images("few", max(1, n/10), "web")
		p.images("many", n, "node20")

		began := time.Now()
		p.start()
		for _, names := range p.names {
			p.all("a verdict", names, judged)
		}
		fmt.Printf("\n%d Images: verdicts on all that nobody has judged %.0f s after a start\n", p.count(), time.Since(began).Seconds())
		p.stop()

		began = time.Now()
		p.start()
		p.rest()
		steady, writes := time.Since(began), p.writes()
		fmt.Printf("%d Images: steady %.1f s after a cold start, with %.0f writes\n", p.count(), steady.Seconds(), writes)
		b.ReportMetric(steady.Seconds(), "s-cold-start")
		p.wakeAll()
		fmt.Printf("%d Images: looked at all again, with %.0f writes\n", p.count(), p.writes()-writes)
		p.idle()

		p.fix("web", "few")
		b.ReportMetric(p.fix("node20", "many"), "images/s")
		p.stop()
		p.rebaser()
	}
}

// judged says what an Image lacks that is up to date and has a verdict.
func judged(i *v1alpha1.Image) string {
	if i.Status.Verdict == nil {
		return "there is no verdict"
	}
	return unready(i.Generation, &i.Status.Status)
}

// idle prints what doing nothing costs.
func (p *planeBench) idle() {
	p.b.Helper()
	const back, while = 30 * time.Second, 30 * time.Second
	time.Sleep(back) // some seconds after much work memory is given back, once
	used, writes, began := p.used(), p.writes(), time.Now()
	time.Sleep(while) // what is measured is that nothing happens
	took := time.Since(began)
	resident := p.resident()
	now := p.used()
	for _, part := range slices.Sorted(maps.Keys(now)) {
		fmt.Printf("  idle: %-26s %5.1f %% of a core, %4.0f MB\n", part, 100*(now[part]-used[part]).Seconds()/took.Seconds(), float64(resident[part])/1e6)
	}
	fmt.Printf("  idle: %.0f writes\n", p.writes()-writes)
	p.b.ReportMetric(100*(now["plimsoll"]-used["plimsoll"]).Seconds()/took.Seconds(), "%-of-a-core-idle")
	p.b.ReportMetric(float64(resident["plimsoll"])/1e6, "MB")
}

// fix publishes the base with a fix, and prints how long it takes until all Images on it have it. It
// gives how many there were in a second.
func (p *planeBench) fix(base, name string) float64 {
	p.b.Helper()
	on := &v1alpha1.BaseImage{}
	on.Name = base
	must(p.b, p.api.Get(p.b.Context(), client.ObjectKeyFromObject(on), on))
	before := on.Status.Published.Digest
	on.Spec = p.base(base).Spec
	must(p.b, p.api.Update(p.b.Context(), on))
	p.until("the fixed base", func() string {
		must(p.b, p.api.Get(p.b.Context(), client.ObjectKeyFromObject(on), on))
		if on.Status.Published.Digest == before {
			return "is not published"
		}
		return ""
	})
	began, used, writes := time.Now(), p.used(), p.writes()
	n := float64(len(p.names[name]))
	p.all("the fix", p.names[name], func(i *v1alpha1.Image) string {
		if i.Status.Inputs.RunDigest != on.Status.Published.Digest {
			return "is not in it"
		}
		return judged(i)
	})
	took := time.Since(began)
	fmt.Printf("%.0f Images: on the fixed base, with evidence, tags and verdicts %.1f s after it (%.0f a second), %.2f writes each\n",
		n, took.Seconds(), n/took.Seconds(), (p.writes()-writes)/n)
	now := p.used()
	for _, part := range slices.Sorted(maps.Keys(now)) {
		fmt.Printf("  CPU ms an image: %-26s %6.1f\n", part, (now[part]-used[part]).Seconds()*1000/n)
	}
	return n / took.Seconds()
}

// rebaser prints what the lifecycle's own rebaser needs for an image.
func (p *planeBench) rebaser() {
	p.b.Helper()
	const n = 30
	p.b.Setenv("PLIMSOLL_HOME", p.b.TempDir())
	peer := filepath.Join(p.b.TempDir(), "rebaser")
	compile(p.b, "../../lifecycle", peer, "github.com/buildpacks/lifecycle/cmd/lifecycle")
	took := peerAll(p.b, peer, newShipyard(p.b, serve(p.b, p.binary)).launch(p.b, "theirs", n, 3))
	fmt.Printf("the lifecycle's rebaser, looped: %.0f ms an image, without evidence, verdict and control plane (kpack's documents speak of 1.2 to 2.0 s)\n", took.Seconds()*1000/n)
}
