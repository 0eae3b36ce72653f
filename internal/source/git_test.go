package source_test

import (
	"context"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/source"
	"plimsoll.dev/plimsoll/internal/testbed"
)

// backend serves the bed's folder "srv" by git's own http-backend; a repository in
// "private" wants a login.
func (b *bed) backend() http.Handler {
	b.Helper()
	root := b.run(".", "git", "--exec-path")
	handler := &cgi.Handler{Path: filepath.Join(root, "git-http-backend"), Env: []string{
		"GIT_PROJECT_ROOT=" + b.path("srv"), "GIT_HTTP_EXPORT_ALL=1", "GIT_CONFIG_NOSYSTEM=1", "HOME=" + b.path("home"),
	}}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, password, _ := r.BasicAuth(); strings.HasPrefix(r.URL.Path, "/private/") && (user != "ann" || password != "s3cret") {
			w.Header().Set("WWW-Authenticate", `Basic realm="git"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		handler.ServeHTTP(w, r)
	})
}

// https serves the backend with a certificate that the bed's git trusts.
func (b *bed) https() string {
	b.Helper()
	authority, address := testbed.TLSServer(b, b.backend())
	b.write("ca.pem", authority)
	b.env = append(b.env, "GIT_SSL_CAINFO="+b.path("ca.pem"))
	return address
}

func TestGitOverHTTPS(t *testing.T) {
	b := newBed(t)
	first := b.repository("srv/app", map[string]string{"a": "1"})
	b.run("srv/app", "git", "tag", "-a", "-m", "one", "v1")
	b.write("srv/app/a", "2")
	second := b.commit("srv/app")
	b.run("srv/app", "git", "checkout", "-q", "-b", "side/branch", "v1")
	b.files("srv/app", map[string]string{"d/b": "3", "d/l": "->b"})
	third := b.commit("srv/app")
	b.run("srv/app", "git", "checkout", "-q", "main")
	address := b.https() + "/app"
	tests := []struct {
		fragment string
		options  source.Options
		commit   string
		want     map[string]string
	}{
		{"", source.Options{}, second, map[string]string{"a": "2"}},
		{"#main", source.Options{}, second, map[string]string{"a": "2"}},
		{"#v1", source.Options{}, first, map[string]string{"a": "1"}},
		{"#refs/tags/v1", source.Options{}, first, map[string]string{"a": "1"}},
		{"#side/branch:d", source.Options{}, third, map[string]string{"b": "3", "l": "->b"}},
		{"#:", source.Options{}, second, map[string]string{"a": "2"}},
		{"", source.Options{Ref: "side/branch", Subpath: "/d/"}, third, map[string]string{"b": "3", "l": "->b"}},
		{"#" + first, source.Options{}, first, map[string]string{"a": "1"}},
		{"#" + first[:8], source.Options{}, first, map[string]string{"a": "1"}},
		{"#side/branch", source.Options{Exclude: []string{"l"}}, third, map[string]string{"a": "1", "d/b": "3"}},
	}
	for _, tt := range tests {
		t.Run(tt.fragment, func(t *testing.T) {
			b := &bed{T: t, dir: b.dir, env: b.env}
			s, files := b.fetch(b.fetcher(), address+tt.fragment, tt.options)
			if diff := cmp.Diff(tt.want, files); diff != "" {
				t.Error(diff)
			}
			if s.Revision != tt.commit || !s.Clean || s.Location != address || s.Time.IsZero() {
				t.Errorf("got %+v", s)
			}
		})
	}
	b.refused(b.fetcher(), address+"#none", source.Options{}, fault.NotFound, "none")
	b.refused(b.fetcher(), address+"#"+strings.Repeat("0", 40), source.Options{}, fault.NotFound, "no branch, tag or commit")
	b.refused(b.fetcher(), address+"#main:none", source.Options{}, fault.NotFound, "no folder")
	b.refused(b.fetcher(), address+"#main:a", source.Options{}, fault.NotFound, "no folder")
	b.refused(b.fetcher(), strings.TrimSuffix(address, "app")+"nowhere", source.Options{}, fault.NotFound, "nowhere")
	untrusting := newBed(t)
	untrusting.refused(untrusting.fetcher(), address, source.Options{}, fault.Denied, "certificate")
}

// TestGitServerThatRefusesCommits fetches a commit from a server that gives branches only.
func TestGitServerThatRefusesCommits(t *testing.T) {
	b := newBed(t)
	first := b.repository("srv/app", map[string]string{"a": "1"})
	b.write("srv/app/a", "2")
	b.commit("srv/app")
	b.run("srv/app", "git", "config", "http.uploadpack", "true")
	address := b.https() + "/app"
	// Version 0 of the protocol, unlike 2, holds to what is advertised.
	b.write("home/.gitconfig", "[protocol]\n\tversion = 0\n")
	s, files := b.fetch(b.fetcher(), address+"#"+first, source.Options{})
	if diff := cmp.Diff(map[string]string{"a": "1"}, files); diff != "" || s.Revision != first {
		t.Errorf("%s, %+v", diff, s)
	}
}

func TestGitLogin(t *testing.T) {
	b := newBed(t)
	b.repository("srv/private/app", map[string]string{"a": "1"})
	address := b.https() + "/private/app"
	b.refused(b.fetcher(), address, source.Options{}, fault.Denied, "private/app")
	b.refused(b.fetcher(), strings.Replace(address, "://", "://ann:wrong@", 1), source.Options{}, fault.Denied, "private/app")
	login := strings.Replace(address, "://", "://ann:s3cret@", 1)

	// A helper of the user's that would keep what it is told, and tells what it sees.
	seen := b.path("seen")
	b.write("home/.gitconfig", "[credential]\n\thelper = \"!f() { echo $1 >>"+seen+"; cat >>"+seen+"; }; f\"\n")
	b.env = append(b.env, "GIT_TRACE=1", "GIT_CURL_VERBOSE=1")
	s, files := b.fetch(b.fetcher(), login, source.Options{})
	if diff := cmp.Diff(map[string]string{"a": "1"}, files); diff != "" || s.Location != address {
		t.Errorf("%s, %+v", diff, s)
	}
	if text, err := os.ReadFile(seen); err == nil {
		t.Errorf("the login of the URL came to the user's helper: %s", text)
	}

	// The user's own helper is asked when the URL has no login, or a name only.
	b.write("home/.gitconfig", "[credential]\n\thelper = \"!f() { test $1 = get && printf 'username=ann\\npassword=s3cret\\n'; }; f\"\n")
	b.fetch(b.fetcher(), address, source.Options{})
	b.fetch(b.fetcher(), strings.Replace(address, "://", "://ann@", 1), source.Options{})

	_, err := b.fetcher().Fetch(t.Context(), login+"#none", source.Options{}, b.path("x"))
	if err == nil || strings.Contains(err.Error(), "s3cret") {
		t.Errorf("%v", err)
	}
	// A login in the user's own rewriting is in what git says.
	b.write("home/.gitconfig", "[url \""+strings.Replace(address, "://", "://ann:s3cret-wrong@", 1)+"/none\"]\n\tinsteadOf = https://short.example/\n")
	_, err = b.fetcher().Fetch(t.Context(), "https://short.example/x", source.Options{}, b.path("x"))
	if err == nil || strings.Contains(err.Error()+fault.HintOf(err), "s3cret") {
		t.Errorf("%v", err)
	}
}

func TestGitArgumentsAreSecretFree(t *testing.T) {
	b := newBed(t)
	b.repository("srv/private/app", map[string]string{"a": "1"})
	address := strings.Replace(b.https(), "://", "://ann:s3cret@", 1) + "/private/app"
	bin := b.path("bin")
	log := b.path("arguments")
	b.write("bin/git", "#!/bin/sh\nprintf '%s\\n' \"$*\" >>"+log+"\nexec "+testbed.Tool(t, "git")+" \"$@\"\n")
	if err := os.Chmod(filepath.Join(bin, "git"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	b.fetch(b.fetcher(), address, source.Options{})
	text, err := os.ReadFile(log)
	if err != nil || !strings.Contains(string(text), "fetch") || strings.Contains(string(text), "s3cret") {
		t.Errorf("%v: %s", err, text)
	}
}

func TestGitSubmodules(t *testing.T) {
	b := newBed(t)
	b.repository("srv/deep", map[string]string{"deep": "1"})
	b.repository("srv/lib", map[string]string{"lib": "1"})
	b.write("srv/lib/.gitmodules", "[submodule \"deep\"]\n\tpath = deep\n\turl = ../deep\n")
	b.run("srv/lib", "git", "clone", "-q", b.path("srv/deep"), "deep")
	b.commit("srv/lib")
	b.repository("srv/app", map[string]string{"a": "1"})
	b.write("srv/app/.gitmodules", "[submodule \"x\"]\n\tpath = d/lib\n\turl = ./../lib\n[submodule \"none\"]\n\tpath = skipped\n\turl = ../none\n\tupdate = none\n")
	for _, at := range []string{"d/lib", "skipped", "unnamed"} {
		b.run("srv/app", "git", "clone", "-q", b.path("srv/lib"), at)
	}
	b.commit("srv/app")
	want := map[string]string{"a": "1", "d/lib/lib": "1", "d/lib/deep/deep": "1"}
	address := b.https()
	for _, location := range []string{address + "/app", "file://" + b.path("srv/app")} {
		_, files := b.fetch(b.fetcher(), location, source.Options{Exclude: []string{".gitmodules"}})
		if diff := cmp.Diff(want, files); diff != "" {
			t.Errorf("%s: %s", location, diff)
		}
	}
	_, files := b.fetch(b.fetcher(), address+"/app#:d", source.Options{Exclude: []string{".gitmodules"}})
	if diff := cmp.Diff(map[string]string{"lib/lib": "1", "lib/deep/deep": "1"}, files); diff != "" {
		t.Error(diff)
	}
	for name, url := range map[string]string{
		"a file": "file://" + b.path("srv/lib"), "a path": b.path("srv/lib"), "a command": "ext::sh -c touch% " + b.path("ran"),
		"an option": "--upload-pack=touch " + b.path("ran"), "above the host": "../../../lib", "a login": "https://ann:s3cret@git.example/x",
		"plain http": "http://git.example/x", "an ssh option": "ssh://-oProxyCommand=touch%20" + b.path("ran") + "/x",
	} {
		b.write("srv/app/.gitmodules", "[submodule \"x\"]\n\tpath = d/lib\n\turl = \""+url+"\"\n")
		b.commit("srv/app")
		_, err := b.fetcher().Fetch(t.Context(), address+"/app", source.Options{}, b.path("x"))
		if fault.KindOf(err) != fault.Denied || !strings.Contains(err.Error(), "d/lib") || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := os.Stat(b.path("ran")); err == nil {
		t.Error("a command of the repository ran")
	}
}

// TestGitTakesWhatIsStored has git filters, line ends and large file pointers that a
// checkout would change, and hooks that it would run.
func TestGitTakesWhatIsStored(t *testing.T) {
	b := newBed(t)
	pointer := "version https://git-lfs.github.com/spec/v1\noid sha256:" + strings.Repeat("0", 64) + "\nsize 5\n"
	b.repository("src", map[string]string{".gitattributes": "*.bin filter=lfs\n*.txt eol=crlf\n*.c export-ignore export-subst\n", "a.bin": pointer, "b.txt": "1\n2\n", "c.c": "$Format:%H$"})
	hook := b.path("hooks/reference-transaction")
	b.write("hooks/reference-transaction", "#!/bin/sh\ntouch "+b.path("ran")+"\n")
	if err := os.Chmod(hook, 0o755); err != nil {
		t.Fatal(err)
	}
	b.write("home/.gitconfig", "[filter \"lfs\"]\n\tsmudge = touch "+b.path("ran")+"\n\trequired = true\n[core]\n\tautocrlf = true\n\thooksPath = "+b.path("hooks")+"\n")
	_, files := b.fetch(b.fetcher(), "file://"+b.path("src"), source.Options{})
	if files["a.bin"] != pointer || files["b.txt"] != "1\n2\n" || files["c.c"] != "$Format:%H$" {
		t.Errorf("got %q", files)
	}
	if _, err := os.Stat(b.path("ran")); err == nil {
		t.Error("a filter or hook ran")
	}
}

func TestGitOfSHA256(t *testing.T) {
	b := newBed(t)
	b.files("src", map[string]string{"a": "1"})
	b.run("src", "git", "init", "-q", "--object-format=sha256")
	commit := b.commit("src")
	for _, ref := range []string{"", "main", commit} {
		if s, _ := b.fetch(b.fetcher(), "file://"+b.path("src"), source.Options{Ref: ref}); s.Revision != commit {
			t.Errorf("%q gives %+v", ref, s)
		}
	}
}

// TestGitHostileTrees makes commits that git itself would not.
func TestGitHostileTrees(t *testing.T) {
	b := newBed(t)
	b.repository("src", map[string]string{"a": "1"})
	blob := b.run("src", "git", "rev-parse", "HEAD:a")
	b.write("target", "../../outside")
	link := b.run("src", "git", "hash-object", "-w", b.path("target"))
	for name, tree := range map[string]string{
		"..":       "040000 tree %T\t..",
		".git":     "100644 blob " + blob + "\t.GIT",
		"the link": "120000 blob " + link + "\tthe link",
	} {
		inner := b.mktree("src", "100644 blob "+blob+"\tx")
		commit := b.run("src", "git", "commit-tree", "-m", "x", b.mktree("src", strings.ReplaceAll(tree, "%T", inner)))
		b.run("src", "git", "update-ref", "refs/heads/bad", commit)
		t.Run(name, func(t *testing.T) {
			b := &bed{T: t, dir: b.dir, env: b.env}
			b.refused(b.fetcher(), "file://"+b.path("src")+"#bad", source.Options{}, fault.Denied)
		})
	}
}

func (b *bed) mktree(folder, text string) string {
	b.Helper()
	cmd := exec.Command("git", "mktree")
	cmd.Dir, cmd.Env, cmd.Stdin = b.path(folder), b.env, strings.NewReader(text+"\n")
	out, err := cmd.Output()
	if err != nil {
		b.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

// TestGitCanceled ends a fetch from a server that never answers.
func TestGitCanceled(t *testing.T) {
	b := newBed(t)
	asked, done := make(chan bool, 1), make(chan bool)
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked <- true; <-done }))
	defer server.Close()
	defer close(done)
	ctx, cancel := context.WithCancel(t.Context())
	failed := make(chan error, 1)
	parent := t.TempDir()
	go func() {
		_, err := b.fetcher().Fetch(ctx, server.URL+"/app", source.Options{Ref: strings.Repeat("a", 40)}, filepath.Join(parent, "tree"))
		failed <- err
	}()
	<-asked
	cancel()
	select {
	case err := <-failed:
		if fault.KindOf(err) != fault.Canceled {
			t.Errorf("%v", err)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("it did not end")
	}
	if left, _ := os.ReadDir(parent); len(left) > 0 {
		t.Errorf("it left %v", left)
	}
}
