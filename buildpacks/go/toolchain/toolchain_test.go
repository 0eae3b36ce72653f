package toolchain

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestRead(t *testing.T) {
	for _, test := range []struct {
		name, file, text string
		want             Wants
	}{
		{"only a go line", "go.mod", "module a\ngo 1.22\n", Wants{"go1.22", []string{"."}}},
		{"neither line", "go.mod", "module a\n", Wants{"", []string{"."}}},
		{"a newer toolchain", "go.mod", "module a\ngo 1.22.0\ntoolchain go1.25.3\n", Wants{"go1.25.3", []string{"."}}},
		{"an older toolchain", "go.mod", "module a\ngo 1.25.3\ntoolchain go1.25.1\n", Wants{"go1.25.3", []string{"."}}},
		{"the default toolchain", "go.mod", "module a\ngo 1.22.0\ntoolchain default\n", Wants{"go1.22.0", []string{"."}}},
		{"a release candidate", "go.mod", "module a\ngo 1.26rc1\n", Wants{"go1.26rc1", []string{"."}}},
		{"a directive of tomorrow", "go.mod", "module a\ngo 1.99.0\ntomorrow x\n", Wants{"go1.99.0", []string{"."}}},
		{"a workspace", "go.work", "go 1.24.0\nuse ./a\nuse (\n\tb/c\n\t.\n)\n", Wants{"go1.24.0", []string{"a", "b/c", "."}}},
	} {
		got, err := Read(test.file, []byte(test.text))
		if err != nil {
			t.Errorf("%s: %v", test.name, err)
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s: %s", test.name, diff)
		}
	}
	if _, err := Read("go.mod", []byte("module \"a\ngo")); err == nil {
		t.Error("a broken go.mod was read")
	}
}

func TestChoose(t *testing.T) {
	const own = "go1.24.4"
	for _, test := range []struct{ name, wanted, asked, want, err string }{
		{"nothing wanted", "", "", own, ""},
		{"an older one wanted", "go1.22", "", own, ""},
		{"the language of the own one", "go1.24", "", own, ""},
		{"a newer patch", "go1.24.5", "", "go1.24.5", ""},
		{"a newer release", "go1.26rc1", "", "go1.26rc1", ""},
		{"a newer language", "go1.26", "", "go1.26.0", ""},
		{"the user asks for a newer one", "go1.22", "1.26.1", "go1.26.1", ""},
		{"the user asks for an older one", "go1.22", "1.22.7", "go1.22.7", ""},
		{"the user asks for too old a one", "go1.23.0", "1.22.7", "", "the module wants go1.23.0"},
		{"the user names a language", "", "1.26", "", "all its numbers"},
		{"the user names nonsense", "", "latest", "", "all its numbers"},
	} {
		got, err := Choose(own, test.wanted, test.asked)
		if got != test.want || (err == nil) != (test.err == "") || err != nil && !strings.Contains(err.Error(), test.err) {
			t.Errorf("%s: got %q, %v", test.name, got, err)
		}
	}
}

func TestOwnIsARelease(t *testing.T) {
	own, err := Own()
	if err != nil {
		t.Fatal(err)
	}
	if got, err := Choose(own, "go1.18", ""); err != nil || got != own || !strings.HasPrefix(own, "go1.") {
		t.Errorf("got %q, %q, %v", own, got, err)
	}
}

// TestTrim trims a folder that is as read-only as the module cache makes it.
func TestTrim(t *testing.T) {
	root := t.TempDir()
	stay := []string{"VERSION", "bin/go", "pkg/include/textflag.h", "pkg/tool/linux_amd64/compile", "src/fmt/print.go"}
	leave := []string{"api/go1.txt", "bin/gofmt", "pkg/tool/linux_amd64/vet", "src/cmd/go/main.go", "src/fmt/fmt_test.go", "src/fmt/testdata/x"}
	for _, name := range append(stay, leave...) {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, 0o444); err != nil {
			t.Fatal(err)
		}
	}
	for _, folder := range []string{"src/fmt", "src/cmd/go", "bin"} {
		if err := os.Chmod(filepath.Join(root, folder), 0o555); err != nil {
			t.Fatal(err)
		}
	}
	if err := trim(root); err != nil {
		t.Fatal(err)
	}
	for _, name := range stay {
		if _, err := os.Stat(filepath.Join(root, name)); err != nil {
			t.Error(err)
		}
	}
	for _, name := range leave {
		if _, err := os.Stat(filepath.Join(root, name)); err == nil {
			t.Errorf("%s is still there", name)
		}
	}
	if info, err := os.Stat(filepath.Join(root, "src/fmt")); err != nil || info.Mode().Perm() != 0o755 {
		t.Errorf("its folders cannot be removed: %v %v", info, err)
	}
}

func FuzzRead(f *testing.F) {
	f.Add("module a\ngo 1.22\ntoolchain go1.25.3\n", false)
	f.Add("go 1.24.0\nuse ./a\n", true)
	f.Add("module \"", false)
	f.Fuzz(func(t *testing.T, text string, workspace bool) {
		name := "go.mod"
		if workspace {
			name = "go.work"
		}
		wants, err := Read(name, []byte(text))
		if err == nil {
			_, _ = Choose("go1.24.4", wants.Release, "")
		}
	})
}
