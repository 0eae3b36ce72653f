package ignore_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"plimsoll.dev/plimsoll/internal/ignore"
	"plimsoll.dev/plimsoll/internal/testbed"
)

func TestMatch(t *testing.T) {
	tests := []struct {
		text, path string
		folder     bool
		want       ignore.Verdict
	}{
		{"", "a", false, ignore.Silent},
		{"*.o", "deep/a.o", false, ignore.Ignored},
		{"*.o\n!keep.o", "deep/keep.o", false, ignore.Kept},
		{"build/", "build", false, ignore.Silent},
		{"build/", "x/build", true, ignore.Ignored},
		{"/build", "x/build", true, ignore.Silent},
		{"a/**/b", "a/b", false, ignore.Ignored},
		{"a/**/b", "a/x/y/b", false, ignore.Ignored},
		{"a/**", "a", true, ignore.Silent},
		{"*/b", "a/x/b", false, ignore.Silent},
		{"\\#a\r\n", "#a", false, ignore.Ignored},
		{"# a", "# a", false, ignore.Silent},
		{"a \\ ", "a  ", false, ignore.Ignored},
		{"a  ", "a", false, ignore.Ignored},
		{"[!0-9].dat", "x.dat", false, ignore.Ignored},
		{"[!0-9].dat", "7.dat", false, ignore.Silent},
		{"[[:digit:]]", "7", false, ignore.Ignored},
		{"[a", "[a", false, ignore.Silent},
		{"\ufeffa", "a", false, ignore.Ignored},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprintf("%q on %q", tt.text, tt.path), func(t *testing.T) {
			if got := ignore.Parse(tt.text).Match(tt.path, tt.folder); got != tt.want {
				t.Errorf("verdict %d, want %d", got, tt.want)
			}
		})
	}
}

func TestWithin(t *testing.T) {
	l := ignore.Lines([]string{"/src", "!/src/test"})
	for path, want := range map[string]ignore.Verdict{
		"src": ignore.Ignored, "src/a/b": ignore.Ignored, "src/test/x": ignore.Kept, "other": ignore.Silent,
	} {
		if got := l.Within(path); got != want {
			t.Errorf("Within(%q) = %d, want %d", path, got, want)
		}
	}
}

// letters are few, so that random patterns meet random paths often.
var letters = []string{"a", "b", "*", "**", "?", "/", "[ab]", "[!a]", "[a-b", "]", "\\", "!", " ", "#", "[[:alpha:]]", "[:a]", "/**/", "**/", ".", "-", "[b-a]", "[]a]", "[a-]", "[\\]]"}

// TestMatchIsGits compares with git check-ignore on random patterns and paths.
func TestMatchIsGits(t *testing.T) {
	git := testbed.Tool(t, "git")
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	dir := t.TempDir()
	run(t, exec.Command(git, "init", "-q", dir))
	var paths []string
	for range 150 {
		parts := make([]string, 1+random.IntN(4))
		for i := range parts {
			for range 1 + random.IntN(3) {
				parts[i] += []string{"a", "b", "]", "-", "#", "[", "\\", "!"}[min(random.IntN(14), 7)%8]
			}
		}
		paths = append(paths, strings.Join(parts, "/"))
	}
	hits := 0
	for range 400 {
		var text strings.Builder
		for range 1 + random.IntN(6) {
			text.WriteString(letters[random.IntN(len(letters))])
		}
		hits += compare(t, git, dir, text.String(), paths)
	}
	if hits == 0 {
		t.Error("no pattern matched anything: the comparison shows nothing")
	}
}

// compare holds one pattern against git's opinion of all paths, none of which is there, so
// that none is a folder. It gives how many matched.
func compare(t *testing.T, git, dir, pattern string, paths []string) (hits int) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, ".gitignore"), []byte(pattern), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(git, "-C", dir, "check-ignore", "--no-index", "--stdin", "-z", "-v", "-n")
	cmd.Stdin = strings.NewReader(strings.Join(paths, "\x00"))
	out, err := cmd.Output()
	if err != nil && cmd.ProcessState.ExitCode() != 1 { // 1: no path is ignored
		t.Fatalf("git check-ignore: %v", err)
	}
	list := ignore.Parse(pattern)
	fields := strings.Split(strings.TrimSuffix(string(out), "\x00"), "\x00")
	for ; len(fields) >= 4; fields = fields[4:] {
		want, path := ignore.Silent, fields[3]
		switch found := fields[2]; {
		case strings.HasPrefix(found, "!"):
			want = ignore.Kept
		case found != "":
			want = ignore.Ignored
		}
		if got := outermost(list, path); got != want {
			t.Errorf("pattern %q on %q: verdict %d, git's is %d", pattern, path, got, want)
		}
		if want != ignore.Silent {
			hits++
		}
	}
	return hits
}

// outermost is what check-ignore tells: the verdict on the first folder of the path that is
// ignored, or on the path.
func outermost(list ignore.List, path string) ignore.Verdict {
	for i, c := range path {
		if c == '/' && list.Match(path[:i], true) == ignore.Ignored {
			return ignore.Ignored
		}
	}
	return list.Match(path, false)
}

func run(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v: %s", cmd.Args, err, out)
	}
}

// FuzzMatch looks for a pattern that panics, or that is slow: every match is linear.
func FuzzMatch(f *testing.F) {
	for _, l := range letters {
		f.Add(l+"a", "a/b")
	}
	f.Add(strings.Repeat("*a", 60)+"b", strings.Repeat("a", 1000))
	f.Add(strings.Repeat("**/", 60), strings.Repeat("a/", 100)+"b")
	f.Fuzz(func(t *testing.T, text, path string) {
		list := ignore.Parse(text)
		if list.Match(path, true) == ignore.Silent && list.Match(path, false) != ignore.Silent {
			t.Errorf("%q matches the file %q, but not the folder", text, path)
		}
		if diff := cmp.Diff(ignore.Parse(text+"\n").Match(path, false), list.Match(path, false)); diff != "" {
			t.Errorf("a line end changes the verdict: %s", diff)
		}
	})
}
