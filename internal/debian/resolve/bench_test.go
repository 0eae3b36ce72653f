package resolve_test

import (
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"plimsoll.dev/plimsoll/internal/debian/index"
	"plimsoll.dev/plimsoll/internal/debian/resolve"
)

// BenchmarkIndexBuild indexes the largest list, some 70 thousand packages.
func BenchmarkIndexBuild(b *testing.B) {
	list, err := aptLists(b).list(release, "amd64")
	if err != nil {
		b.Fatal(err)
	}
	info, err := os.Stat(list)
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(info.Size())
	b.ReportAllocs()
	for b.Loop() {
		in, err := os.Open(list)
		if err != nil {
			b.Fatal(err)
		}
		if err := index.Build(b.Context(), in, io.Discard); err != nil {
			b.Fatal(err)
		}
		in.Close()
	}
}

// BenchmarkIndexOpen opens the indexes of all suites.
func BenchmarkIndexOpen(b *testing.B) {
	paths := aptLists(b).indexFiles(b, "amd64", b.TempDir())
	for b.Loop() {
		for i, path := range paths {
			x, err := index.Open(path, suites[i])
			if err != nil {
				b.Fatal(err)
			}
			x.Close()
		}
	}
}

// BenchmarkResolve opens the indexes and resolves, beside apt-get --simulate with a warm
// cache in the same run, and prints how many times faster that is.
func BenchmarkResolve(b *testing.B) {
	archive := aptLists(b)
	paths := archive.indexFiles(b, "amd64", b.TempDir())
	for _, packages := range []string{"openssl ca-certificates tzdata libc6", "default-jdk-headless maven", "chromium"} {
		b.Run(strings.ReplaceAll(packages, " ", "+"), func(b *testing.B) {
			wanted := strings.Fields(packages)
			archive.install(b, "amd64", wanted) // warms apt's cache
			start := time.Now()
			theirs, ok := archive.install(b, "amd64", wanted)
			apt := time.Since(start)
			var ours int
			for b.Loop() {
				var indexes []*index.Index
				for i, path := range paths {
					x, err := index.Open(path, suites[i])
					if err != nil {
						b.Fatal(err)
					}
					indexes = append(indexes, x)
				}
				result, err := resolve.Resolve(b.Context(), index.NewUniverse(indexes...),
					resolve.Request{Architecture: "amd64", Packages: wanted})
				if err != nil {
					b.Fatal(err)
				}
				ours = len(result.Packages)
				for _, x := range indexes {
					x.Close()
				}
			}
			if !ok || len(theirs) != ours {
				b.Fatalf("apt gives %d packages, we %d", len(theirs), ours)
			}
			own := b.Elapsed() / time.Duration(b.N)
			b.ReportMetric(float64(apt.Milliseconds()), "apt-ms")
			b.ReportMetric(float64(apt)/float64(own), "times-faster-than-apt")
		})
	}
}
