package pattern_test

import (
	"strings"
	"testing"

	"plimsoll.dev/plimsoll/internal/pattern"
)

func TestLike(t *testing.T) {
	for _, c := range []struct {
		pattern, path string
		want          bool
	}{
		{"shop/web", "shop/web", true},
		{"shop/web", "shop/web/old", false},
		{"shop/*", "shop/web", true},
		{"shop/*", "shop", false},
		{"shop/*", "shop/web/old", false},
		{"shop/w*b", "shop/wb", true},
		{"shop/w*b", "shop/wide-web", true},
		{"shop/**", "shop", true},
		{"shop/**", "shop/web/old", true},
		{"shop/**", "shopping", false},
		{"**/web", "web", true},
		{"**/web", "registry.example:5000/shop/web", true},
		{"**", "anything/at/all", true},
		{"registry.example/shop", "registry-example/shop", false},
		{"shop/web", "shop/web\n", false},
	} {
		p, err := pattern.New(c.pattern)
		if err != nil {
			t.Fatal(err)
		}
		if got := p.Like(c.path); got != c.want {
			t.Errorf("%q like %q: %t", c.path, c.pattern, got)
		}
	}
	if (pattern.Pattern{}).Like("") {
		t.Error("the zero Pattern is like something")
	}
}

func TestRefuses(t *testing.T) {
	for _, text := range []string{"", "/", "shop/", "/shop", "a**/b", "***", strings.Repeat("a", 257)} {
		if _, err := pattern.New(text); err == nil {
			t.Errorf("%q is a pattern", text)
		}
	}
	if _, err := pattern.NewList(make([]string, pattern.Most+1)); err == nil {
		t.Error("there is no end to a list")
	}
}

func TestScope(t *testing.T) {
	for _, c := range []struct {
		only, except []string
		repository   string
		want         bool
	}{
		{nil, nil, "shop/web", true},
		{[]string{"shop/**"}, nil, "shop/web", true},
		{[]string{"shop/**"}, nil, "harbour/web", false},
		{[]string{"shop/**"}, []string{"shop/old"}, "shop/old", false},
		{nil, []string{"shop/old"}, "shop/web", true},
		{nil, []string{"shop/old"}, "shop/old", false},
	} {
		only, err := pattern.NewList(c.only)
		if err != nil {
			t.Fatal(err)
		}
		except, err := pattern.NewList(c.except)
		if err != nil {
			t.Fatal(err)
		}
		s := pattern.Scope{Only: only, Except: except}
		if got := s.Has(c.repository); got != c.want {
			t.Errorf("%q in %q but %q: %t", c.repository, c.only, c.except, got)
		}
	}
}

// FuzzNew holds patterns to what they say.
func FuzzNew(f *testing.F) {
	for _, seed := range [][2]string{{"a/*", "a/b"}, {"**/b", "a/c/b"}, {"a.b/c", "axb/c"}, {"***", "a"}, {"", ""}, {"(", "("}, {`\*`, `\`}, {"a*b", "ab"}} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, text, path string) {
		p, err := pattern.New(text)
		if err != nil {
			return
		}
		like := p.Like(path)
		if !strings.Contains(text, "*") && like != (text == path) {
			t.Errorf("%q and %q", text, path)
		}
		if all, err := pattern.New(text + "/**"); err != nil || like && !(all.Like(path) && all.Like(path+"/below")) {
			t.Errorf("%q is like %q, and it or what is below is not like that with /**: %v", path, text, err)
		}
	})
}
