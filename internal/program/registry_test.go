package program_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"plimsoll.dev/plimsoll/internal/program"
)

// typed runs the program as a user would and gives what it wrote and its exit code.
func typed(ctx context.Context, home string, errs io.Writer, args ...string) (out string, code int) {
	var stdout bytes.Buffer
	host := program.Host{In: strings.NewReader(""), Out: &stdout, Err: errs, Getenv: func(key string) string {
		if key == "PLIMSOLL_HOME" {
			return home
		}
		return ""
	}}
	code = program.Run(ctx, host, args)
	return stdout.String(), code
}

// TestRegistryCommandsBesideAServer pushes to a served store and keeps it with commands
// that do not go through the server.
func TestRegistryCommandsBesideAServer(t *testing.T) {
	home := t.TempDir()
	addr, stop := served(t, home)
	img, err := random.Image(1024, 2)
	if err != nil {
		t.Fatal(err)
	}
	to, err := name.ParseReference(addr + "/team/app:1.0")
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(to, img); err != nil {
		t.Fatal(err)
	}
	digest, err := img.Digest()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args, out, err string
		code           int
	}{
		{"registry list", "team/app    1.0  " + digest.String(), "", 0},
		{"registry list -o yaml", "repository: team/app", "", 0},
		{"registry gc --dry-run --grace 0s", "4 blobs kept in 1 repositories", "", 0},
		{"registry reindex", "1             1", "", 0},
		{"registry rm team/app:2.0", "", "hint: `plimsoll registry list`", 1},
		{"registry rm registry.example.com/team/app:1.0", "", "it names another registry", 2},
		{"registry rm", "", "requires at least 1 arg", 2},
		{"registry gc --grace=-1s", "", "--grace: it cannot be negative", 2},
		{"registry serve --addr " + addr, "", "hint: another program listens there", 1},
		{"registry serve --config nowhere.yaml", "", "nowhere.yaml", 2},
		{"registry rm team/app@" + digest.String(), "", "", 0},
		{"registry gc --grace 0s", "blobs             4 (", "", 0},
		{"registry list", "REPOSITORY", "", 0},
	} {
		var errs bytes.Buffer
		out, code := typed(context.Background(), home, &errs, strings.Fields(c.args)...)
		if code != c.code || !strings.Contains(out, c.out) || !strings.Contains(errs.String(), c.err) {
			t.Errorf("plimsoll %s: exit %d, want %d\nout: %s\nerr: %s", c.args, code, c.code, out, errs.String())
		}
	}
	out, _ := typed(context.Background(), home, io.Discard, "registry", "list", "-o", "json")
	var entries []json.RawMessage
	if err := json.Unmarshal([]byte(out), &entries); err != nil || len(entries) != 0 {
		t.Errorf("after rm the list is %q", out)
	}
	if code := stop(); code != 0 {
		t.Errorf("an interrupted server exits with %d", code)
	}
}

// served serves the home's store on a free port until stop, which gives the exit code.
func served(t *testing.T, home string, flags ...string) (addr string, stop func() int) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	log, writer := io.Pipe()
	ended := make(chan int, 1)
	go func() {
		_, code := typed(ctx, home, writer, append([]string{"registry", "serve", "--addr", "127.0.0.1:0"}, flags...)...)
		writer.Close()
		ended <- code
	}()
	lines := bufio.NewScanner(log)
	var found []string
	for found == nil {
		if !lines.Scan() {
			t.Fatal("the server did not say that it serves")
		}
		found = regexp.MustCompile(`msg=serving addr=(\S+)`).FindStringSubmatch(lines.Text())
	}
	go func() { // the request log; a full pipe would stop the server
		for lines.Scan() {
		}
	}()
	return found[1], func() int { cancel(); return <-ended }
}

// TestInventoryHearsOfPushes: what another tool pushes to a served registry is in the
// inventory soon after, and at the latest when the server has ended.
func TestInventoryHearsOfPushes(t *testing.T) {
	home := t.TempDir()
	addr, stop := served(t, home)
	push := func(tag string) {
		img, err := random.Image(1024, 2)
		if err != nil {
			t.Fatal(err)
		}
		to, err := name.ParseReference(addr + "/team/app:" + tag)
		if err != nil {
			t.Fatal(err)
		}
		if err := remote.Write(to, img); err != nil {
			t.Fatal(err)
		}
	}
	total := func() (answer struct{ Total int }) {
		out, _ := typed(context.Background(), home, io.Discard, "query", `images where repository = "team/app"`, "-o", "json")
		_ = json.Unmarshal([]byte(out), &answer)
		return answer
	}
	push("1.0")
	for deadline := time.Now().Add(time.Minute); total().Total != 1; time.Sleep(100 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the inventory does not know of the image")
		}
	}
	push("2.0")
	stop()
	if got := total().Total; got != 2 {
		t.Errorf("the inventory knows of %d images after the server has ended, want 2", got)
	}
}

// TestRegistryDocument: the commands docs/registry.md shows are commands this program has.
func TestRegistryDocument(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "registry.md"))
	if err != nil {
		t.Fatal(err)
	}
	shown := regexp.MustCompile(`(?m)^\$ plimsoll (.*)$`).FindAllStringSubmatch(string(text), -1)
	if len(shown) < 10 {
		t.Fatalf("found %d commands in the document", len(shown))
	}
	for _, s := range shown {
		var errs bytes.Buffer
		args := append(strings.Fields(s[1]), "--help")
		if out, code := typed(context.Background(), t.TempDir(), &errs, args...); code != 0 || !strings.Contains(out, "plimsoll "+args[0]+" "+args[1]) {
			t.Errorf("plimsoll %s: exit %d: %s", s[1], code, errs.String())
		}
	}
}
