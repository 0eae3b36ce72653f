package source_test

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/source"
	"plimsoll.dev/plimsoll/internal/testbed"
)

func TestDirectoryIgnores(t *testing.T) {
	tests := []struct {
		name    string
		files   map[string]string
		options source.Options
		want    []string
	}{
		{"nested files and negation", map[string]string{
			".gitignore": "*.o\nout/\n", "a.o": "", "keep.o": "", "out/x": "", "d/.gitignore": "!keep.o\n/only\n", "d/keep.o": "", "d/only": "", "d/e/only": "",
		}, source.Options{}, []string{".gitignore", "d/.gitignore", "d/e/only", "d/keep.o"}},
		{"a folder that is out cannot be entered", map[string]string{
			".gitignore": "out/\n!out/x\n", "out/x": "", "a": "",
		}, source.Options{}, []string{".gitignore", "a"}},
		{".plimsollignore outranks and brings back", map[string]string{
			".gitignore": "dist/\n", ".plimsollignore": "!dist/\nsecret*\n", "dist/app.js": "", "secret.key": "", "d/secret": "",
		}, source.Options{}, []string{".gitignore", ".plimsollignore", "dist/app.js"}},
		{".plimsollignore counts at the root alone", map[string]string{
			"d/.plimsollignore": "*\n", "d/a": "",
		}, source.Options{}, []string{"d/.plimsollignore", "d/a"}},
		{"the user's own rules", map[string]string{"a.swp": "", "a": ""}, source.Options{}, []string{"a"}},
		{"include", map[string]string{"src/a": "", "src/test/b": "", "go.mod": "", "README": ""},
			source.Options{Include: []string{"/src/", "!/src/test/", "go.mod"}}, []string{"go.mod", "src/a"}},
		{"exclude outranks all", map[string]string{".plimsollignore": "!a\n", "a": "", "b": "", "d/a": ""},
			source.Options{Exclude: []string{"/a"}}, []string{".plimsollignore", "b", "d/a"}},
		{"git's folder and empty ones", map[string]string{".git/config": "", "sub/.git": "gitdir: x", "sub/a": "", "empty/.git/x": ""}, source.Options{}, []string{"sub/a"}},
		{"a sub-path", map[string]string{".gitignore": "*.o\n", "d/e/a": "", "d/b": "", "c": ""}, source.Options{Subpath: "d"}, []string{"b", "e/a"}},
		{"a link to a file that is left out", map[string]string{".gitignore": "x\n", "x": "", "l": "->x"}, source.Options{}, []string{".gitignore", "l"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := newBed(t)
			b.write("home/.config/git/ignore", "*.swp\n")
			b.files("src", tt.files)
			_, files := b.fetch(b.fetcher(), b.path("src"), tt.options)
			if diff := cmp.Diff(tt.want, names(files)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestDirectoryTakesWhatGitLists compares with git ls-files on random trees and rules.
func TestDirectoryTakesWhatGitLists(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	pick := func(from ...string) string { return from[random.IntN(len(from))] }
	left := 0
	for range 25 {
		b := newBed(t)
		for range 60 {
			name := pick("a", "b", "c")
			for range random.IntN(4) {
				name += pick("/", "") + pick("a", "b", "c", ".x", "d")
			}
			if info, err := os.Lstat(b.path("src/" + name)); err == nil && info.IsDir() || blocked(b.path("src"), name) {
				continue
			}
			b.write("src/"+name, name)
		}
		for _, folder := range []string{".", pick("a", "b", "c"), pick("a/a", "b/b", "a/b")} {
			if info, err := os.Stat(b.path("src/" + folder)); err == nil && info.IsDir() {
				b.write("src/"+folder+"/.gitignore", rulesOf(pick))
			}
		}
		b.run("src", "git", "init", "-q")
		b.write("src/.git/info/exclude", pick("a*c\n", "/b\n", "!a\n", ""))
		b.write("home/.config/git/ignore", pick("ab\n", "d\n", ""))
		if random.IntN(2) == 0 { // some of what is ignored is tracked
			b.run("src", "git", "add", "-f", "a*")
			b.commit("src")
		}
		want := strings.Split(strings.TrimSuffix(b.run("src", "git", "-c", "core.quotePath=false", "ls-files", "-z", "-c", "-o", "--exclude-standard"), "\x00"), "\x00")
		if want[0] == "" {
			continue
		}
		_, files := b.fetch(b.fetcher(), b.path("src"), source.Options{})
		if diff := cmp.Diff(want, names(files), sorted); diff != "" {
			t.Fatalf("seed %d: %s", seed, diff)
		}
		left += len(names(b.all("src"))) - len(files)
	}
	if left == 0 {
		t.Error("no rule left anything out: the comparison shows nothing")
	}
}

var sorted = cmp.Transformer("sort", func(in []string) map[string]bool {
	out := map[string]bool{}
	for _, name := range in {
		out[name] = true
	}
	return out
})

// blocked tells that a file stands where the name needs a folder.
func blocked(dir, name string) bool {
	for at := filepath.Dir(name); at != "."; at = filepath.Dir(at) {
		if info, err := os.Lstat(filepath.Join(dir, at)); err == nil && !info.IsDir() {
			return true
		}
	}
	return false
}

func rulesOf(pick func(...string) string) string {
	var text strings.Builder
	for range 5 {
		fmt.Fprintln(&text, pick("", "!")+pick("", "/", "**/")+pick("a", "b", "*", "?", "[ab]", "a*")+pick("", "", "/", "/b", "/**", "/*"))
	}
	return text.String()
}

// all gives every file below a folder but git's.
func (b *bed) all(folder string) map[string]string {
	files := map[string]string{}
	_ = filepath.WalkDir(b.path(folder), func(at string, d os.DirEntry, err error) error {
		if err == nil && d.Name() == ".git" {
			return filepath.SkipDir
		}
		if err == nil && !d.IsDir() {
			files[at] = ""
		}
		return err
	})
	return files
}

func TestDirectoryOfAWorkTree(t *testing.T) {
	b := newBed(t)
	b.repository("src", map[string]string{".gitignore": "*.log\ntracked.log\n", "svc/a": "1", "b": "2", "svc/tracked.log": ""})
	b.run("src", "git", "add", "-f", "svc/tracked.log")
	commit := b.commit("src")
	b.run("src", "git", "remote", "add", "origin", "https://ann:secret@git.example/team/app.git")
	b.write("src/svc/new.log", "left out")
	svc, files := b.fetch(b.fetcher(), b.path("src/svc"), source.Options{})
	if diff := cmp.Diff([]string{"a", "tracked.log"}, names(files)); diff != "" {
		t.Error(diff)
	}
	if svc.Subpath != "svc" || svc.Revision != commit || !svc.Clean || svc.Origin != "https://git.example/team/app.git" || svc.URL() != svc.Origin {
		t.Errorf("got %+v", svc)
	}
	tests := []struct {
		name string
		do   func()
		want bool
	}{
		{"a new file", func() { b.write("src/svc/new", "") }, false},
		{"gone again", func() { os.Remove(b.path("src/svc/new")) }, true},
		{"a change elsewhere", func() { b.write("src/b", "3") }, true},
		{"a change", func() { b.write("src/svc/a", "x") }, false},
		{"undone", func() { b.write("src/svc/a", "1") }, true},
		{"an ignored file brought back", func() { b.write("src/svc/.plimsollignore", "!*.log\n"); b.commit("src") }, false},
	}
	for _, tt := range tests {
		tt.do()
		if s, _ := b.fetch(b.fetcher(), b.path("src/svc"), source.Options{}); s.Clean != tt.want {
			t.Errorf("%s: clean is %v", tt.name, s.Clean)
		}
	}
	b.files("src/svc/out", map[string]string{"x": ""})
	b.write("src/.gitignore", "out\n")
	if s, _ := b.fetch(b.fetcher(), b.path("src/svc/out"), source.Options{}); s.Revision != "" || s.Clean {
		t.Errorf("a folder that git does not know: %+v", s)
	}
}

// TestDirectoryRunsNothing unpacks a stranger's repository whose configuration names
// commands for git to run.
func TestDirectoryRunsNothing(t *testing.T) {
	b := newBed(t)
	b.repository("src", map[string]string{".gitattributes": "* filter=evil\n", "a": "1"})
	marker := b.path("ran")
	for _, name := range []string{"filter.evil.clean", "filter.evil.smudge", "core.fsmonitor", "core.sshCommand", "gpg.program", "diff.external", "core.pager"} {
		b.run("src", "git", "config", name, "touch "+marker+"; cat #")
	}
	b.run("src", "git", "config", "log.showSignature", "true")
	b.write("src/.git/hooks/post-index-change", "#!/bin/sh\ntouch "+marker+"\n")
	if err := os.Chmod(b.path("src/.git/hooks/post-index-change"), 0o755); err != nil {
		t.Fatal(err)
	}
	b.write("src/a", "2") // so that git must look into it
	if s, _ := b.fetch(b.fetcher(), b.path("src"), source.Options{}); s.Clean || s.Revision == "" {
		t.Errorf("got %+v", s)
	}
	if _, err := os.Stat(marker); err == nil {
		t.Error("a command of the repository ran")
	}
	b.run("src", "git", "status") // the trap is a real one
	if _, err := os.Stat(marker); err != nil {
		t.Error("git status did not run it either: the test shows nothing")
	}
}

func TestDirectoryWithSubmodules(t *testing.T) {
	b := newBed(t)
	b.repository("lib", map[string]string{".gitignore": "*.o\n", "lib.c": "1"})
	b.repository("src", map[string]string{"main.c": "1"})
	b.run("src", "git", "submodule", "--quiet", "add", "file://"+b.path("lib"), "deps/lib")
	b.commit("src")
	b.write("src/deps/lib/x.o", "")
	s, files := b.fetch(b.fetcher(), b.path("src"), source.Options{})
	if diff := cmp.Diff([]string{".gitmodules", "deps/lib/.gitignore", "deps/lib/lib.c", "main.c"}, names(files)); diff != "" || !s.Clean {
		t.Errorf("clean %v, %s", s.Clean, diff)
	}
	b.write("src/deps/lib/lib.c", "2")
	if s, _ := b.fetch(b.fetcher(), b.path("src"), source.Options{}); s.Clean {
		t.Error("a changed submodule is clean")
	}
}

func TestDirectoryRefuses(t *testing.T) {
	b := newBed(t)
	b.write("outside", "secret")
	tests := []struct {
		name  string
		files map[string]string
		word  string
	}{
		{"a link to the outside", map[string]string{"d/l": "->../../outside"}, `"d/l"`},
		{"a link to all", map[string]string{"l": "->/"}, `"l"`},
		{"a link by another", map[string]string{"d/e/x": "", "up": "->d/e", "d/e/l": "->../../up/../../../outside"}, "leads out"},
		{"a link through what is missing", map[string]string{"a": "", "l": "->gone/../../x"}, `"l"`},
		{"a name with a line end", map[string]string{"a\nb": ""}, `"a\nb"`},
		{"a name that is not UTF-8", map[string]string{"a\xff": ""}, "UTF-8"},
		{"git's folder in disguise", map[string]string{"d/.GIT/config": ""}, "d/.GIT"},
		{"nothing", map[string]string{".git/a": ""}, "no files"},
	}
	for i, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := &bed{T: t, dir: b.dir, env: b.env}
			folder := fmt.Sprintf("src%d", i)
			b.files(folder, tt.files)
			kind := fault.Denied
			if tt.name == "nothing" {
				kind = fault.Usage
			}
			b.refused(b.fetcher(), b.path(folder), source.Options{}, kind, tt.word)
		})
	}
	t.Run("a pipe", func(t *testing.T) {
		b := &bed{T: t, dir: b.dir, env: b.env}
		b.write("pipes/a", "")
		if err := syscall.Mkfifo(b.path("pipes/p"), 0o644); err != nil {
			t.Fatal(err)
		}
		b.refused(b.fetcher(), b.path("pipes"), source.Options{}, fault.Denied, `"p"`, "a pipe")
		b.write("pipes/.plimsollignore", "p\n")
		b.fetch(b.fetcher(), b.path("pipes"), source.Options{})
	})
	t.Run("a socket", func(t *testing.T) {
		b := &bed{T: t, dir: b.dir, env: b.env}
		b.write("s/a", "")
		l, err := net.Listen("unix", b.path("s/s"))
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		b.refused(b.fetcher(), b.path("s"), source.Options{}, fault.Denied, `"s"`, "a socket")
	})
	b.refused(b.fetcher(), b.path("nowhere"), source.Options{}, fault.NotFound, "nowhere")
	b.refused(b.fetcher(), "/dev/null", source.Options{}, fault.Usage, "/dev/null")
	b.files("many", map[string]string{"a": "12345", "b": "12345", "c/d/e": ""})
	b.refused(b.fetcher(), b.path("many"), source.Options{Limits: source.Limits{Bytes: 9}}, fault.Denied, "larger than")
	b.refused(b.fetcher(), b.path("many"), source.Options{Limits: source.Limits{Entries: 2}}, fault.Denied, "files allowed")
	b.refused(b.fetcher(), b.path("many"), source.Options{Limits: source.Limits{Depth: 2}}, fault.Denied, "deeper")
	b.refused(b.fetcher(), b.path("many"), source.Options{Subpath: "c/none"}, fault.NotFound, "c/none")
	b.refused(b.fetcher(), b.path("many"), source.Options{Subpath: "../many"}, fault.Usage, "leads out")
}

// TestDirectoryKeepsInnerLinks has links of every kind that stay inside.
func TestDirectoryKeepsInnerLinks(t *testing.T) {
	b := newBed(t)
	files := map[string]string{"d/e/f": "", "a": "->d/e", "d/up": "->../a/f", "gone": "->d/none", "self": "->self", "d/top": "->..", "d/e/far": "->../top/d/e/f"}
	b.files("src", files)
	if _, got := b.fetch(b.fetcher(), b.path("src"), source.Options{}); cmp.Diff(files, got) != "" {
		t.Error(cmp.Diff(files, got))
	}
}

// TestDirectoryThatHoldsItsCopy fetches a directory to a place within it.
func TestDirectoryThatHoldsItsCopy(t *testing.T) {
	b := newBed(t)
	b.files("src", map[string]string{"a": "", "d/b": ""})
	if _, err := b.fetcher().Fetch(t.Context(), b.path("src"), source.Options{}, b.path("src/d/copy")); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"a", "d/b"}, names(b.read(b.path("src/d/copy")))); diff != "" {
		t.Error(diff)
	}
	if _, err := b.fetcher().Fetch(t.Context(), b.path("src/a"), source.Options{}, b.path("src/d/copy")); fault.KindOf(err) != fault.Usage {
		t.Errorf("a folder that exists: %v", err)
	}
}

// BenchmarkDirectory copies 5,000 files beside cp -a, which neither hashes nor chooses.
func BenchmarkDirectory(b *testing.B) {
	testbed.Tool(b, "cp")
	src := b.TempDir()
	for i := range 5000 {
		at := filepath.Join(src, fmt.Sprintf("pkg%d/sub%d", i%50, i%10), fmt.Sprintf("file%d.go", i))
		if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
			b.Fatal(err)
		}
		if err := os.WriteFile(at, []byte(strings.Repeat("x", 500+i*7%20000)), 0o644); err != nil {
			b.Fatal(err)
		}
	}
	f := &source.Fetcher{}
	b.Run("fetch", func(b *testing.B) {
		for b.Loop() {
			if _, err := f.Fetch(b.Context(), src, source.Options{}, filepath.Join(b.TempDir(), "tree")); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("cp -a", func(b *testing.B) {
		for b.Loop() {
			if out, err := exec.Command("cp", "-a", src, filepath.Join(b.TempDir(), "tree")).CombinedOutput(); err != nil {
				b.Fatalf("%v: %s", err, out)
			}
		}
	})
}
