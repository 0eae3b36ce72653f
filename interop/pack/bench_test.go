package pack

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	pubbldr "github.com/buildpacks/pack/builder"
	"github.com/buildpacks/pack/pkg/client"
	"github.com/buildpacks/pack/pkg/dist"
)

// BenchmarkBuilder measures making a builder of the same parts in the same registry:
// plimsoll as a whole process, its cache cold and warm, beside pack's code.
func BenchmarkBuilder(b *testing.B) {
	bed := newBed(b)
	bed.write("builder.toml", strings.ReplaceAll(config, "REGISTRY", bed.registry))
	read, _, err := pubbldr.ReadConfig(filepath.Join(bed.dir, "builder.toml"))
	if err != nil {
		b.Fatal(err)
	}
	seconds := func(work func()) float64 {
		start := time.Now()
		work()
		return time.Since(start).Seconds()
	}
	ours := func() { bed.build("ours:1", "amd64") }
	for b.Loop() {
		bed.sh(`rm -rf "$1"/cache/layers`, bed.home)
		cold, warm := seconds(ours), seconds(ours)
		theirs := seconds(func() {
			err := bed.pack.CreateBuilder(b.Context(), client.CreateBuilderOptions{
				RelativeBaseDir: bed.dir, BuilderName: bed.registry + "/theirs:1", Config: read, Publish: true,
				Targets: []dist.Target{{OS: "linux", Arch: "amd64"}},
			})
			if err != nil {
				b.Fatal(err)
			}
		})
		b.ReportMetric(cold, "s-cold")
		b.ReportMetric(warm, "s-warm")
		b.ReportMetric(theirs, "s-pack")
		b.ReportMetric(theirs/cold, "x-cold")
		b.ReportMetric(theirs/warm, "x-warm")
	}
}
