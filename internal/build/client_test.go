package build

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestClientSettings: what the clients of a machine are told reaches builds, credentials
// do not.
func TestClientSettings(t *testing.T) {
	home := t.TempDir()
	for name, text := range map[string]string{
		".config/go/env":       "GOPROXY=https://go.invalid,direct\nGOFLAGS=-mod=mod\n",
		".npmrc":               "registry = https://npm.invalid/\n//npm.invalid/:_authToken=sesame\n",
		".config/pip/pip.conf": "[global]\nindex-url = https://user:sesame@pip.invalid/simple\n",
	} {
		path := filepath.Join(home, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	set := map[string]string{
		"HOME": home, "NO_PROXY": "localhost,.invalid", "https_proxy": "http://proxy.invalid:3128", "GOPRIVATE": "git.invalid/*",
		"HTTP_PROXY": "user:sesame@proxy.invalid:3128", "http_proxy": "sesame@proxy.invalid", "HTTPS_PROXY": "http://user:se%same@proxy.invalid",
		"PIP_EXTRA_INDEX_URL": "https://a.invalid\n\thttps://user:sesame@b.invalid", "GONOPROXY": "git.invalid", "SECRET": "sesame",
	}
	got := ClientSettings(func(name string) string { return set[name] })
	if hasPassword(got["PIP_INDEX_URL"]) {
		t.Errorf("pip's index is %s", got["PIP_INDEX_URL"])
	}
	delete(got, "PIP_INDEX_URL") // the machine's own /etc/pip.conf may name one
	want := map[string]string{
		"GOPROXY": "https://go.invalid,direct", "NPM_CONFIG_REGISTRY": "https://npm.invalid/", "GOPRIVATE": "git.invalid/*",
		"GONOPROXY": "git.invalid", "NO_PROXY": "localhost,.invalid", "https_proxy": "http://proxy.invalid:3128",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
