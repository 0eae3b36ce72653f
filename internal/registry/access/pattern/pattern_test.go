package pattern_test

import (
	"strings"
	"testing"

	"plimsoll.dev/plimsoll/internal/registry/access/pattern"
)

func TestPatternIsAnchored(t *testing.T) {
	for _, c := range []struct {
		pattern, text string
		want          bool
	}{
		{"acme/app", "acme/app", true},
		{"acme/app", "acme/app2", false},
		{"acme/app", "evil/acme/app", false},
		{"acme/app", "acme/app\n", false},
		{"acme/*", "acme/app", true},
		{"acme/*", "acme/app/sub", false},
		{"acme/*", "acme-evil/app", false},
		{"acme/*", "evil/acme/app", false},
		{"acme/*", "acme/app\nevil", true}, // a separator is what is named as one
		{"acme/**", "acme/app/sub", true},
		{"acme/**", "acmeevil/app", false},
		{"acme/app-*", "acme/app-1", true},
		{"acme/app-*", "acme/app", false},
		{"a.c/*", "abc/x", false},
		{"(a|b)/*", "a/x", false},
		// A branch or environment that an attacker may name does not reach over a colon.
		{"repo:acme/*:ref:refs/heads/main", "repo:acme/app:ref:refs/heads/main", true},
		{"repo:acme/*:ref:refs/heads/main", "repo:acme/app:environment:x:ref:refs/heads/main", false},
	} {
		p, err := pattern.Compile(c.pattern, "/:")
		if err != nil {
			t.Errorf("%q: %v", c.pattern, err)
			continue
		}
		if got := p.Match(c.text); got != c.want {
			t.Errorf("%q is like %q: %t, want %t", c.text, c.pattern, got, c.want)
		}
	}
	for _, bad := range []string{"", "a***", strings.Repeat("x", 2000)} {
		if _, err := pattern.Compile(bad, "/"); err == nil {
			t.Errorf("took %.20q", bad)
		}
	}
	if (pattern.Pattern{}).Match("") {
		t.Error("the zero pattern is like something")
	}
}

func FuzzPattern(f *testing.F) {
	f.Add("acme/*", "acme/app")
	f.Add("**:x", "a:x")
	f.Fuzz(func(t *testing.T, text, held string) {
		p, err := pattern.Compile(text, "/:")
		if err != nil {
			return
		}
		if !p.Match(held) {
			return
		}
		literal, _, _ := strings.Cut(text, "*")
		if !strings.HasPrefix(held, literal) || !strings.HasSuffix(held, text[strings.LastIndexByte(text, '*')+1:]) {
			t.Fatalf("%q is like %q", held, text)
		}
	})
}
