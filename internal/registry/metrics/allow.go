package metrics

import (
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"

	"plimsoll.dev/plimsoll/internal/manifest"
	"plimsoll.dev/plimsoll/internal/registry/settings"
)

// Check is the settings' check of who may read /metrics.
func Check(s *settings.Settings) *manifest.Problem {
	if t := s.Metrics.Token; t != nil && (t.File == "") == (t.Env == "") {
		return manifest.Bad("spec.metrics.token", "name a file or a variable, and not both")
	}
	return nil
}

// Allow gives who may read /metrics by the settings: who shows a token of theirs; without
// one the machine itself; without settings everybody.
func Allow(now func() *settings.Settings, getenv func(string) string) func(*http.Request) bool {
	return func(r *http.Request) bool {
		s := now()
		if s == nil {
			return true
		}
		if s.Metrics.Token == nil {
			return isLocal(r)
		}
		text := getenv(s.Metrics.Token.Env)
		if file := s.Metrics.Token.File; file != "" {
			text = readToken(s.Path(file))
		}
		shown, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		return ok && holds(text, shown)
	}
}

// isLocal says whether a request is the machine's own, and not another's that a proxy on it
// passed on.
func isLocal(r *http.Request) bool {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil || r.Header.Get("X-Forwarded-For") != "" || r.Header.Get("Forwarded") != "" {
		return false
	}
	address, err := netip.ParseAddr(host)
	return err == nil && address.IsLoopback()
}

// maxTokens bounds the file of tokens, in bytes.
const maxTokens = 4 << 10

// readToken gives a file's text; "" when it cannot be read, so that nobody is let in.
func readToken(path string) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxTokens))
	if err != nil {
		return ""
	}
	return string(bytes.TrimSpace(text))
}

// holds says whether what was shown is a line of the text, in the same time for any of one
// length.
func holds(text, shown string) bool {
	found, got := 0, sha256.Sum256([]byte(shown))
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" {
			want := sha256.Sum256([]byte(line))
			found |= subtle.ConstantTimeCompare(got[:], want[:])
		}
	}
	return found == 1
}
