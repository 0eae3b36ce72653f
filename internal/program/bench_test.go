package program

import (
	"archive/tar"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"plimsoll.dev/plimsoll/internal/base"
	"plimsoll.dev/plimsoll/internal/oci"
	"plimsoll.dev/plimsoll/internal/testbed"
)

// rounds is how often each command is run; the median counts.
const rounds = 5

// usage is what one process took.
type usage struct {
	wall time.Duration
	peak int64 // bytes of resident memory
}

// measure runs the command rounds times, each after prepare, and gives the median time and
// the highest peak.
func measure(b *testing.B, prepare func(), name string, args ...string) usage {
	b.Helper()
	var walls []time.Duration
	var peak int64
	for range rounds {
		prepare()
		cmd := exec.Command(name, args...)
		start := time.Now()
		if out, err := cmd.CombinedOutput(); err != nil {
			b.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
		}
		walls = append(walls, time.Since(start))
		peak = max(peak, cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss*1024)
	}
	slices.Sort(walls)
	return usage{walls[len(walls)/2], peak}
}

// BenchmarkBase measures building the run base for one architecture as a whole process,
// beside mmdebstrap on the same packages.
func BenchmarkBase(b *testing.B) {
	mmdebstrap := testbed.Tool(b, "mmdebstrap")
	home := testbed.Home(b)
	b.Setenv("PLIMSOLL_HOME", home)
	binary := filepath.Join(b.TempDir(), "plimsoll")
	if out, err := exec.Command("go", "build", "-o", binary, "../../cmd/plimsoll").CombinedOutput(); err != nil {
		b.Fatalf("%v: %s", err, out)
	}
	file := singleArch(b, "run")
	lock := filepath.Join(b.TempDir(), "run.lock")
	build := []string{"base", "build", "-f", file, "-t", "run:bench"}
	nothing := func() {}
	measure(b, nothing, binary, append(build, "--lock", lock)...) // fills the caches
	repository, packages := localRepository(b, home, lock)

	for b.Loop() {
		layers := filepath.Join(home, "cache", "layers")
		cold := measure(b, func() { must(b, os.RemoveAll(layers)) }, binary, build...)
		warm := measure(b, nothing, binary, build...)
		changed := measure(b, func() { dropLayer(b, layers, built(b, binary, build), "openssl") }, binary, build...)
		target := filepath.Join(b.TempDir(), "peer.tar")
		peer := measure(b, func() { _ = os.Remove(target) }, mmdebstrap, "--quiet", "--variant=extract",
			"--include="+packages, "trixie", target, "deb [trusted=yes] copy:"+repository+" ./")

		fmt.Printf("\nrun base, amd64, whole process, median of %d:\n", rounds)
		fmt.Printf("  layers cold          %8.0f ms   %.1f x faster than mmdebstrap --variant=extract\n", ms(cold), ratio(peer, cold))
		fmt.Printf("  mmdebstrap           %8.0f ms\n", ms(peer))
		fmt.Printf("  layers warm          %8.0f ms   %.1f x faster than mmdebstrap\n", ms(warm), ratio(peer, warm))
		fmt.Printf("  one package changed  %8.0f ms\n", ms(changed))
		fmt.Printf("  peak memory          %8.0f MB\n", float64(max(cold.peak, warm.peak, changed.peak))/1e6)
		b.ReportMetric(ratio(peer, cold), "x-cold")
		b.ReportMetric(ratio(peer, warm), "x-warm")
		b.ReportMetric(ms(changed), "changed-ms")
	}
}

// BenchmarkSizes prints what the small bases weigh, and what is in them.
func BenchmarkSizes(b *testing.B) {
	b.Setenv("PLIMSOLL_HOME", testbed.Home(b))
	home := os.Getenv("PLIMSOLL_HOME")
	for b.Loop() {
		for name, goal := range map[string]float64{"static": 3, "run": 12} {
			host := System()
			host.Out, host.Err = io.Discard, io.Discard
			if code := Run(b.Context(), host, []string{"base", "build", "-f", singleArch(b, name), "-t", name + ":size"}); code != 0 {
				b.Fatalf("build %s: exit %d", name, code)
			}
			printSize(b, home, name+":size", goal)
		}
	}
}

func printSize(b *testing.B, home, ref string, goal float64) {
	b.Helper()
	local := &store{root: filepath.Join(home, "registry")}
	defer local.close()
	parsed, err := oci.Parse(ref)
	must(b, err)
	image, err := (&oci.Registries{Local: local.open}).Image(b.Context(), parsed, "")
	must(b, err)
	layers, err := image.Layers()
	must(b, err)
	var total int64
	var files []tar.Header
	for _, l := range layers {
		size, err := l.Size()
		must(b, err)
		total += size
		files = append(files, regularFiles(b, l)...)
	}
	slices.SortFunc(files, func(x, y tar.Header) int { return cmp.Compare(y.Size, x.Size) })
	fmt.Printf("\n%s: %.2f MB compressed in %d layers (goal: at most %.0f); largest files, uncompressed:\n", ref, float64(total)/1e6, len(layers), goal)
	for _, f := range files[:min(10, len(files))] {
		fmt.Printf("  %9d  /%s\n", f.Size, f.Name)
	}
	b.ReportMetric(float64(total)/1e6, strings.TrimSuffix(ref, ":size")+"-MB")
}

func regularFiles(b *testing.B, l v1.Layer) []tar.Header {
	b.Helper()
	plain, err := l.Uncompressed()
	must(b, err)
	defer plain.Close()
	var files []tar.Header
	for r := tar.NewReader(plain); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		must(b, err)
		if h.Typeflag == tar.TypeReg {
			files = append(files, *h)
		}
	}
}

// singleArch gives a copy of the example for amd64 alone.
func singleArch(b *testing.B, name string) string {
	b.Helper()
	return oneArch(b, filepath.Join("../../examples/bases", name+".yaml"))
}

// oneArch gives a copy of the spec for one architecture.
func oneArch(b *testing.B, spec string) string {
	b.Helper()
	name := filepath.Base(spec)
	text, err := os.ReadFile(spec)
	must(b, err)
	single := strings.Replace(string(text), "architectures: [amd64, arm64]", "architectures: [amd64]", 1)
	if single == string(text) {
		b.Fatalf("%s does not name two architectures", name)
	}
	file := filepath.Join(b.TempDir(), name)
	must(b, os.WriteFile(file, []byte(single), 0o644))
	return file
}

// localRepository puts the locked packages in a folder that apt can read, without their
// relations, so that the peer has the same set and nothing to resolve.
func localRepository(b *testing.B, home, lockFile string) (folder, packages string) {
	b.Helper()
	lock, err := base.ReadLock(lockFile)
	must(b, err)
	folder = b.TempDir()
	var index strings.Builder
	var names []string
	for _, p := range lock.Images[0].Packages {
		deb := p.SHA256 + ".deb"
		data, err := os.ReadFile(filepath.Join(home, "cache", "debian", "deb", deb))
		must(b, err)
		must(b, os.WriteFile(filepath.Join(folder, deb), data, 0o644))
		fmt.Fprintf(&index, "Package: %s\nVersion: %s\nArchitecture: %s\nFilename: ./%s\nSize: %d\nSHA256: %s\n\n", p.Name, p.Version, p.Architecture, deb, p.Size, p.SHA256)
		names = append(names, p.Name)
	}
	must(b, os.WriteFile(filepath.Join(folder, "Packages"), []byte(index.String()), 0o644))
	return folder, strings.Join(names, ",")
}

// built gives the result of a build as scripts see it.
func built(b *testing.B, binary string, build []string) []base.Built {
	b.Helper()
	out, err := exec.Command(binary, append(build, "-o", "json")...).Output()
	must(b, err)
	var result struct{ Images []base.Built }
	must(b, json.Unmarshal(out, &result))
	return result.Images
}

// dropLayer forgets the cached layer of that name, as if its package had just changed.
func dropLayer(b *testing.B, folder string, images []base.Built, name string) {
	b.Helper()
	for _, l := range images[0].Layers {
		if l.Name != name {
			continue
		}
		records, err := filepath.Glob(filepath.Join(folder, "gzip", "*.json"))
		must(b, err)
		for _, record := range records {
			text, err := os.ReadFile(record)
			must(b, err)
			if strings.Contains(string(text), l.Digest) {
				must(b, os.Remove(record))
				return
			}
		}
	}
	b.Fatalf("no cached layer %q", name)
}

func ms(u usage) float64 { return float64(u.wall.Microseconds()) / 1000 }

func ratio(a, b usage) float64 { return float64(a.wall) / float64(b.wall) }

func must(b *testing.B, err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}
