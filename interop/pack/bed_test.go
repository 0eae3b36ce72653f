package pack

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/buildpacks/pack/pkg/client"
	"github.com/buildpacks/pack/pkg/logging"
)

// bed is plimsoll with a home, its registry on loopback, bases in it, and a folder with
// what builders are made of.
type bed struct {
	t        testing.TB
	program  string
	home     string
	dir      string
	registry string // host and port
	pack     *client.Client
}

func newBed(t testing.TB) *bed {
	t.Helper()
	b := &bed{t: t, dir: t.TempDir(), home: home(t)}
	b.program = filepath.Join(t.TempDir(), "plimsoll")
	build := exec.Command("go", "build", "-o", b.program, "./cmd/plimsoll")
	build.Dir = "../.."
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	t.Setenv("PACK_HOME", t.TempDir())
	var err error
	if b.pack, err = client.NewClient(client.WithLogger(logging.NewLogWithWriters(t.Output(), t.Output()))); err != nil {
		t.Fatal(err)
	}
	b.serve()
	b.write("build.yaml", base("build", `{CNB_USER_ID: "1001", CNB_GROUP_ID: "1002"}`))
	b.write("run.yaml", base("run", "{}"))
	b.plimsoll("base", "build", "-f", "build.yaml", "-t", b.registry+"/build:1")
	b.plimsoll("base", "build", "-f", "run.yaml", "-t", b.registry+"/run:1")
	b.plimsoll("base", "build", "-f", "run.yaml", "-t", b.registry+"/mirror:1")
	b.lifecycle()
	b.buildpack("hello", "test/hello", "[[targets]]\nos = \"linux\"\n")
	b.buildpack("bye", "test/bye", "[[stacks]]\nid = \"*\"\n")
	return b
}

// home gives a new home whose cache of downloads is kept from run to run.
func home(t testing.TB) string {
	t.Helper()
	kept, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	kept = filepath.Join(kept, "plimsoll-test", "cache")
	if err := os.MkdirAll(kept, 0o755); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.Symlink(kept, filepath.Join(dir, "cache")); err != nil {
		t.Fatal(err)
	}
	return dir
}

// base is a small base of Debian packages.
func base(name, environment string) string {
	return fmt.Sprintf(`apiVersion: plimsoll.dev/v1alpha1
kind: BaseImage
metadata: {name: %s}
spec:
  archive: {suites: [trixie]}
  architectures: [amd64, arm64]
  packages: [base-files, netbase]
  omit: [{package: mawk, reason: base-files wants an awk for its maintainer scripts}]
  environment: %s
`, name, environment)
}

// serve starts the registry and ends it with the test.
func (b *bed) serve() {
	b.t.Helper()
	server := exec.Command(b.program, "registry", "serve", "--addr", "127.0.0.1:0", "--drain", "1s")
	server.Env = append(os.Environ(), "PLIMSOLL_HOME="+b.home)
	log, err := server.StderrPipe()
	if err != nil {
		b.t.Fatal(err)
	}
	if err := server.Start(); err != nil {
		b.t.Fatal(err)
	}
	lines := bufio.NewScanner(log)
	ended := make(chan struct{})
	b.t.Cleanup(func() {
		_ = server.Process.Signal(os.Interrupt)
		<-ended
		_ = server.Wait()
	})
	for b.registry == "" && lines.Scan() { // it says other things first
		if found := regexp.MustCompile(`msg=serving addr=(\S+)`).FindStringSubmatch(lines.Text()); found != nil {
			b.registry = found[1]
		}
	}
	go func() { // the request log; a full pipe would stop the server
		defer close(ended)
		_, _ = io.Copy(io.Discard, log)
	}()
	if b.registry == "" {
		b.t.Fatalf("the server said %q", lines.Text())
	}
}

// plimsoll runs the program in the bed's folder and gives what it prints.
func (b *bed) plimsoll(args ...string) []byte {
	b.t.Helper()
	cmd := exec.Command(b.program, args...)
	cmd.Dir, cmd.Env = b.dir, append(os.Environ(), "PLIMSOLL_HOME="+b.home)
	var out, problems bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &problems
	if err := cmd.Run(); err != nil {
		b.t.Fatalf("plimsoll %s: %v\n%s", strings.Join(args, " "), err, problems.String())
	}
	return out.Bytes()
}

// write makes a file of the bed; what lies in bin is executable.
func (b *bed) write(name, text string) {
	b.t.Helper()
	name = filepath.Join(b.dir, name)
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		b.t.Fatal(err)
	}
	mode := os.FileMode(0o644)
	if filepath.Base(filepath.Dir(name)) == "bin" {
		mode = 0o755
	}
	if err := os.WriteFile(name, []byte(text), mode); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bed) buildpack(folder, id, more string) {
	b.t.Helper()
	b.write(folder+"/buildpack.toml", fmt.Sprintf("api = \"0.10\"\n[buildpack]\nid = %q\nversion = \"1.2.3\"\nname = \"%s\"\nhomepage = \"https://example.com/%s\"\n%s", id, folder, folder, more))
	b.write(folder+"/bin/detect", "#!/bin/sh\n")
	b.write(folder+"/bin/build", "#!/bin/sh\necho "+id+"\n")
	b.write(folder+"/data/text", id)
}

// lifecycle makes the archive that pack wants of the folder that plimsoll takes: with a
// link for each phase.
func (b *bed) lifecycle() {
	b.t.Helper()
	from, err := filepath.Abs("../../bin/lifecycle")
	if err != nil {
		b.t.Fatal(err)
	}
	if _, err := os.Stat(from); err != nil {
		b.t.Fatal("there is no lifecycle: run `make bin/lifecycle` in the project's root")
	}
	to := filepath.Join(b.dir, "upstream")
	b.sh(`mkdir -p "$2/lifecycle" && cp "$1/lifecycle.toml" "$2" && cp "$1"/linux/amd64/* "$2/lifecycle" &&
		cd "$2/lifecycle" && for phase in analyzer builder creator detector exporter extender rebaser restorer; do ln -sf lifecycle $phase; done &&
		cd .. && tar czf ../lifecycle.tgz lifecycle.toml lifecycle && ln -s "$1" ../lifecycle`, from, to)
}

func (b *bed) sh(script string, args ...string) {
	b.t.Helper()
	cmd := exec.Command("sh", append([]string{"-ec", script, "sh"}, args...)...)
	cmd.Dir = b.dir
	if out, err := cmd.CombinedOutput(); err != nil {
		b.t.Fatalf("%v: %s", err, out)
	}
}

// inspected is what plimsoll says of a builder.
type inspected struct {
	Architecture string            `json:"architecture"`
	Description  string            `json:"description"`
	User         string            `json:"user"`
	Distro       string            `json:"distro"`
	Lifecycle    json.RawMessage   `json:"lifecycle"`
	RunImages    []map[string]any  `json:"runImages"`
	Buildpacks   []map[string]any  `json:"buildpacks"`
	Order        []json.RawMessage `json:"order"`
}

func (b *bed) inspect(ref string) []inspected {
	b.t.Helper()
	var all []inspected
	if err := json.Unmarshal(b.plimsoll("builder", "inspect", ref, "-o", "json"), &all); err != nil {
		b.t.Fatal(err)
	}
	return all
}
