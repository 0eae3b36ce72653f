package program

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"sigs.k8s.io/yaml"

	"plimsoll.dev/plimsoll/api/v1alpha1"
	"plimsoll.dev/plimsoll/internal/base/spec"
	"plimsoll.dev/plimsoll/internal/build"
	"plimsoll.dev/plimsoll/internal/executor"
	"plimsoll.dev/plimsoll/internal/executor/sandbox"
	"plimsoll.dev/plimsoll/internal/oci"
	"plimsoll.dev/plimsoll/internal/testbed"
)

// bench is a home with a sandbox: what it takes to build a base by the command line and to
// run programs in it.
type bench struct {
	t       *testing.T
	home    string
	sandbox *sandbox.Sandbox
}

func newBench(t *testing.T) *bench {
	t.Helper()
	testbed.Tool(t, "bwrap")
	b := &bench{t: t, home: testbed.Home(t)}
	var err error
	if b.sandbox, err = sandbox.New(filepath.Join(b.home, "cache", "roots"), sandbox.Options{}); err != nil {
		t.Fatal(err)
	}
	return b
}

// before gives the spec of an example base as it was before a fix in zlib. Debian's archive has
// only what is newest, so the older package is in this repository.
func before(t testing.TB, example string) string {
	t.Helper()
	folder := t.TempDir()
	spec, err := exec.CommandContext(t.Context(), "../../scripts/before", example, filepath.Join(folder, "keyring.gpg")).Output()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(folder, example+".yaml")
	if err := os.WriteFile(file, spec, 0o644); err != nil {
		t.Fatal(err)
	}
	return file
}

// plimsoll runs the command line and gives its standard output; it must succeed.
func (b *bench) plimsoll(args ...string) string {
	b.t.Helper()
	var out, errs bytes.Buffer
	if code := Run(b.t.Context(), b.host(&out, &errs), args); code != 0 {
		b.t.Fatalf("plimsoll %s: exit %d\n%s", strings.Join(args, " "), code, errs.String())
	}
	return out.String()
}

// host is this machine with the bench's home.
func (b *bench) host(out, errs io.Writer) Host {
	return Host{In: strings.NewReader(""), Out: out, Err: errs, Getenv: func(name string) string {
		if name == "PLIMSOLL_HOME" {
			return b.home
		}
		return os.Getenv(name)
	}}
}

// in gives the bench to a subtest.
func (b *bench) in(t *testing.T) *bench {
	inner := *b
	inner.t = t
	return &inner
}

// example builds the example base, changed by edit, and gives its reference.
func (b *bench) example(name string, edit func(*v1alpha1.BaseImageSpec)) string {
	b.t.Helper()
	image, err := spec.Load(filepath.Join("../../examples/bases", name+".yaml"))
	if err != nil {
		b.t.Fatal(err)
	}
	edit(&image.Spec)
	text, err := yaml.Marshal(image)
	if err != nil {
		b.t.Fatal(err)
	}
	file := filepath.Join(b.t.TempDir(), name+".yaml")
	if err := os.WriteFile(file, text, 0o644); err != nil {
		b.t.Fatal(err)
	}
	b.plimsoll("base", "build", "-f", file, "-t", name+":test", "--strict")
	return name + ":test"
}

// image reads the image for this machine from the local store.
func (b *bench) image(ref string) v1.Image {
	b.t.Helper()
	return b.imageFor(ref, "")
}

// imageFor reads the image for the architecture.
func (b *bench) imageFor(ref, architecture string) v1.Image {
	b.t.Helper()
	local := &store{root: filepath.Join(b.home, "registry")}
	b.t.Cleanup(local.close)
	parsed, err := oci.Parse(ref)
	if err != nil {
		b.t.Fatal(err)
	}
	image, err := (&oci.Registries{Local: local.open}).Image(b.t.Context(), parsed, architecture)
	if err != nil {
		b.t.Fatal(err)
	}
	return image
}

// run runs a command in the image as the image's own user and gives what it prints; it
// must succeed.
func (b *bench) run(ref string, mounts []executor.Mount, command ...string) string {
	b.t.Helper()
	image := b.image(ref)
	config, err := image.ConfigFile()
	if err != nil {
		b.t.Fatal(err)
	}
	layers, err := build.RootFS(image)
	if err != nil {
		b.t.Fatal(err)
	}
	step := executor.Step{
		Layers: layers, Command: command, Env: config.Config.Env, Mounts: mounts,
		UID: 65532, GID: 65532, Network: true, Limits: executor.Limits{Wall: 2 * time.Minute},
	}
	var out, errs bytes.Buffer
	result, err := b.sandbox.Run(context.WithoutCancel(b.t.Context()), step, &out, &errs)
	if err != nil || !result.OK() {
		b.t.Fatalf("%s: %v: %v %+v\n%s%s", ref, command, err, result, out.String(), errs.String())
	}
	return out.String()
}

// greeting is what the TLS server answers.
const greeting = "fair winds"

// TestExamples builds every example base and runs its runtime for real. Each opens TLS to
// a server whose certificate authority the base's own trust store holds.
func TestExamples(t *testing.T) {
	authority, server := testbed.TLSServer(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, greeting)
	}))
	trusting := func(s *v1alpha1.BaseImageSpec) {
		s.Architectures = nil // this machine's own: the others are built in TestFix, and cannot run here
		s.Paths = append(s.Paths, v1alpha1.Path{Path: "/usr/local/share/ca-certificates/harbour.crt", Type: v1alpha1.PathFile, Content: authority})
	}
	probes := func(name string) []executor.Mount {
		source, err := filepath.Abs(filepath.Join("testdata", name))
		if err != nil {
			t.Fatal(err)
		}
		return []executor.Mount{{Source: source, Target: "/probe/" + name}}
	}
	expect := func(t *testing.T, got, want string) {
		t.Helper()
		if !strings.Contains(got, want) {
			t.Errorf("it printed %q, want %q in it", got, want)
		}
	}
	t.Run("static", func(t *testing.T) {
		b := newBench(t)
		ref := b.example("static", trusting)
		probe := filepath.Join(t.TempDir(), "probe")
		build := exec.Command("go", "build", "-o", probe, "./testdata/probe")
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		expect(t, b.run(ref, []executor.Mount{{Source: probe, Target: "/probe"}}, "/probe", server), greeting)
	})
	t.Run("run", func(t *testing.T) {
		b := newBench(t)
		ref := b.example("run", trusting)
		expect(t, b.run(ref, nil, "openssl", "version"), "OpenSSL 3.")
		address := strings.TrimPrefix(server, "https://")
		expect(t, b.run(ref, nil, "openssl", "s_client", "-verify_return_error", "-brief", "-connect", address), "")
	})
	t.Run("node20", func(t *testing.T) {
		b := newBench(t)
		ref := b.example("node20", trusting)
		expect(t, b.run(ref, probes("probe.js"), "node", "/probe/probe.js", server), greeting)
	})
	t.Run("python3", func(t *testing.T) {
		b := newBench(t)
		ref := b.example("python3", trusting)
		expect(t, b.run(ref, probes("probe.py"), "python3", "/probe/probe.py", server), greeting)
	})
	t.Run("java21", func(t *testing.T) {
		b := newBench(t)
		classes := t.TempDir()
		jdk := b.example("java21", func(s *v1alpha1.BaseImageSpec) {
			trusting(s)
			s.Packages = append(s.Packages, "openjdk-21-jdk-headless")
		})
		b.run(jdk, append(probes("Probe.java"), executor.Mount{Kind: executor.ReadWrite, Source: classes, Target: "/out"}),
			"javac", "-d", "/out", "/probe/Probe.java")
		ref := b.example("java21", trusting)
		expect(t, b.run(ref, []executor.Mount{{Kind: executor.ReadWrite, Source: classes, Target: "/out"}}, "java", "-cp", "/out", "Probe", server), greeting)
		expect(t, b.run(ref, nil, "keytool", "-list", "-cacerts", "-storepass", "changeit"), "harbour.pem")
	})
	t.Run("build", func(t *testing.T) {
		b := newBench(t)
		ref := b.example("build", trusting)
		script := "set -e; cd /tmp; gcc -Wall -o hello /probe/hello.c -lcrypto -lz; ./hello; git --version; make --version; awk 'BEGIN{print 6*7}'; curl -sS " + server
		got := b.run(ref, probes("hello.c"), "bash", "-c", script)
		for _, want := range []string{"OpenSSL 3.", "git version 2.", "GNU Make 4.", "42", greeting} {
			expect(t, got, want)
		}
	})
}
