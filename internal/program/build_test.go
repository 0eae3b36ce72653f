package program

import (
	"archive/tar"
	"bytes"
	"context"
	"debug/elf"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"plimsoll.dev/plimsoll/internal/build"
	"plimsoll.dev/plimsoll/internal/build/rebase"
	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/oci"
)

// app is an example application and what it answers.
type app struct {
	name    string
	base    string // the run image it must get
	answers string // part of what it says at /
	fixed   string // a package of its base that the security suite has a fix for
	args    []string
}

// with gives the arguments, and those that the application wants.
func (a app) with(args ...string) []string { return append(args, a.args...) }

var apps = []app{
	{"go", "run:1", "chi", "zlib1g", nil},
	{"nodejs", "node20:1", "openssl", "zlib1g", nil},
	{"python", "python3:1", "OpenSSL", "zlib1g", nil},
	{"static", "web:1", "Plimsoll", "zlib1g", nil},
	{"java", "java21:1", "Java", "zlib1g", nil},
	{"procfile", "python3:1", "hello.txt", "zlib1g", []string{"--run-image", "python3:1"}},
}

// harbour gives a bench with the example builder, and bases to build and to run on: as they are
// now, or as they were before a fix.
func harbour(t *testing.T, fixed bool) *bench {
	t.Helper()
	b := newBench(t)
	b.fix("build")
	for _, base := range runBases {
		if fixed {
			b.fix(base)
			continue
		}
		b.plimsoll("base", "build", "-f", before(b.t, base), "-t", base+":1")
	}
	for _, made := range []string{"../../bin/lifecycle/lifecycle.toml", "../../bin/buildpacks/go/buildpack.toml"} {
		if _, err := os.Stat(made); err != nil {
			t.Fatalf("%v: run `make`", err)
		}
	}
	b.plimsoll("builder", "build", "-f", "../../examples/builders/builder.yaml", "-t", "builder:1")
	return b
}

// runBases are the example bases that applications run on.
var runBases = []string{"run", "node20", "python3", "java21", "web"}

// fix builds an example base as it is now.
func (b *bench) fix(base string) {
	b.t.Helper()
	b.plimsoll("base", "build", "-f", "../../examples/bases/"+base+".yaml", "-t", base+":1", "--suite", "trixie,trixie-security")
}

// builtApp is what `build -o json` says.
type builtApp struct {
	Ref, Digest string
	build.Result
}

func (b *bench) build(args ...string) builtApp {
	b.t.Helper()
	var out builtApp
	if err := json.Unmarshal([]byte(b.plimsoll(append([]string{"build", "-o", "json"}, args...)...)), &out); err != nil {
		b.t.Fatal(err)
	}
	return out
}

// refuse runs a command that must fail, and gives what it printed on standard error.
func (b *bench) refuse(kind fault.Kind, args ...string) string {
	b.t.Helper()
	var out, errs bytes.Buffer
	code := Run(b.t.Context(), b.host(&out, &errs), args)
	if want := fault.ExitCode(fault.Newf(kind, "", "", "")); code != want {
		b.t.Errorf("plimsoll %s: exit %d, want %d\n%s", strings.Join(args, " "), code, want, errs.String())
	}
	return errs.String()
}

// ask runs the image as `plimsoll run` does and gives its answer to a request for the path.
func (b *bench) ask(ref, path string) string {
	b.t.Helper()
	ctx, stop := context.WithTimeout(b.t.Context(), time.Minute)
	defer stop()
	port := freePort(b.t)
	var out, errs bytes.Buffer
	ended := make(chan int, 1)
	go func() { ended <- Run(ctx, b.host(&out, &errs), []string{"run", ref, "--env", "PORT=" + port}) }()
	defer func() { stop(); <-ended }()
	for {
		response, err := http.Get("http://127.0.0.1:" + port + path)
		if err == nil {
			defer response.Body.Close()
			body, err := io.ReadAll(response.Body)
			if err != nil || response.StatusCode != http.StatusOK {
				b.t.Errorf("%s: GET %s: %s, %v", ref, path, response.Status, err)
			}
			return string(body)
		}
		select {
		case code := <-ended:
			ended <- code
			b.t.Fatalf("%s ended with %d before it answered:\n%s%s", ref, code, out.String(), errs.String())
		case <-ctx.Done():
			b.t.Fatalf("%s does not answer: %v", ref, err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func freePort(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return fmt.Sprint(l.Addr().(*net.TCPAddr).Port)
}

// TestSourceToImage is the main job: every example application from its source to an image
// that serves, twice the same to the byte, and again after the base under it was fixed.
func TestSourceToImage(t *testing.T) {
	b := harbour(t, false)
	before := map[string]string{}
	for _, a := range apps {
		t.Run(a.name, func(t *testing.T) {
			b := b.in(t)
			dir := exampleApp(t, a.name)
			first := b.build(a.with(dir, "-t", a.name+":1", "--clear-cache")...)
			if got, _, _ := strings.Cut(first.Images[0].RunImage, "@"); got != a.base {
				t.Errorf("it stands on %s, want %s", got, a.base)
			}
			if before[a.name] = b.ask(a.name+":1", "/"); !strings.Contains(before[a.name], a.answers) {
				t.Errorf("it answers %q, want %q in it", before[a.name], a.answers)
			}
			if same := b.build(a.with(dir, "-t", a.name+":1")...); !same.Unchanged || same.Digest != first.Digest {
				t.Errorf("nothing has changed, but it was built again: %s, %s", first.Digest, same.Digest)
			}
			again := b.build(a.with(dir, "-t", a.name+"-again:1", "--clear-cache")...)
			if again.Unchanged || again.Digest != first.Digest {
				t.Errorf("built twice without a cache: %s and %s\n%s", first.Digest, again.Digest, differing(first, again))
			}
			warm := b.build(a.with(dir, "-t", a.name+"-again:1", "--force")...)
			if warm.Unchanged || warm.Digest != first.Digest {
				t.Errorf("built with a cache: %s, without: %s\n%s", warm.Digest, first.Digest, differing(first, warm))
			}
		})
	}
	for _, base := range runBases {
		b.fix(base)
	}
	for _, a := range apps {
		t.Run(a.name+" after the fix", func(t *testing.T) {
			b := b.in(t)
			var done rebase.Result
			if err := json.Unmarshal([]byte(b.plimsoll("rebase", a.name+":1", "-o", "json")), &done); err != nil {
				t.Fatal(err)
			}
			if done.Status != rebase.StatusRebased || len(done.Images) != 1 {
				t.Fatalf("it is %s: %+v", done.Status, done)
			}
			if !slices.ContainsFunc(done.Images[0].Packages, func(p rebase.PackageChange) bool { return p.Name == a.fixed }) {
				t.Errorf("%s did not change: %+v", a.fixed, done.Images[0].Packages)
			}
			if after := b.ask(a.name+":1", "/"); after != before[a.name] {
				t.Logf("it answered %q, and now %q", before[a.name], after)
				if !strings.Contains(after, a.answers) {
					t.Errorf("it answers %q, want %q in it", after, a.answers)
				}
			}
		})
	}
}

// exampleApp gives a copy of an example application outside this repository, whose commits
// would be part of what is built.
func exampleApp(t *testing.T, name string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), name)
	if err := os.CopyFS(dir, os.DirFS("../../examples/apps/"+name)); err != nil {
		t.Fatal(err)
	}
	return dir
}

// differing names the layers that two builds do not share.
func differing(a, b builtApp) string {
	var text strings.Builder
	for i, layer := range a.Images[0].Layers {
		if i >= len(b.Images[0].Layers) || b.Images[0].Layers[i].Digest != layer.Digest {
			fmt.Fprintln(&text, "differs:", layer.Buildpack, layer.Name)
		}
	}
	return text.String()
}

// TestBothArchitectures builds for the machine's own architecture and for another.
func TestBothArchitectures(t *testing.T) {
	b := harbour(t, true)
	for _, name := range []string{"go", "static"} {
		built := b.build("../../examples/apps/"+name, "-t", name+":both", "--platform", "linux/amd64,linux/arm64")
		if len(built.Images) != 2 || built.Images[0].Digest == built.Images[1].Digest {
			t.Errorf("%s: %+v", name, built.Images)
		}
		for architecture, machine := range map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64} {
			programs := b.programs(name+":both", architecture)
			if len(programs) < map[string]int{"go": 2, "static": 1}[name] { // the launcher, and the application's own
				t.Errorf("%s for %s has the programs %v", name, architecture, programs)
			}
			for path, is := range programs {
				if is != machine {
					t.Errorf("%s for %s: %s is for %s", name, architecture, path, is)
				}
			}
		}
		b.ask(name+":both", "/")
	}
}

// programs gives the machines of the ELF files in the application's own layers.
func (b *bench) programs(ref, architecture string) map[string]elf.Machine {
	b.t.Helper()
	image := b.imageFor(ref, architecture)
	layers, err := image.Layers()
	if err != nil {
		b.t.Fatal(err)
	}
	manifest, err := image.Manifest()
	if err != nil {
		b.t.Fatal(err)
	}
	found := map[string]elf.Machine{}
	for i, layer := range layers {
		if manifest.Layers[i].Annotations[oci.LayerAnnotation] != "" {
			continue
		}
		r, err := layer.Uncompressed()
		if err != nil {
			b.t.Fatal(err)
		}
		for entries := tar.NewReader(r); ; {
			h, err := entries.Next()
			if err == io.EOF {
				break
			}
			if err != nil {
				b.t.Fatal(err)
			}
			data, err := io.ReadAll(entries)
			if err != nil {
				b.t.Fatal(err)
			}
			if file, err := elf.NewFile(bytes.NewReader(data)); err == nil {
				found[h.Name] = file.Machine
			}
		}
	}
	return found
}

// TestBadBuilds: each failure is one line with a hint, and leaves nothing.
func TestBadBuilds(t *testing.T) {
	b := harbour(t, true)
	source := func(files map[string]string) string {
		dir := t.TempDir()
		for name, text := range files {
			path := filepath.Join(dir, name)
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		return dir
	}
	broken := map[string]string{"go.mod": "module x\n\ngo 1.24\n", "main.go": "package main\n\nfunc main() { undefined() }\n"}
	tests := []struct {
		name  string
		kind  fault.Kind
		args  []string
		wants []string // in what it prints
	}{
		{"no buildpack fits", fault.Usage, []string{source(map[string]string{"README": "x"})}, []string{"no buildpack fits", "go: ", "nodejs: ", "python: ", "hint: "}},
		{"compile error", fault.Failed, []string{source(broken)}, []string{"./main.go:3", "undefined: undefined", "hint: "}},
		{"base not approved", fault.Denied, []string{source(broken), "--run-image", "build:1"}, []string{"not an approved base", "run:1"}},
		{"no builder", fault.NotFound, []string{source(broken), "--builder", "none:1"}, []string{"there is no such image", "plimsoll builder build"}},
		{"unknown buildpack", fault.Usage, []string{source(broken), "--buildpack", "plimsoll/cobol"}, []string{"no such buildpack", "plimsoll/go"}},
		{"network gone", fault.Failed, []string{"../../examples/apps/go", "--network", "none", "--clear-cache"}, []string{"network", "hint: "}},
		{"no such source", fault.NotFound, []string{filepath.Join(t.TempDir(), "none")}, []string{"none"}},
		{"bad variable", fault.Usage, []string{source(broken), "--env", "1X=secret"}, []string{"--env 1X"}},
		{"bad project descriptor", fault.Usage, []string{source(map[string]string{"project.toml": "[_]\nx = "})}, []string{"project.toml", "line 2"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := b.in(t)
			said := b.refuse(tt.kind, append([]string{"build", "-t", "bad:1"}, tt.args...)...)
			for _, want := range tt.wants {
				if !strings.Contains(said, want) {
					t.Errorf("it said %q, want %q in it", said, want)
				}
			}
			if strings.Contains(said, "secret") {
				t.Errorf("it told a value: %q", said)
			}
			b.nothingLeft("bad:1")
		})
	}
}

// nothingLeft fails when a build left a tag or a work folder.
func (b *bench) nothingLeft(ref string) {
	b.t.Helper()
	if list := b.plimsoll("registry", "list"); strings.Contains(list, strings.TrimSuffix(ref, ":1")+" ") {
		b.t.Errorf("the registry holds %s:\n%s", ref, list)
	}
	left, err := filepath.Glob(filepath.Join(b.home, "cache", "work", "build-*.lock"))
	if err != nil {
		b.t.Fatal(err)
	}
	for _, name := range left { // the cache is shared by all tests of the machine: a held lock is another's build
		f, err := os.Open(name)
		if err != nil {
			continue // it has just ended
		}
		if unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil {
			if _, err := os.Stat(name); err == nil {
				b.t.Errorf("left behind: %s", name)
			}
		}
		_ = f.Close()
	}
}
