package source_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/source"
	"plimsoll.dev/plimsoll/internal/testbed"
)

// bed is a folder of a test's own, and an environment in which git has no configuration but
// what the test gives it.
type bed struct {
	*testing.T
	dir string
	env []string
}

func newBed(t *testing.T) *bed {
	t.Helper()
	testbed.Tool(t, "git")
	dir := t.TempDir()
	b := &bed{T: t, dir: dir, env: []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + filepath.Join(dir, "home"), "GIT_CONFIG_NOSYSTEM=1",
		"GIT_AUTHOR_NAME=Ann", "GIT_AUTHOR_EMAIL=ann@example.com", "GIT_COMMITTER_NAME=Ann", "GIT_COMMITTER_EMAIL=ann@example.com",
		"GIT_AUTHOR_DATE=2026-01-02T03:04:05Z", "GIT_COMMITTER_DATE=2026-01-02T03:04:05Z",
	}}
	b.write("home/.gitconfig", "[init]\n\tdefaultBranch = main\n[protocol \"file\"]\n\tallow = always\n")
	return b
}

func (b *bed) path(name string) string { return filepath.Join(b.dir, name) }

func (b *bed) write(name, text string) {
	b.Helper()
	at := b.path(name)
	if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
		b.Fatal(err)
	}
	if err := os.WriteFile(at, []byte(text), 0o644); err != nil {
		b.Fatal(err)
	}
}

// files writes files below a folder: text by name; "->" begins a link's target, "#!" a
// program.
func (b *bed) files(folder string, files map[string]string) {
	b.Helper()
	for name, text := range files {
		at := filepath.Join(folder, name)
		target, isLink := strings.CutPrefix(text, "->")
		if !isLink {
			b.write(at, text)
		}
		if strings.HasPrefix(text, "#!") {
			if err := os.Chmod(b.path(at), 0o755); err != nil {
				b.Fatal(err)
			}
		}
		if isLink {
			if err := os.MkdirAll(filepath.Dir(b.path(at)), 0o755); err != nil {
				b.Fatal(err)
			}
			if err := os.Symlink(target, b.path(at)); err != nil {
				b.Fatal(err)
			}
		}
	}
}

// run runs a program in a folder and gives what it prints.
func (b *bed) run(folder, program string, arguments ...string) string {
	b.Helper()
	cmd := exec.Command(testbed.Tool(b, program), arguments...)
	cmd.Dir, cmd.Env = b.path(folder), b.env
	out, err := cmd.CombinedOutput()
	if err != nil {
		b.Fatalf("%v: %v: %s", cmd.Args, err, out)
	}
	return strings.TrimSpace(string(out))
}

// repository makes a repository with one commit.
func (b *bed) repository(folder string, files map[string]string) (commit string) {
	b.Helper()
	b.files(folder, files)
	b.run(folder, "git", "init", "-q")
	return b.commit(folder)
}

func (b *bed) commit(folder string) string {
	b.Helper()
	b.run(folder, "git", "add", "-A")
	b.run(folder, "git", "commit", "-q", "-m", "a change")
	return b.run(folder, "git", "rev-parse", "HEAD")
}

func (b *bed) fetcher() *source.Fetcher { return &source.Fetcher{Env: b.env} }

// fetch fetches into a new folder and gives it as text by name, as files takes it.
func (b *bed) fetch(f *source.Fetcher, location string, o source.Options) (artifact.Source, map[string]string) {
	b.Helper()
	dir := filepath.Join(b.TempDir(), "tree")
	s, err := f.Fetch(b.Context(), location, o, dir)
	if err != nil {
		b.Fatalf("%v (hint: %s)", err, fault.HintOf(err))
	}
	return s, b.read(dir)
}

// read gives the files of a folder, having checked what must hold of each.
func (b *bed) read(dir string) map[string]string {
	b.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(dir, func(at string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := os.Lstat(at)
		if err != nil {
			return err
		}
		if got := info.ModTime().Unix(); got != 315532801 {
			b.Errorf("%s is of %v", at, info.ModTime())
		}
		name, _ := filepath.Rel(dir, at)
		switch mode := info.Mode(); {
		case mode.IsDir():
			if mode != os.ModeDir|0o755 {
				b.Errorf("%s has mode %v", at, mode)
			}
		case mode&os.ModeSymlink != 0:
			target, err := os.Readlink(at)
			files[name] = "->" + target
			return err
		case mode == 0o644 || mode == 0o755:
			text, err := os.ReadFile(at)
			files[name] = string(text)
			if mode == 0o755 && !strings.HasPrefix(files[name], "#!") {
				b.Errorf("%s is a program", at)
			}
			return err
		default:
			b.Errorf("%s has mode %v", at, mode)
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
	return files
}

// refused fetches what must be refused with that kind and words, and leaves nothing.
func (b *bed) refused(f *source.Fetcher, location string, o source.Options, kind fault.Kind, words ...string) {
	b.Helper()
	parent := b.TempDir()
	_, err := f.Fetch(b.Context(), location, o, filepath.Join(parent, "tree"))
	if err == nil {
		b.Fatalf("%s passed", location)
	}
	if fault.KindOf(err) != kind {
		b.Errorf("kind %d, want %d: %v", fault.KindOf(err), kind, err)
	}
	for _, word := range words {
		if !strings.Contains(err.Error(), word) {
			b.Errorf("%q does not say %q", err, word)
		}
	}
	if left, err := os.ReadDir(parent); err != nil || len(left) > 0 {
		b.Errorf("it left %v, %v", left, err)
	}
}

func names(files map[string]string) []string {
	var out []string
	for name := range files {
		out = append(out, name)
	}
	slices.Sort(out)
	return out
}

var app = map[string]string{
	"go.mod": "module app\n", "main.go": "package main\n", "bin/run": "#!/bin/sh\n", "web/index.html": "<p>hello</p>\n", "current": "->web/index.html",
}

// TestOneDigest fetches the same tree in every form: it is one and the same source.
func TestOneDigest(t *testing.T) {
	b := newBed(t)
	commit := b.repository("app", app)
	b.run("app", "git", "archive", "--format=tar.gz", "--prefix=app-1.0/", "-o", "../app.tar.gz", "HEAD")
	b.run(".", "zip", "-q", "-r", "-y", "app.zip", "app", "-x", "app/.git/*")
	b.run(".", "tar", "-cf", "app.tar", "-C", "app", ".")
	b.run(".", "tar", "-caf", "app.tar.zst", "app")
	b.run(".", "tar", "-cJf", "app.tar.xz", "app")
	want, files := b.fetch(b.fetcher(), b.path("app"), source.Options{})
	if diff := cmp.Diff(app, files); diff != "" {
		t.Error(diff)
	}
	if want.Revision != commit || !want.Clean || want.Ref != "main" || want.Time.Format("2006-01-02") != "2026-01-02" {
		t.Errorf("of the work tree it says %+v", want)
	}
	for _, location := range []string{
		"file://" + b.path("app"), "file://" + b.path("app") + "#main", "file://" + b.path("app") + "#" + commit, "file://" + b.path("app") + "#" + commit[:9],
		b.path("app.tar.gz"), b.path("app.zip"), b.path("app.tar"), b.path("app.tar.zst"), b.path("app.tar.xz"),
	} {
		got, files := b.fetch(b.fetcher(), location, source.Options{})
		if diff := cmp.Diff(app, files); diff != "" {
			t.Errorf("%s: %s", location, diff)
		}
		if got.Digest != want.Digest {
			t.Errorf("%s has the digest %s, the directory %s", location, got.Digest, want.Digest)
		}
		if got.Kind == artifact.GitSource && (got.Revision != commit || !got.Time.Equal(want.Time)) {
			t.Errorf("%s gives %+v", location, got)
		}
	}
	if got := shellDigest(b, b.path("app")); got != want.Digest {
		t.Errorf("the shell of docs/sources.md makes %s, we %s", got, want.Digest)
	}
}

// shellDigest runs the recipe of docs/sources.md.
func shellDigest(b *bed, dir string) string {
	b.Helper()
	text, err := os.ReadFile("../../docs/sources.md")
	if err != nil {
		b.Fatal(err)
	}
	_, recipe, _ := strings.Cut(string(text), "```sh\n")
	recipe, _, _ = strings.Cut(recipe, "```")
	cmd := exec.Command("bash", "-c", recipe)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		b.Fatalf("%v: %s", err, out)
	}
	return "sha256:" + strings.Fields(string(out))[0]
}

func TestCanceledLeavesNothing(t *testing.T) {
	b := newBed(t)
	b.repository("app", app)
	ctx, cancel := context.WithCancel(t.Context())
	f := b.fetcher()
	f.Progress = func(stage string, done, total int) { cancel() }
	for _, location := range []string{b.path("app"), "file://" + b.path("app")} {
		parent := t.TempDir()
		_, err := f.Fetch(ctx, location, source.Options{}, filepath.Join(parent, "tree"))
		if fault.KindOf(err) != fault.Canceled {
			t.Errorf("%s: %v", location, err)
		}
		if left, _ := os.ReadDir(parent); len(left) > 0 {
			t.Errorf("%s left %v", location, left)
		}
	}
}
