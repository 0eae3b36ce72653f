package program

import (
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/cgi"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"plimsoll.dev/plimsoll/internal/testbed"
)

// repository is a git repository that is served over HTTPS, with a folder for each Image.
type repository struct {
	t       *testing.T
	work    string // its working tree
	url     string
	touched map[string]string // the newest commit that touched a folder
	asked   atomic.Int64      // how often somebody asked what is in it
}

// newRepository serves a repository that holds the example applications, and one in Node.js whose
// dependencies are old.
func newRepository(t *testing.T) *repository {
	t.Helper()
	root := t.TempDir()
	r := &repository{t: t, work: filepath.Join(root, "work"), touched: map[string]string{}}
	for _, name := range shopImages {
		from := "../../examples/apps/" + name
		if name == "ferry" {
			from = "testdata/ferry"
		}
		if err := os.CopyFS(filepath.Join(r.work, name), os.DirFS(from)); err != nil {
			t.Fatal(err)
		}
	}
	r.git("init", "-q", "-b", "main")
	bare := filepath.Join(root, "srv", "shop.git")
	r.git("init", "-q", "--bare", "-b", "main", bare)
	r.git("remote", "add", "origin", bare)
	backend := &cgi.Handler{Path: filepath.Join(r.git("--exec-path"), "git-http-backend"), Env: []string{
		"GIT_PROJECT_ROOT=" + filepath.Join(root, "srv"), "GIT_HTTP_EXPORT_ALL=1", "GIT_CONFIG_NOSYSTEM=1", "HOME=" + root,
	}}
	authority, address := testbed.TLSServer(t, http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		if strings.HasSuffix(request.URL.Path, "/info/refs") {
			r.asked.Add(1)
		}
		backend.ServeHTTP(w, request)
	}))
	trusted := filepath.Join(root, "ca.pem")
	if err := os.WriteFile(trusted, []byte(authority), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Setenv("GIT_SSL_CAINFO", trusted)
	r.url = address + "/shop.git"
	r.push("The shop opens", shopImages...)
	return r
}

// git runs git in the working tree and gives what it prints.
func (r *repository) git(args ...string) string {
	r.t.Helper()
	cmd := exec.Command("git", append([]string{"-C", r.work, "-c", "user.name=test", "-c", "user.email=test@example.com"}, args...)...)
	cmd.Env = append(os.Environ(), "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL="+os.DevNull)
	out, err := cmd.Output()
	if err != nil {
		r.t.Fatalf("git %v: %v", args, err)
	}
	return strings.TrimSpace(string(out))
}

// push commits what has changed, which is in those folders, and gives the commit.
func (r *repository) push(message string, folders ...string) string {
	r.t.Helper()
	r.git("add", "-A")
	r.git("commit", "-q", "-m", message)
	r.git("push", "-q", "origin", "main")
	commit := r.git("rev-parse", "HEAD")
	for _, name := range folders {
		r.touched[name] = commit
	}
	return commit
}

// say adds a line to the site's front page and pushes that.
func (r *repository) say(line string) string {
	r.t.Helper()
	page, err := os.OpenFile(filepath.Join(r.work, "static", "public", "index.html"), os.O_APPEND|os.O_WRONLY, fs.FileMode(0o644))
	if err != nil {
		r.t.Fatal(err)
	}
	defer page.Close()
	if _, err := fmt.Fprintln(page, "<p>"+line+"</p>"); err != nil {
		r.t.Fatal(err)
	}
	return r.push(line, "static")
}

// quietPort gives a port that is free and that the kernel gives to no client.
func quietPort(t *testing.T) string {
	t.Helper()
	for range 100 {
		port := fmt.Sprint(10000 + rand.IntN(10000))
		if l, err := net.Listen("tcp", ":"+port); err == nil {
			l.Close()
			return port
		}
	}
	t.Fatal("no port is free")
	return ""
}
