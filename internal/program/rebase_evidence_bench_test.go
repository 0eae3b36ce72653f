package program

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/evidence"
	"plimsoll.dev/plimsoll/internal/evidence/hardening"
	"plimsoll.dev/plimsoll/internal/evidence/provenance"
	"plimsoll.dev/plimsoll/internal/evidence/sbom"
	"plimsoll.dev/plimsoll/internal/evidence/sbom/cyclonedx"
	"plimsoll.dev/plimsoll/internal/evidence/sbom/spdx"
	"plimsoll.dev/plimsoll/internal/inventory"
	"plimsoll.dev/plimsoll/internal/keys"
	"plimsoll.dev/plimsoll/internal/oci"
	"plimsoll.dev/plimsoll/internal/testbed"
)

// BenchmarkRebaseEvidence measures rebasing a thousand images of three applications from the
// Debian release as published onto its security suite, over HTTP, as whole processes on one
// machine: with all evidence issued anew and told to the inventory, and without. Then it
// prints what each part costs.
func BenchmarkRebaseEvidence(b *testing.B) {
	home := testbed.Home(b)
	b.Setenv("PLIMSOLL_HOME", home)
	b.Setenv("DOCKER_CONFIG", b.TempDir())
	binary := filepath.Join(b.TempDir(), "plimsoll")
	compile(b, ".", binary, "../../cmd/plimsoll")
	for tag, spec := range map[string]string{"1": oneArch(b, before(b, "node20")), "2": singleArch(b, "node20")} {
		out, err := exec.Command(binary, "base", "build", "-f", spec, "-t", "bases/node20:"+tag).CombinedOutput()
		if err != nil {
			b.Fatalf("%v: %s", err, out)
		}
	}
	host, server := start(b, binary, "--inventory=false") // the client keeps that of this home
	fleet := newFleet(b, &oci.Registries{}, host, "bases/node20:1")
	for b.Loop() {
		move := func(name string, n int, args ...string) moved {
			return moveAll(b, binary, server.Pid, home, fleet.launch(b, name, n, "bases/node20:2"), args...)
		}
		first := move("first", len(fleet.apps))
		bare := move("bare", 1000, "--no-evidence")
		whole := move("whole", 1000)
		parts := measureParts(b, home, host+"/whole")

		fmt.Printf("\nrebase with all evidence over HTTP, server on the same machine, whole processes:\n")
		fmt.Printf("                             images/s   CPU ms an image: client  server   stored kB an image: bytes  on disk   client's peak\n")
		whole.print("1,000 images, all evidence")
		bare.print("1,000 with --no-evidence")
		fmt.Printf("  (goal: 60 images/s on 2 cores; their CPU allows %.0f. The first of each app, with new layers read: %.1f s for %d)\n",
			2000/(whole.ms(whole.client)+whole.ms(whole.server)), first.wall.Seconds(), first.n)
		fmt.Printf("\nwhat of it costs how much, CPU ms an image:\n")
		rest := whole.ms(whole.client) - bare.ms(bare.client)
		for _, p := range parts {
			fmt.Printf("  %-34s %6.2f\n", p.name, p.ms)
			rest -= p.ms
		}
		fmt.Printf("  %-34s %6.2f\n", "sending, statements, all else", rest)
		fmt.Printf("  %-34s %6.2f\n", "the registry's share", whole.ms(whole.server)-bare.ms(bare.server))
		fmt.Printf("  %-34s %6.2f\n", "the rebase itself, client", bare.ms(bare.client))
		fmt.Printf("  %-34s %6.2f\n", "the rebase itself, registry", bare.ms(bare.server))
		b.ReportMetric(whole.rate(), "images/s")
		b.ReportMetric(whole.ms(whole.client), "client-ms/image")
		b.ReportMetric(whole.ms(whole.server), "server-ms/image")
	}
}

// moved is what a rebase of n images took.
type moved struct {
	n              int
	wall           time.Duration
	client, server time.Duration // of processors
	bytes, blocks  int64         // that the store has grown by, as files and on the disk
	peak           int64         // bytes of the client's resident memory
}

func (m moved) rate() float64                 { return float64(m.n) / m.wall.Seconds() }
func (m moved) ms(of time.Duration) float64   { return of.Seconds() * 1000 / float64(m.n) }
func (m moved) kilobytes(bytes int64) float64 { return float64(bytes) / 1000 / float64(m.n) }
func (m moved) print(name string) {
	fmt.Printf("  %-26s %8.0f %26.1f %7.1f %26.0f %8.0f %10.0f MB\n", name, m.rate(), m.ms(m.client), m.ms(m.server),
		m.kilobytes(m.bytes), m.kilobytes(m.blocks), float64(m.peak)/1e6)
}

// moveAll runs `plimsoll rebase` once for all the references.
func moveAll(b *testing.B, binary string, server int, home string, refs []string, args ...string) moved {
	b.Helper()
	list := filepath.Join(b.TempDir(), "refs")
	must(b, os.WriteFile(list, []byte(strings.Join(refs, "\n")), 0o644))
	m := moved{n: len(refs)}
	bytesBefore, blocksBefore := weigh(b, home)
	serverBefore := processorTime(b, server)
	cmd := exec.Command(binary, append([]string{"rebase", "--vouch", "--file", list, "-o", "json"}, args...)...)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	begun := time.Now()
	out, err := cmd.Output()
	m.wall = time.Since(begun)
	if done := bytes.Count(out, []byte(`"status":"rebased"`)); err != nil || done != len(refs) || errs.Len() > 0 {
		line, _, _ := bytes.Cut(out, []byte("\n"))
		b.Fatalf("rebased %d of %d: %v\n%s\n%s", done, len(refs), err, line, errs.String())
	}
	m.server = processorTime(b, server) - serverBefore
	m.client = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	m.peak = cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss * 1024
	bytesAfter, blocksAfter := weigh(b, home)
	m.bytes, m.blocks = bytesAfter-bytesBefore, blocksAfter-blocksBefore
	return m
}

// processorTime gives what a process has used so far (proc_pid_stat(5), fields 14 and 15).
func processorTime(b *testing.B, pid int) time.Duration {
	b.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	must(b, err)
	const tick = 10 * time.Millisecond // of USER_HZ, which is 100 wherever Go runs
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	var total time.Duration
	for _, field := range fields[11:13] {
		ticks, err := strconv.Atoi(field)
		must(b, err)
		total += time.Duration(ticks) * tick
	}
	return total
}

// weigh gives the bytes of the store of that home, as files and on the disk.
func weigh(b *testing.B, home string) (size, blocks int64) {
	b.Helper()
	must(b, filepath.Walk(filepath.Join(home, "registry"), func(_ string, info fs.FileInfo, err error) error {
		if err != nil {
			return err
		}
		if info.Mode().IsRegular() {
			size += info.Size()
		}
		blocks += info.Sys().(*syscall.Stat_t).Blocks * 512
		return nil
	}))
	return size, blocks
}

// part is one part of issuing evidence, and what it costs of processors.
type part struct {
	name string
	ms   float64 // an image
}

// measureParts does, for some of the images that were rebased, each part by itself.
func measureParts(b *testing.B, home, repositories string) []part {
	b.Helper()
	const sample = 100
	var (
		ctx      = b.Context()
		session  = (&oci.Registries{}).Session()
		contents = sbom.New(sbom.Options{Cache: filepath.Join(home, "cache", "contents")})
		hard     = hardening.New(filepath.Join(home, "cache", "hardening"))
		images   []v1.Image
		found    = make([]artifact.Contents, sample)
		claims   = make([][]json.RawMessage, sample)
		parts    []part
	)
	for i := range sample {
		images = append(images, pull(b, session, fmt.Sprintf("%s/app%d:%d", repositories, i%3, i)))
	}
	ref, err := oci.Parse(repositories + "/app0:1")
	must(b, err)
	pair, err := keys.New(keys.Options{}).Default(ctx, home)
	must(b, err)
	index, err := inventory.Open(ctx, "sqlite:"+filepath.Join(b.TempDir(), "inventory.db"), inventory.Options{})
	must(b, err)
	defer index.Close()

	measure := func(name string, do func(i int) error) {
		begun := ownTime(b)
		for i := range sample {
			must(b, do(i))
		}
		parts = append(parts, part{name, (ownTime(b) - begun).Seconds() * 1000 / sample})
	}
	merge := func(i int) error {
		image, err := sbom.ImageOf(images[i])
		if err == nil {
			found[i], err = contents.Contents(ctx, image)
		}
		return err
	}
	claim := func(i int, predicate json.RawMessage) { claims[i] = append(claims[i], predicate) }
	for i := range 3 { // the first of each application reads what is known of its layers
		must(b, merge(i))
		_, err := hard.Evidence(ctx, images[i])
		must(b, err)
	}
	measure("SBOM: layers merged", merge)
	measure("SPDX", func(i int) error {
		about, err := evidence.About(ref, images[i], "bench")
		claim(i, spdx.Encode(found[i], about))
		return err
	})
	measure("CycloneDX", func(i int) error {
		about, err := evidence.About(ref, images[i], "bench")
		claim(i, cyclonedx.Encode(found[i], about))
		return err
	})
	measure("hardening", func(i int) error {
		report, err := hard.Evidence(ctx, images[i])
		claim(i, report.Predicate)
		return err
	})
	measure("provenance", func(i int) error {
		image := provenance.Image{Repository: ref.Repository(), Tag: "1", Digest: found[i].Image}
		predicate, err := provenance.Rebase{Image: image, From: image, To: image}.Predicate(provenance.Run{ID: "bench", Started: time.Now()})
		claim(i, predicate)
		return err
	})
	measure("signatures", func(i int) error { return sign(ctx, pair, claims[i]) })
	const batch = 50 // less than the client's: what a batch costs does not grow with it
	measure("inventory", func(i int) error {
		if i%batch > 0 {
			return nil
		}
		var some []inventory.Image
		for j := i; j < i+batch; j++ {
			some = append(some, inventory.Image{Reference: fmt.Sprintf("%s/app%d:%d", repositories, j%3, j), Contents: found[j]})
		}
		return index.Put(ctx, some...)
	})
	return parts
}

// sign signs the claims, and the image in both forms.
func sign(ctx context.Context, pair keys.Pair, claims []json.RawMessage) error {
	for _, claim := range claims {
		if _, err := pair.Attestations.Sign(ctx, claim); err != nil {
			return err
		}
	}
	for range 2 {
		if _, err := pair.Images.Sign(ctx, []byte("{}")); err != nil {
			return err
		}
	}
	return nil
}

// pull gives an image as a rebase has it: its manifest and configuration are read.
func pull(b *testing.B, session *oci.Session, name string) v1.Image {
	b.Helper()
	ref, err := oci.Parse(name)
	must(b, err)
	m, err := session.Manifest(b.Context(), ref)
	must(b, err)
	config, err := session.Blob(b.Context(), ref, m.Image.Config)
	must(b, err)
	image, err := session.Image(b.Context(), ref, m.MediaType, m.Raw, config)
	must(b, err)
	return image
}

// ownTime gives the processor time this process has used.
func ownTime(b *testing.B) time.Duration {
	b.Helper()
	var use syscall.Rusage
	must(b, syscall.Getrusage(syscall.RUSAGE_SELF, &use))
	return time.Duration(use.Utime.Nano() + use.Stime.Nano())
}
