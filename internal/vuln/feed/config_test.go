package feed

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"plimsoll.dev/plimsoll/internal/fault"
)

func write(t testing.TB, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "feeds.yaml")
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestLoad(t *testing.T) {
	got, found, err := Load(write(t, `
feeds:
- name: debian
  kind: debian
  mirrors: {trixie-security: https://mirror.example/debian-security}
- name: osv
  kind: osv
  url: file:///srv/advisories
  ecosystems: [Go, npm]
  checksums: required
- {name: states, kind: debian-tracker, url: /srv/tracker.json, ecosystems: ["Debian:13=trixie"]}
- {name: kev, kind: kev, url: "https://me@example.com/kev.json"}
`))
	want := []Feed{
		{Name: "debian", Kind: Debian, Mirrors: map[string]string{"trixie-security": "https://mirror.example/debian-security"}},
		{Name: "osv", Kind: OSV, URL: "file:///srv/advisories", Ecosystems: []string{"Go", "npm"}, Checksums: "required"},
		{Name: "states", Kind: Tracker, URL: "/srv/tracker.json", Ecosystems: []string{"Debian:13=trixie"}},
		{Name: "kev", Kind: KEV, URL: "https://me@example.com/kev.json"},
	}
	if diff := cmp.Diff(want, got); diff != "" || !found || err != nil {
		t.Errorf("found %t, %v, -want +got:\n%s", found, err, diff)
	}
	if got, found, err := Load(filepath.Join(t.TempDir(), "none")); got != nil || found || err != nil {
		t.Errorf("no file: got %v, %t, %v", got, found, err)
	}
	for _, f := range Default() {
		if err := f.Check(); err != nil {
			t.Error(err)
		}
	}
}

func TestLoadNamesTheLine(t *testing.T) {
	tests := []struct{ name, text, says string }{
		{"an unknown field", "feeds:\n- {name: a, kind: kev, url: /x, colour: red}\n", "colour"},
		{"no list", "feeds: all\n", "line 1"},
		{"no kind", "feeds:\n- {name: a, url: /x}\n", "line 2: feeds[0]: kind"},
		{"a name that is a path", "feeds:\n- {name: ../a, kind: kev, url: /x}\n", "name"},
		{"two of a name", "feeds:\n- {name: a, kind: kev, url: /x}\n- {name: a, kind: epss, url: /y}\n", "line 3: feeds[1]: two feeds"},
		{"a relative folder", "feeds:\n- {name: a, kind: kev, url: x}\n", "url"},
		{"another scheme", "feeds:\n- {name: a, kind: kev, url: 'ftp://x/y'}\n", "url"},
		{"osv without ecosystems", "feeds:\n- {name: a, kind: osv, url: /x}\n", "ecosystems"},
		{"an ecosystem that is a path", "feeds:\n- {name: a, kind: osv, url: /x, ecosystems: [../Go]}\n", "ecosystems"},
		{"an ecosystem twice", "feeds:\n- {name: a, kind: osv, url: /x, ecosystems: [Go, Go]}\n", "twice"},
		{"kev with ecosystems", "feeds:\n- {name: a, kind: kev, url: /x, ecosystems: [Go]}\n", "ecosystems"},
		{"a tracker without a codename", "feeds:\n- {name: a, kind: debian-tracker, url: /x, ecosystems: ['Debian:13']}\n", "ecosystems"},
		{"a sum that is none", "feeds:\n- {name: a, kind: kev, url: /x, checksums: abc}\n", "checksums"},
		{"an archive with a URL", "feeds:\n- {name: a, kind: debian, url: /x}\n", "suites, mirrors and keyring only"},
		{"a mirror of another suite", "feeds:\n- {name: a, kind: debian, mirrors: {sid: /x}}\n", "mirrors"},
		{"kev with suites", "feeds:\n- {name: a, kind: kev, url: /x, suites: [trixie]}\n", "suites"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, _, err := Load(write(t, tt.text))
			if fault.KindOf(err) != fault.Usage || !strings.Contains(err.Error(), tt.says) || fault.HintOf(err) == "" {
				t.Errorf("want a usage fault with a hint that says %q, got %v", tt.says, err)
			}
		})
	}
}

// TestDocumentedFeedsAreRead holds the examples of docs/feeds.md against the reader.
func TestDocumentedFeedsAreRead(t *testing.T) {
	text, err := os.ReadFile("../../../docs/feeds.md")
	if err != nil {
		t.Fatal(err)
	}
	kinds := map[Kind]bool{}
	for _, block := range strings.Split(string(text), "```yaml\n")[1:] {
		example, _, _ := strings.Cut(block, "```")
		feeds, _, err := Load(write(t, example))
		if err != nil {
			t.Errorf("%v\n%s", err, example)
		}
		for _, f := range feeds {
			kinds[f.Kind] = true
		}
	}
	if len(kinds) != 5 {
		t.Errorf("the examples show the kinds %v, want all five", kinds)
	}
}
