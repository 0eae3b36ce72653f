package cli

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestTrustOfHome: that a trusted key cannot be read is said, for its evidence then counts as
// nobody's; a home that trusts nobody says nothing.
func TestTrustOfHome(t *testing.T) {
	for name, c := range map[string]struct{ config, says string }{
		"nobody":       {"", ""},
		"a key":        {"trust: {images: [gone.pub]}", "gone.pub"},
		"not readable": {"trust: [", "signing.yaml"},
	} {
		t.Run(name, func(t *testing.T) {
			var said bytes.Buffer
			env := &Env{Err: &said, Home: t.TempDir(), Getenv: func(string) string { return "" }}
			if c.config != "" {
				if err := os.WriteFile(filepath.Join(env.Home, "signing.yaml"), []byte(c.config), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if got := env.trustOfHome(t.Context()); len(got.Images.Keys) > 0 {
				t.Errorf("somebody is trusted: %+v", got)
			}
			if text := said.String(); (text == "") != (c.says == "") || !strings.Contains(text, c.says) {
				t.Errorf("it says %q, want a warning with %q", text, c.says)
			}
		})
	}
}
