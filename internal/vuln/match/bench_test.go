package match_test

import (
	"fmt"
	"iter"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/vuln/advisory"
	"plimsoll.dev/plimsoll/internal/vuln/match"
	"plimsoll.dev/plimsoll/internal/vuln/osv"
)

// world is what generated records are about: names with as many advisories as real ones
// have, some with hundreds.
var world = []struct {
	ecosystem, kind string
	names           int
	version         func(r *rand.Rand, major int) string
}{
	{"Debian:13", "ECOSYSTEM", 4000, func(r *rand.Rand, major int) string {
		return fmt.Sprintf("%d.%d.%d-%d+deb13u%d", major, r.IntN(20), r.IntN(30), r.IntN(9), r.IntN(5))
	}},
	{"npm", "SEMVER", 60000, func(r *rand.Rand, major int) string { return fmt.Sprintf("%d.%d.%d", major, r.IntN(20), r.IntN(30)) }},
	{"PyPI", "ECOSYSTEM", 8000, func(r *rand.Rand, major int) string { return fmt.Sprintf("%d.%d.%d", major, r.IntN(20), r.IntN(30)) }},
	{"Go", "SEMVER", 4000, func(r *rand.Rand, major int) string { return fmt.Sprintf("%d.%d.%d", major, r.IntN(40), r.IntN(30)) }},
	{"Maven", "ECOSYSTEM", 8000, func(r *rand.Rand, major int) string {
		return fmt.Sprintf("%d.%d.%d.RELEASE", major, r.IntN(20), r.IntN(30))
	}},
}

// name picks one of n names, the low numbers far more often: pkg0 has a hundred advisories.
func name(r *rand.Rand, ecosystem string, n int) string {
	at := int(float64(n) * r.Float64() * r.Float64())
	if ecosystem == "Maven" {
		return fmt.Sprintf("org.example:artifact-%d", at)
	}
	return fmt.Sprintf("pkg%d", at)
}

func generated(n int) iter.Seq2[*osv.Record, error] {
	return func(yield func(*osv.Record, error) bool) {
		r := rand.New(rand.NewPCG(1, 2))
		for i := range n {
			of := world[i%len(world)]
			record := &osv.Record{
				ID: fmt.Sprintf("GHSA-%d", i), Aliases: []string{fmt.Sprintf("CVE-%d-%d", 2000+i%26, 1000+i)},
				Summary:  "A flaw of the kind that such summaries tell of in about this many words",
				Severity: []osv.Severity{{Type: "CVSS_V3", Score: "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:N/A:N"}},
			}
			ranges := []osv.Range{{Type: osv.RangeType(of.kind), Events: []osv.Event{{Introduced: "0"}, {Fixed: of.version(r, r.IntN(20))}}}}
			record.Affected = []osv.Affected{{Package: osv.Package{Ecosystem: of.ecosystem, Name: name(r, of.ecosystem, of.names)}, Ranges: ranges}}
			if of.ecosystem == "PyPI" {
				for range 40 {
					record.Affected[0].Versions = append(record.Affected[0].Versions, of.version(r, r.IntN(20)))
				}
			}
			if !yield(record, nil) {
				return
			}
		}
	}
}

// contents is an image of 300 packages, not very old: a base of 150 and an application of
// 150.
func contents(seed uint64) artifact.Contents {
	r := rand.New(rand.NewPCG(seed, 3))
	c := artifact.Contents{Layers: []string{"base", "app"}, BaseLayers: 1}
	for i := range 300 {
		of := world[0]
		if i >= 150 {
			of = world[1+i%(len(world)-1)]
		}
		p := artifact.Package{Name: fmt.Sprintf("pkg%d", r.IntN(of.names)), Version: of.version(r, 19), Layer: "app"}
		switch of.ecosystem {
		case "Debian:13":
			p.Type, p.Namespace, p.Distro, p.Layer = "deb", "debian", "debian-13", "base"
		case "Go":
			p.Type = "golang"
		case "Maven":
			p.Type, p.Namespace, p.Name = "maven", "org.example", "artifact-"+p.Name[len("pkg"):]
		default:
			p.Type = map[string]string{"npm": "npm", "PyPI": "pypi"}[of.ecosystem]
		}
		c.Packages = append(c.Packages, p)
	}
	return c
}

// BenchmarkMatch matches images of 300 packages against 300,000 records; and prints what
// the database costs.
func BenchmarkMatch(b *testing.B) {
	const records = 300_000
	path := filepath.Join(b.TempDir(), "advisories")
	start := time.Now()
	if _, err := advisory.Build(b.Context(), path, []advisory.Feed{{Name: "generated", Records: generated(records)}}, advisory.Exploitation{}); err != nil {
		b.Fatal(err)
	}
	built := time.Since(start)
	info, err := os.Stat(path)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("image", func(b *testing.B) {
		db, err := advisory.Open(path)
		if err != nil {
			b.Fatal(err)
		}
		defer db.Close()
		found, before := 0, processorTime(b)
		for i := range b.N {
			findings, err := match.Contents(b.Context(), db, contents(uint64(i%100)))
			if err != nil {
				b.Fatal(err)
			}
			found += len(findings)
		}
		b.ReportMetric(b.Elapsed().Seconds()*1000/float64(b.N), "ms/image")
		b.ReportMetric((processorTime(b)-before).Seconds()*1000/float64(b.N), "cpu-ms/image")
		b.ReportMetric(float64(found)/float64(b.N), "findings/image")
	})
	b.Run("packages", func(b *testing.B) {
		db, err := advisory.Open(path)
		if err != nil {
			b.Fatal(err)
		}
		defer db.Close()
		for i := range b.N {
			for _, err := range match.Packages(b.Context(), db, slices.Values(contents(uint64(i)).Packages)) {
				if err != nil {
					b.Fatal(err)
				}
			}
		}
		b.ReportMetric(300*float64(b.N)/b.Elapsed().Seconds(), "packages/s")
	})
	b.Run("open", func(b *testing.B) {
		for range b.N {
			db, err := advisory.Open(path)
			if err != nil {
				b.Fatal(err)
			}
			db.Close()
		}
		b.ReportMetric(built.Seconds(), "s/build")
		b.ReportMetric(float64(info.Size())/1e6, "MB")
	})
}

// processorTime is what this process used: other programs on the machine do not change it.
func processorTime(b *testing.B) time.Duration {
	var use unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &use); err != nil {
		b.Fatal(err)
	}
	return time.Duration(use.Utime.Nano() + use.Stime.Nano())
}
