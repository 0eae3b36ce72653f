package binding

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/buildpacks/libcnb"
	"github.com/google/go-cmp/cmp"
)

// read makes folders of bindings and reads them as a build does.
func read(t *testing.T, bindings map[string]map[string]string) (string, libcnb.Bindings) {
	t.Helper()
	root := t.TempDir()
	for name, files := range bindings {
		for file, text := range files {
			path := filepath.Join(root, name, file)
			if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	all, err := libcnb.NewBindingsFromPath(root)
	if err != nil {
		t.Fatal(err)
	}
	return root, all
}

func TestFile(t *testing.T) {
	for _, test := range []struct {
		name       string
		bindings   map[string]map[string]string
		want, fail string
	}{
		{name: "none"},
		{name: "of another type", bindings: map[string]map[string]string{"a": {"type": "netrc", ".npmrc": ""}}},
		{name: "its name begins with a dot", bindings: map[string]map[string]string{"a": {"type": "NPMrc", ".npmrc": ""}}, want: "a/.npmrc"},
		{name: "without the file", bindings: map[string]map[string]string{"a": {"type": "npmrc", "npmrc": ""}}, fail: "binding a of type npmrc has no .npmrc"},
		{
			name:     "two",
			bindings: map[string]map[string]string{"a": {"type": "npmrc", ".npmrc": ""}, "b": {"type": "npmrc", ".npmrc": ""}},
			fail:     "there are 2 bindings of type npmrc",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			root, bindings := read(t, test.bindings)
			got, err := File(bindings, "npmrc", ".npmrc")
			if (err == nil) != (test.fail == "") || err != nil && !strings.Contains(err.Error(), test.fail) {
				t.Fatalf("error %v, want %q", err, test.fail)
			}
			if got != "" {
				got = strings.TrimPrefix(got, root+"/")
			}
			if got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func TestNetrc(t *testing.T) {
	for _, test := range []struct {
		name       string
		bindings   map[string]map[string]string
		want, fail string
	}{
		{name: "none"},
		{
			name:     "of two bindings",
			bindings: map[string]map[string]string{"a": {"type": "netrc", ".netrc": "machine a"}, "b": {"type": "NetRC", ".netrc": "machine b\n"}},
			want:     "machine a\nmachine b\n\n",
		},
		{name: "without its file", bindings: map[string]map[string]string{"a": {"type": "netrc", "netrc": "machine a"}}, fail: "binding a of type netrc has no .netrc"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, bindings := read(t, test.bindings)
			home := t.TempDir()
			err := Netrc(bindings, home)
			if (err == nil) != (test.fail == "") || err != nil && !strings.Contains(err.Error(), test.fail) {
				t.Fatalf("error %v, want %q", err, test.fail)
			}
			text, err := os.ReadFile(filepath.Join(home, ".netrc"))
			if err != nil && !os.IsNotExist(err) {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, string(text)); diff != "" {
				t.Error(diff)
			}
		})
	}
}
