package cli

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"plimsoll.dev/plimsoll/artifact"
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

// TestUnreadableKey: a key of signing.yaml that cannot be read takes nobody's trust but its
// own, and leaves nobody in its place.
func TestUnreadableKey(t *testing.T) {
	t.Setenv("PLIMSOLL_KEY_PASSWORD", "")
	var said bytes.Buffer
	env := &Env{Err: &said, Home: t.TempDir(), Getenv: func(string) string { return "" }}
	if _, err := env.keychain().Generate(t.Context(), filepath.Join(env.Home, "a.key")); err != nil {
		t.Fatal(err)
	}
	const config = "images: a.key\nattestations: env://NOT_SET\ntrust: {images: [gone.pub]}\n"
	if err := os.WriteFile(filepath.Join(env.Home, "signing.yaml"), []byte(config), 0o644); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		got, err := env.trust(t.Context(), trustOptions{})
		if err != nil || len(got.Images.Keys) != 1 || len(got.Attestations.Keys) > 0 || !got.Attestations.None {
			t.Errorf("%+v, %v; want the key of images alone, and nobody for attestations", got, err)
		}
	}
	if text := said.String(); strings.Count(text, "gone.pub") != 1 || strings.Count(text, "env://NOT_SET") != 1 {
		t.Errorf("it says %q, want each key once", text)
	}
	if _, err := env.trust(t.Context(), trustOptions{keys: []string{filepath.Join(env.Home, "a.pub"), "gone.pub"}}); err == nil {
		t.Error("a key that a flag names is left out")
	}
}

// TestWarnOfMalware: what nobody looked at is said, as what was found is.
func TestWarnOfMalware(t *testing.T) {
	for report, want := range map[string]string{
		`{"result":"clean","layers":[{"files":3}]}`:                                          "",
		`{"result":"infected","layers":[{"infected":[{"path":"a","signature":"Eicar"}]}]}`:   "warning: app:1: malware: /a is Eicar\n",
		`{"result":"incomplete","layers":[{"unscanned":[{"path":"a"}]},{"unscanned":[{}]}]}`: "warning: app:1: malware: 2 files are larger than the scanner takes, and nobody looked at them\n",
	} {
		var said bytes.Buffer
		l := &ledger{env: &Env{Err: &said}}
		l.warn("app:1", []artifact.Evidence{{PredicateType: artifact.PredicateMalware, Predicate: []byte(report)}})
		if said.String() != want {
			t.Errorf("%s: it says %q, want %q", report, said.String(), want)
		}
	}
}
