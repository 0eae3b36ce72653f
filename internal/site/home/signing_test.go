package home

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
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
			h := New(t.TempDir(), nil, Options{Warn: func(line, _ string) { said.WriteString(line) }})
			if c.config != "" {
				if err := os.WriteFile(filepath.Join(h.Folder, "signing.yaml"), []byte(c.config), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if got := h.Believed(t.Context()); len(got.Images.Keys) > 0 {
				t.Errorf("somebody is trusted: %+v", got)
			}
			if text := said.String(); (text == "") != (c.says == "") || !strings.Contains(text, c.says) {
				t.Errorf("it says %q, want a warning with %q", text, c.says)
			}
		})
	}
}

// TestUnreadableKey: a key of signing.yaml that cannot be read takes nobody's trust but its
// own, and leaves nobody in its place.
func TestUnreadableKey(t *testing.T) {
	t.Setenv("PLIMSOLL_KEY_PASSWORD", "")
	var said bytes.Buffer
	h := New(t.TempDir(), nil, Options{Warn: func(line, _ string) { said.WriteString(line) }})
	if _, err := h.Keychain().Generate(t.Context(), filepath.Join(h.Folder, "a.key")); err != nil {
		t.Fatal(err)
	}
	const config = "images: a.key\nattestations: env://NOT_SET\ntrust: {images: [gone.pub]}\n"
	if err := os.WriteFile(filepath.Join(h.Folder, "signing.yaml"), []byte(config), 0o644); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		got, err := h.Trust(t.Context(), Named{})
		if err != nil || len(got.Images.Keys) != 1 || len(got.Attestations.Keys) > 0 || !got.Attestations.None {
			t.Errorf("%+v, %v; want the key of images alone, and nobody for attestations", got, err)
		}
	}
	if text := said.String(); strings.Count(text, "gone.pub") != 1 || strings.Count(text, "env://NOT_SET") != 1 {
		t.Errorf("it says %q, want each key once", text)
	}
	if _, err := h.Trust(t.Context(), Named{Keys: []string{filepath.Join(h.Folder, "a.pub"), "gone.pub"}}); err == nil {
		t.Error("a key that a flag names is left out")
	}
}

// TestTrustFiles: whom one believes is decided by files, never by the folder that all lies in:
// images are looked into anew when they change, and the folder changes all the time.
func TestTrustFiles(t *testing.T) {
	for name, c := range map[string]struct {
		config string
		want   []string
	}{
		"nothing is said": {"", []string{"signing.yaml"}},
		"one key":         {"images: a.key\ntrust: {images: [b.pub]}\n", []string{"signing.yaml", "a.key", "b.pub"}},
	} {
		t.Run(name, func(t *testing.T) {
			h := New(t.TempDir(), nil, Options{})
			if err := os.WriteFile(filepath.Join(h.Folder, "signing.yaml"), []byte(c.config), 0o644); err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, file := range h.TrustFiles() {
				name, err := filepath.Rel(h.Folder, file)
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, name)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}
