package rooms

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "plimsoll.dev/plimsoll"

func repo(t *testing.T) ([]Room, string) {
	t.Helper()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(filepath.Join(root, "ROOMS"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	rooms, err := Parse(f)
	if err != nil {
		t.Fatalf("ROOMS: %v", err)
	}
	return rooms, root
}

// TestImportsRunDownward holds ROOMS against the imports the go command sees, tests included.
func TestImportsRunDownward(t *testing.T) {
	rooms, root := repo(t)
	list := exec.Command("go", "list", "-json=ImportPath,Imports,TestImports,XTestImports", "./...")
	list.Dir = root
	list.Stderr = os.Stderr
	out, err := list.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := list.Start(); err != nil {
		t.Fatal(err)
	}
	seen := 0
	for dec := json.NewDecoder(out); ; {
		var p struct {
			ImportPath                         string
			Imports, TestImports, XTestImports []string
		}
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		seen++
		from := folder(p.ImportPath)
		for _, imp := range slices.Concat(p.Imports, p.TestImports, p.XTestImports) {
			if imp != module && !strings.HasPrefix(imp, module+"/") {
				continue
			}
			if sentence := Check(rooms, from, folder(imp)); sentence != "" {
				t.Error(sentence)
			}
		}
	}
	if err := list.Wait(); err != nil {
		t.Fatal(err)
	}
	if seen == 0 {
		t.Fatal("go list found no package")
	}
}

func TestEveryRoomExists(t *testing.T) {
	rooms, root := repo(t)
	for i, r := range rooms {
		if _, err := os.Stat(filepath.Join(root, r.Folder)); err != nil {
			t.Errorf("ROOMS names %s, which is not there: drop the line or make the room", r.Folder)
		}
		if i > 0 && r.Floor > rooms[i-1].Floor {
			t.Errorf("%s (F%d) stands below a lower floor: keep ROOMS in flow order, highest floor first", r.Folder, r.Floor)
		}
	}
}

func TestCheckNamesTheCure(t *testing.T) {
	plan, err := Parse(strings.NewReader("F2 high of rooms\nF1 left takes\nF1 right gives\nF0 low nouns\n"))
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct{ name, from, to, want string }{
		{"down is sound", "high", "low", ""},
		{"inside a room is sound", "left/a", "left/b", ""},
		{"up", "low", "left", "upward"},
		{"sideways", "left", "right", "sideways"},
		{"unknown", "high", "attic", "in no room"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := Check(plan, tt.from, tt.to)
			if (tt.want == "") != (got == "") || !strings.Contains(got, tt.want) {
				t.Errorf("Check(%q, %q) = %q, want it to say %q", tt.from, tt.to, got, tt.want)
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	for _, bad := range []string{"F1 lonely", "X1 folder meaning"} {
		if _, err := Parse(strings.NewReader(bad)); err == nil {
			t.Errorf("Parse(%q) passed", bad)
		}
	}
}

func folder(importPath string) string {
	return strings.TrimPrefix(strings.TrimPrefix(importPath, module), "/")
}
