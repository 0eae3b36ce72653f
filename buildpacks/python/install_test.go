package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/buildpacks/libcnb"
	"github.com/google/go-cmp/cmp"
)

// TestCredentials reads bindings from folders, as a build does.
func TestCredentials(t *testing.T) {
	tests := []struct {
		name         string
		bindings     map[string]map[string]string // by name: files
		env          []string                     // with $ROOT for the folder of all bindings
		netrc, fails string
	}{
		{name: "none"},
		{
			name:     "netrc of two bindings",
			bindings: map[string]map[string]string{"a": {"type": "netrc", ".netrc": "machine a"}, "b": {"type": "NetRC", ".netrc": "machine b"}},
			netrc:    "machine a\nmachine b\n",
		},
		{
			name:     "pip",
			bindings: map[string]map[string]string{"index": {"type": "pip", "pip.conf": "[global]"}},
			env:      []string{"PIP_CONFIG_FILE=$ROOT/index/pip.conf"},
		},
		{
			name:     "netrc without its file",
			bindings: map[string]map[string]string{"a": {"type": "netrc", "netrc": "machine a"}},
			fails:    "binding a of type netrc has no .netrc",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			root, home := t.TempDir(), t.TempDir()
			for name, files := range tt.bindings {
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
			bindings, err := libcnb.NewBindingsFromPath(root)
			if err != nil {
				t.Fatal(err)
			}
			here := func(s string) string {
				return os.Expand(s, func(string) string { return root })
			}
			env, err := credentials(home, bindings)
			if (err == nil) != (tt.fails == "") || err != nil && err.Error() != here(tt.fails) {
				t.Fatalf("error %v, want %q", err, here(tt.fails))
			}
			var want []string
			for _, entry := range tt.env {
				want = append(want, here(entry))
			}
			if diff := cmp.Diff(want, env); diff != "" {
				t.Errorf("environment (-want +got):\n%s", diff)
			}
			netrc, err := os.ReadFile(filepath.Join(home, ".netrc"))
			if err != nil && !os.IsNotExist(err) {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.netrc, string(netrc)); diff != "" {
				t.Errorf(".netrc (-want +got):\n%s", diff)
			}
		})
	}
}
