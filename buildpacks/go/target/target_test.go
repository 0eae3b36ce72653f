package target

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestListReadsTheGoCommand lists the commands of this very module.
func TestListReadsTheGoCommand(t *testing.T) {
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	list := exec.Command("go", "list", "-find", "-f", Format, "./...")
	list.Dir = root
	out, err := list.Output()
	if err != nil {
		t.Fatal(err)
	}
	mains := List(root, string(out))
	var found bool
	for _, m := range mains {
		found = found || m == Main{ImportPath: "plimsoll.dev/plimsoll/buildpacks/procfile", Dir: "procfile"}
		if strings.Contains(m.Dir, "internal") {
			t.Errorf("%v is no main package", m)
		}
	}
	if !found {
		t.Errorf("the command procfile is missing in %v", mains)
	}
}

func TestChoose(t *testing.T) {
	at := func(dirs ...string) []Main {
		var mains []Main
		for _, dir := range dirs {
			mains = append(mains, Main{filepath.Join("example.com/m", dir), dir})
		}
		return mains
	}
	for _, test := range []struct {
		name string
		in   []Main
		want []string
		err  string
	}{
		{"the only one", at("internal/tool"), []string{"internal/tool"}, ""},
		{"the root before all", at(".", "cmd/a", "examples/b"), []string{"."}, ""},
		{"those in cmd", at("cmd/a", "cmd/b", "cmd/b/sub", "examples/c"), []string{"cmd/a", "cmd/b"}, ""},
		{"none", nil, nil, "no main package"},
		{"elsewhere", at("a", "b/c", "d", "e"), nil, `BP_GO_TARGETS, such as "./a ./b/c ./d"`},
	} {
		got, err := Choose(test.in)
		var dirs []string
		for _, m := range got {
			dirs = append(dirs, m.Dir)
		}
		if (err == nil) != (test.err == "") || err != nil && !strings.Contains(err.Error(), test.err) {
			t.Errorf("%s: %v", test.name, err)
		}
		if diff := cmp.Diff(test.want, dirs); diff != "" {
			t.Errorf("%s: %s", test.name, diff)
		}
	}
}

func TestBinaries(t *testing.T) {
	got, err := Binaries([]Main{{ImportPath: "example.com/shop/v2"}, {ImportPath: "example.com/shop/v2/cmd/worker"}, {ImportPath: "v2"}})
	if diff := cmp.Diff([]string{"shop", "worker", "v2"}, got); diff != "" || err != nil {
		t.Error(err, diff)
	}
	if _, err := Binaries([]Main{{ImportPath: "a/cmd/x"}, {ImportPath: "a/tools/x"}}); err == nil {
		t.Error("two binaries of one name were taken")
	}
	if got := Default([]string{"admin", "web"}); got != "web" {
		t.Errorf("the default is %q", got)
	}
	if got := Default([]string{"server", "worker"}); got != "server" {
		t.Errorf("the default is %q", got)
	}
}
