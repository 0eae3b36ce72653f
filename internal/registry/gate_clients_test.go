package registry_test

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/registry"
	"plimsoll.dev/plimsoll/internal/registry/call"
	"plimsoll.dev/plimsoll/internal/testbed"
)

// readers makes everybody one who may pull, as a public project does.
func readers(next http.Handler) http.Handler {
	p := &call.Principal{May: func(action call.Action, _ string) bool { return action == call.ActionPull }}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		next.ServeHTTP(w, r.WithContext(call.WithPrincipal(r.Context(), p)))
	})
}

// harbour is what clients find: a signed image, and an index of it.
type harbour struct {
	*gated
	host         string
	image, index digest.Digest
}

func newHarbour(t *testing.T) *harbour {
	t.Helper()
	gate := &rulings{}
	reg := open(t, registry.Options{Gate: gate})
	h := &harbour{host: serve(t, reg, registry.ServeOptions{Doors: []func(http.Handler) http.Handler{readers}})}
	h.gated = &gated{t, reg, gate, "http://" + h.host}
	layer := archive(t)
	config := fmt.Sprintf(`{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[%q]}}`, digest.FromBytes(layer))
	content := fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"config":%s,"layers":[%s]}`, ociManifest,
		h.blob("shop/app", configType, []byte(config)), h.blob("shop/app", layerType, layer))
	h.image = h.manifest("shop/app", "1", ociManifest, content)
	child := strings.Replace(descriptor(ociManifest, []byte(content)), "}", `,"platform":{"architecture":"amd64","os":"linux"}}`, 1)
	h.index = h.manifest("shop/app", "multi", ociIndex, fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"manifests":[%s]}`, ociIndex, child))
	h.attach("shop/app", signatureTag(h.image, "sig"), "", configType, simpleType, []byte(`{"critical":{}}`))
	return h
}

func (h *harbour) say(action artifact.Action) {
	h.gate.say("shop/app", h.image, action)
	h.gate.say("shop/app", h.index, action)
}

// tried runs a client that must succeed, or fail and print the words.
func tried(t *testing.T, fails bool, words string, command string, args ...string) {
	t.Helper()
	cmd := exec.Command(command, args...)
	cmd.Env = append(os.Environ(), "REGISTRY_AUTH_FILE="+filepath.Join(t.TempDir(), "auth.json"))
	out, err := cmd.CombinedOutput()
	if (err != nil) != fails || fails && !strings.Contains(string(out), words) {
		t.Errorf("%s %q: %v, want failure: %v, of %q\n%s", filepath.Base(command), args, err, fails, words, out)
	}
}

// TestSkopeoAtTheGate: skopeo copies what is released, and shows why where it is not.
func TestSkopeoAtTheGate(t *testing.T) {
	h := newHarbour(t)
	policy := filepath.Join(t.TempDir(), "policy.json")
	if err := os.WriteFile(policy, []byte(`{"default":[{"type":"insecureAcceptAnything"}]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	pulls := func(fails bool) {
		t.Helper()
		for _, reference := range []string{":1", "@" + h.image.String(), ":multi", ":" + signatureTag(h.image, "sig")} {
			tried(t, fails, "has 3 fixable findings past their time; remedy: plimsoll rebase shop/app", testbed.Tool(t, "skopeo"),
				"--policy", policy, "copy", "--all", "--src-tls-verify=false", "docker://"+h.host+"/shop/app"+reference, "dir:"+t.TempDir())
		}
		tried(t, fails, "quarantined", testbed.Tool(t, "skopeo"), "inspect", "--tls-verify=false", "docker://"+h.host+"/shop/app:1")
		tried(t, false, "", testbed.Tool(t, "skopeo"), "list-tags", "--tls-verify=false", "docker://"+h.host+"/shop/app")
	}
	h.say(artifact.ActionDeny)
	pulls(true)
	h.say(artifact.ActionAllow)
	pulls(false)
	h.say(artifact.ActionWarn)
	pulls(false)
	h.say(artifact.ActionDeny)
	pulls(true)
}

// TestContainerdAtTheGate: containerd pulls what is released. It asks by HEAD, so of a refusal
// it shows the status.
func TestContainerdAtTheGate(t *testing.T) {
	h := newHarbour(t)
	socket := containerd(t)
	pulls := func(fails bool) {
		t.Helper()
		for _, reference := range []string{":1", "@" + h.image.String(), ":multi"} {
			for _, what := range [][]string{{"content", "fetch"}, {"images", "pull", "--snapshotter", "native"}} {
				args := append([]string{"--address", socket}, what...)
				tried(t, fails, "403", testbed.Tool(t, "ctr"), append(args, "--plain-http", "--platform", "linux/amd64", h.host+"/shop/app"+reference)...)
			}
		}
	}
	h.say(artifact.ActionDeny)
	pulls(true)
	h.say(artifact.ActionAllow)
	pulls(false)
	h.say(artifact.ActionDeny)
	pulls(true)
}

// TestLifecycleAtTheGate: the lifecycle's analyzer reads the run image, and the image it makes
// anew, from the registry. It asks by HEAD, so of a refusal it shows the status.
func TestLifecycleAtTheGate(t *testing.T) {
	h := newHarbour(t)
	analyzer := filepath.Join(t.TempDir(), "analyzer") // the program is its phases by its name
	if err := os.Symlink(buildPinned(t, "lifecycle", "github.com/buildpacks/lifecycle/cmd/lifecycle"), analyzer); err != nil {
		t.Fatal(err)
	}
	t.Setenv("CNB_PLATFORM_API", "0.14")
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	analyzes := func(fails bool, run, app string) {
		t.Helper()
		tried(t, fails, "403 Forbidden", analyzer, "-uid", fmt.Sprint(os.Getuid()), "-gid", fmt.Sprint(os.Getgid()),
			"-layers", t.TempDir(), "-run-image", h.host+"/"+run, h.host+"/"+app)
	}
	h.say(artifact.ActionDeny)
	analyzes(true, "shop/app:1", "shop/new:1")
	h.say(artifact.ActionAllow)
	analyzes(false, "shop/app:1", "shop/app:1")
	analyzes(false, "shop/app@"+h.image.String(), "shop/new:1")
	h.say(artifact.ActionDeny)
	analyzes(true, "shop/app@"+h.image.String(), "shop/new:1")
}

// containerd runs a daemon of the test's own until that ends, and gives its socket.
func containerd(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "ctrd") // a socket's path is at most 107 bytes: t.TempDir's can be longer
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	socket := filepath.Join(dir, "sock")
	config := fmt.Sprintf("version = 2\nroot = %q\nstate = %q\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\", \"io.containerd.internal.v1.opt\"]\n[grpc]\naddress = %q\n",
		filepath.Join(dir, "root"), filepath.Join(dir, "state"), socket)
	if err := os.WriteFile(filepath.Join(dir, "config.toml"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	var said bytes.Buffer
	cmd := exec.Command(testbed.Tool(t, "containerd"), "--config", filepath.Join(dir, "config.toml"))
	cmd.Stdout, cmd.Stderr = &said, &said
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(ended)
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		<-ended
	})
	for deadline := time.Now().Add(30 * time.Second); ; {
		if exec.Command(testbed.Tool(t, "ctr"), "--address", socket, "--timeout", "1s", "version").Run() == nil {
			return socket
		}
		select {
		case <-ended:
			t.Fatalf("containerd ended:\n%s", said.String())
		default:
		}
		if time.Now().After(deadline) {
			t.Fatal("containerd does not answer")
		}
	}
}
