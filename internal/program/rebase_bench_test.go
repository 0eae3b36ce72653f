package program

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/sync/errgroup"

	"plimsoll.dev/plimsoll/internal/build/cnb"
	"plimsoll.dev/plimsoll/internal/oci"
)

// BenchmarkRebase measures rebasing a thousand images of three apps over HTTP, as whole
// processes, server and client on this machine; beside the lifecycle's own rebaser, run
// once for each of fifty; and the client's memory up to ten thousand.
func BenchmarkRebase(b *testing.B) {
	home := b.TempDir()
	b.Setenv("PLIMSOLL_HOME", home)
	b.Setenv("DOCKER_CONFIG", b.TempDir())
	binary := filepath.Join(b.TempDir(), "plimsoll")
	compile(b, ".", binary, "../../cmd/plimsoll")
	peer := filepath.Join(b.TempDir(), "rebaser")
	compile(b, "../../lifecycle", peer, "github.com/buildpacks/lifecycle/cmd/lifecycle")
	host := serve(b, binary)
	shipyard := newShipyard(b, host)
	for b.Loop() {
		first := shipyard.launch(b, "first", 1000, 3)
		whole := rebaseAll(b, binary, first)
		again := rebaseAll(b, binary, first)
		spread := rebaseAll(b, binary, shipyard.launch(b, "spread", 500, 500))
		fifty := shipyard.launch(b, "fifty", 50, 3)
		theirs := peerAll(b, peer, shipyard.launch(b, "theirs", 50, 3))
		ours := rebaseAll(b, binary, fifty)
		rate, peerRate := 1000/whole.wall.Seconds(), 50/theirs.Seconds()

		fmt.Printf("\nrebase over HTTP, server on the same machine, whole processes:\n")
		fmt.Printf("  1,000 images of 3 apps       %6.0f images/s   (goal: 100)\n", rate)
		fmt.Printf("  again, all unchanged         %6.0f images/s\n", 1000/again.wall.Seconds())
		fmt.Printf("  500 in a repository each     %6.0f images/s\n", 500/spread.wall.Seconds())
		fmt.Printf("  50 images                    %6.0f images/s\n", 50/ours.wall.Seconds())
		fmt.Printf("  50 by the lifecycle, looped  %6.1f images/s   a %.0fth of the thousand's (goal: a 30th), a %.0fth of the fifty's\n",
			peerRate, rate/peerRate, 50/ours.wall.Seconds()/peerRate)
		b.ReportMetric(rate, "images/s")
		b.ReportMetric(rate/peerRate, "x-rebaser")
	}
}

// BenchmarkRebaseMemory prints the client's peak from a hundred images to ten thousand.
// The ten thousand are a thousand images named ten times each, so that making them does
// not take longer than all else: nothing is kept of any, so the client cannot tell.
func BenchmarkRebaseMemory(b *testing.B) {
	b.Setenv("PLIMSOLL_HOME", b.TempDir())
	b.Setenv("DOCKER_CONFIG", b.TempDir())
	binary := filepath.Join(b.TempDir(), "plimsoll")
	compile(b, ".", binary, "../../cmd/plimsoll")
	shipyard := newShipyard(b, serve(b, binary))
	for b.Loop() {
		hundred := shipyard.launch(b, "hundred", 100, 10)
		thousand := shipyard.launch(b, "thousand", 1000, 100)
		fmt.Printf("\nrebase, peak memory of the client (goal: 300 MB):\n")
		for _, refs := range [][]string{hundred, thousand, slices.Repeat(thousand, 10)} {
			u := rebaseAll(b, binary, refs)
			fmt.Printf("  %6d images  %4.0f MB\n", len(refs), float64(u.peak)/1e6)
			b.ReportMetric(float64(u.peak)/1e6, fmt.Sprintf("MB-at-%d", len(refs)))
		}
	}
}

func compile(b *testing.B, dir, to, what string) {
	b.Helper()
	cmd := exec.Command("go", "build", "-o", to, what)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		b.Fatalf("%v: %s", err, out)
	}
}

// serve starts the registry and gives its address.
func serve(b *testing.B, binary string) string {
	b.Helper()
	host, _ := start(b, binary)
	return host
}

// start starts the registry and gives its address and its process.
func start(b *testing.B, binary string, args ...string) (string, *os.Process) {
	b.Helper()
	cmd := exec.Command(binary, append([]string{"registry", "serve", "--addr", "127.0.0.1:0"}, args...)...)
	stderr, err := cmd.StderrPipe()
	must(b, err)
	must(b, cmd.Start())
	lines := bufio.NewScanner(stderr)
	b.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		for lines.Scan() { // it must not wait for us to read
		}
		_ = cmd.Wait()
	})
	for lines.Scan() {
		if _, rest, ok := strings.Cut(lines.Text(), "addr="); ok {
			go func() {
				for lines.Scan() {
				}
			}()
			return strings.Fields(rest)[0], cmd.Process
		}
	}
	b.Fatal("the registry did not say where it serves")
	return "", nil
}

// rebaseAll runs `plimsoll rebase` once for all the references.
func rebaseAll(b *testing.B, binary string, refs []string) usage {
	b.Helper()
	list := filepath.Join(b.TempDir(), "refs")
	must(b, os.WriteFile(list, []byte(strings.Join(refs, "\n")), 0o644))
	cmd := exec.Command(binary, "rebase", "--no-evidence", "--file", list, "-o", "json")
	start := time.Now()
	out, err := cmd.Output()
	wall := time.Since(start)
	if done := bytes.Count(out, []byte(`"status":"`)) - bytes.Count(out, []byte(`"status":"failed"`)); err != nil || done != len(refs) {
		b.Fatalf("rebased %d of %d: %v", done, len(refs), err)
	}
	return usage{wall, cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss * 1024}
}

// peerAll runs the lifecycle's rebaser once for each reference.
func peerAll(b *testing.B, program string, refs []string) time.Duration {
	b.Helper()
	report := filepath.Join(b.TempDir(), "report.toml")
	start := time.Now()
	for _, ref := range refs {
		cmd := exec.Command(program, "-report", report, ref)
		cmd.Env = append(os.Environ(), "CNB_PLATFORM_API=0.15")
		if out, err := cmd.CombinedOutput(); err != nil {
			b.Fatalf("%v: %s", err, out)
		}
	}
	return time.Since(start)
}

// shipyard makes app images in a registry.
type shipyard struct {
	host     string
	session  *oci.Session
	old      oci.Reference
	manifest *v1.Manifest // of the old base
	top      string       // diffID of its last layer
	digest   string
}

// newShipyard pushes an old and a new base of 40 layers each, which share all but two.
func newShipyard(b *testing.B, host string) *shipyard {
	b.Helper()
	s := &shipyard{host: host, session: (&oci.Registries{}).Session()}
	layers := make([]v1.Descriptor, 40)
	push := func(to string) {
		must(b, s.push(b.Context(), to, layers, v1.Config{}))
	}
	layer := func(i int) {
		var err error
		layers[i], err = s.layer(b.Context(), "bases/run:1", fmt.Sprintf("package%d", i), 20_000)
		must(b, err)
	}
	for i := range layers {
		layer(i)
	}
	push("bases/run:1")
	var err error
	s.old, err = oci.Parse(host + "/bases/run:1")
	must(b, err)
	m, err := s.session.Manifest(b.Context(), s.old)
	must(b, err)
	s.manifest, s.digest, s.top = m.Image, m.Digest.String(), layers[len(layers)-1].Digest.String()
	layer(7)
	layer(30)
	push("bases/run:2")
	return s
}

// layer pushes random bytes. What is in a layer does not matter: none is read.
func (s *shipyard) layer(ctx context.Context, to, name string, size int) (v1.Descriptor, error) {
	data := make([]byte, size)
	_, _ = rand.Read(data)
	digest, n, err := v1.SHA256(bytes.NewReader(data))
	if err != nil {
		return v1.Descriptor{}, err
	}
	ref, err := oci.Parse(s.host + "/" + to)
	if err != nil {
		return v1.Descriptor{}, err
	}
	_, err = s.session.PutBlob(ctx, ref, data)
	return v1.Descriptor{
		MediaType: types.OCILayer, Digest: digest, Size: n,
		Annotations: map[string]string{oci.LayerAnnotation: name, oci.PackagesAnnotation: name + "=" + digest.Hex[:8]},
	}, err
}

func (s *shipyard) push(ctx context.Context, to string, layers []v1.Descriptor, config v1.Config) error {
	file := v1.ConfigFile{OS: "linux", Architecture: "amd64", Config: config, RootFS: v1.RootFS{Type: "layers"}}
	for _, l := range layers {
		file.RootFS.DiffIDs = append(file.RootFS.DiffIDs, l.Digest)
		file.History = append(file.History, v1.History{})
	}
	text, err := json.Marshal(file)
	if err != nil {
		return err
	}
	ref, err := oci.Parse(s.host + "/" + to)
	if err != nil {
		return err
	}
	if _, err = s.session.PutBlob(ctx, ref, text); err != nil {
		return err
	}
	digest, size, err := v1.SHA256(bytes.NewReader(text))
	if err != nil {
		return err
	}
	raw, err := json.Marshal(v1.Manifest{
		SchemaVersion: 2, MediaType: types.OCIManifestSchema1, Layers: layers,
		Config: v1.Descriptor{MediaType: types.OCIConfigJSON, Digest: digest, Size: size},
	})
	if err != nil {
		return err
	}
	_, err = s.session.PutManifest(ctx, ref, types.OCIManifestSchema1, raw)
	return err
}

// launch pushes n images on the old base to some repositories, and gives their names.
func (s *shipyard) launch(b *testing.B, name string, n, repositories int) []string {
	b.Helper()
	refs := make([]string, n)
	group, ctx := errgroup.WithContext(b.Context())
	group.SetLimit(8)
	for r := range repositories {
		group.Go(func() error {
			repository := fmt.Sprintf("%s/app%d", name, r)
			layers, err := s.app(ctx, repository)
			if err != nil {
				return err
			}
			for i := r; i < n; i += repositories {
				to := fmt.Sprintf("%s:%d", repository, i)
				if err := s.push(ctx, to, layers, s.appConfig(i)); err != nil {
					return err
				}
				refs[i] = s.host + "/" + to
			}
			return nil
		})
	}
	must(b, group.Wait())
	return refs
}

// app gives the layers of an app on the old base, all in the repository.
func (s *shipyard) app(ctx context.Context, repository string) ([]v1.Descriptor, error) {
	to, err := oci.Parse(s.host + "/" + repository)
	if err != nil {
		return nil, err
	}
	layers := slices.Clone(s.manifest.Layers)
	for _, l := range layers {
		if _, err := s.session.Copy(ctx, to, s.old, l); err != nil {
			return nil, err
		}
	}
	for _, own := range []string{"app", "launcher", "config", "sbom"} {
		l, err := s.layer(ctx, repository, own, 10_000)
		if err != nil {
			return nil, err
		}
		layers = append(layers, l)
	}
	return layers, nil
}

// appConfig is what the exporter writes, of usual length.
func (s *shipyard) appConfig(i int) v1.Config {
	text, _ := json.Marshal(cnb.LifecycleMetadata{ // it holds nothing that cannot be encoded
		App:        []cnb.LayerSHA{{SHA: s.top}},
		Buildpacks: []cnb.BuildpackData{{ID: "plimsoll/go", Version: "0.1.0", Layers: map[string]cnb.LayerData{"targets": {SHA: s.top, Data: strings.Repeat("x", 1000)}}}},
		RunImage: cnb.UsedRunImage{
			TopLayer: s.top, Reference: s.old.Repository() + "@" + s.digest,
			RunImage: cnb.RunImage{Image: s.host + "/bases/run:2"},
		},
	})
	return v1.Config{
		Env: []string{"PATH=/cnb/process:/bin", "CNB_PLATFORM_API=0.15"}, Entrypoint: []string{"/cnb/process/web"},
		Labels: map[string]string{
			cnb.LifecycleMetadataLabel: string(text), "org.opencontainers.image.revision": fmt.Sprint(i),
			cnb.BuildMetadataLabel: `{"processes":[` + strings.Repeat(" ", 1000) + `]}`,
		},
	}
}
