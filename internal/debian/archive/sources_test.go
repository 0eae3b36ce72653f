package archive

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"plimsoll.dev/plimsoll/internal/fault"
)

func TestOneLineSources(t *testing.T) {
	main := []string{"main"}
	tests := []struct {
		name, text string
		want       []Source
	}{
		{"plain", "deb http://a/debian trixie main\n", []Source{{URI: "http://a/debian", Suites: []string{"trixie"}, Components: main}}},
		{"no newline at the end", "deb http://a/debian trixie main", []Source{{URI: "http://a/debian", Suites: []string{"trixie"}, Components: main}}},
		{"several components", "deb http://a/d trixie main contrib", []Source{{URI: "http://a/d", Suites: []string{"trixie"}, Components: []string{"main", "contrib"}}}},
		{"options", "deb [ arch=amd64 signed-by=/k.gpg ] http://a/d trixie main", []Source{{URI: "http://a/d", Suites: []string{"trixie"}, Components: main, SignedBy: "/k.gpg"}}},
		{"tight options", "deb [signed-by=/k.gpg] http://a/d trixie main", []Source{{URI: "http://a/d", Suites: []string{"trixie"}, Components: main, SignedBy: "/k.gpg"}}},
		{"no space after options", "deb [trusted=yes]http://a/d trixie main", []Source{{URI: "http://a/d", Suites: []string{"trixie"}, Components: main}}},
		{"tabs", "deb\t[arch=amd64]\thttp://a/d\ttrixie\tmain", []Source{{URI: "http://a/d", Suites: []string{"trixie"}, Components: main}}},
		{"indented, with a comment", "  deb http://a/d trixie main # mine", []Source{{URI: "http://a/d", Suites: []string{"trixie"}, Components: main}}},
		{"flat archive", "deb http://a/d ./", []Source{{URI: "http://a/d", Suites: []string{"./"}, Components: []string{}}}},
		{"sources", "deb-src http://a/d trixie main", nil},
		{"commented out", "# deb http://a/d trixie main", nil},
		{"open options", "deb [arch=amd64 http://a/d trixie main", nil},
		{"too short", "deb http://a/d", nil},
		{"another word", "debian http://a/d trixie main", nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, parseOneLine([]byte(tt.text))); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestDeb822Sources(t *testing.T) {
	tests := []struct {
		name, text string
		want       []Source
	}{
		{"full", "Types: deb deb-src\nURIs: http://a/d\nSuites: trixie trixie-updates\nComponents: main contrib\nSigned-By: /k.pgp\n",
			[]Source{{URI: "http://a/d", Suites: []string{"trixie", "trixie-updates"}, Components: []string{"main", "contrib"}, SignedBy: "/k.pgp"}}},
		{"two addresses", "Types: deb\nURIs: http://a/d http://b/d\nSuites: trixie\nComponents: main\n",
			[]Source{{URI: "http://a/d", Suites: []string{"trixie"}, Components: []string{"main"}}, {URI: "http://b/d", Suites: []string{"trixie"}, Components: []string{"main"}}}},
		{"folded", "Types: deb\nURIs:\n http://a/d\nSuites: trixie\n trixie-updates\nComponents: main\n",
			[]Source{{URI: "http://a/d", Suites: []string{"trixie", "trixie-updates"}, Components: []string{"main"}}}},
		{"comments, also within", "# mine\nTypes: deb\n# URIs: http://old/d\nURIs: http://a/d\nSuites: trixie\n#\nComponents: main\n",
			[]Source{{URI: "http://a/d", Suites: []string{"trixie"}, Components: []string{"main"}}}},
		{"comment within a folded field", "Types: deb\nURIs: http://a/d\nSuites: trixie\n# not now: trixie-backports\n trixie-updates\nComponents: main\n",
			[]Source{{URI: "http://a/d", Suites: []string{"trixie", "trixie-updates"}, Components: []string{"main"}}}},
		{"two paragraphs", "Types: deb\nURIs: http://a/d\nSuites: trixie\nComponents: main\n\n\nTypes: deb\nURIs: http://b/d\nSuites: sid\nComponents: main\n",
			[]Source{{URI: "http://a/d", Suites: []string{"trixie"}, Components: []string{"main"}}, {URI: "http://b/d", Suites: []string{"sid"}, Components: []string{"main"}}}},
		{"case of names", "types: deb\nuris: http://a/d\nSUITES: trixie\ncomponents: main\n",
			[]Source{{URI: "http://a/d", Suites: []string{"trixie"}, Components: []string{"main"}}}},
		{"switched off", "Enabled: no\nTypes: deb\nURIs: http://a/d\nSuites: trixie\nComponents: main\n", nil},
		{"switched off otherwise", "Enabled: false\nTypes: deb\nURIs: http://a/d\nSuites: trixie\nComponents: main\n", nil},
		{"switched on", "Enabled: yes\nTypes: deb\nURIs: http://a/d\nSuites: trixie\nComponents: main\n",
			[]Source{{URI: "http://a/d", Suites: []string{"trixie"}, Components: []string{"main"}}}},
		{"sources only", "Types: deb-src\nURIs: http://a/d\nSuites: trixie\nComponents: main\n", nil},
		{"key within", "Types: deb\nURIs: http://a/d\nSuites: trixie\nComponents: main\nSigned-By:\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n xyz\n -----END PGP PUBLIC KEY BLOCK-----\n",
			[]Source{{URI: "http://a/d", Suites: []string{"trixie"}, Components: []string{"main"}}}},
		{"carriage returns", "Types: deb\r\nURIs: http://a/d\r\nSuites: trixie\r\nComponents: main\r\n",
			[]Source{{URI: "http://a/d", Suites: []string{"trixie"}, Components: []string{"main"}}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, parseDeb822([]byte(tt.text))); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestMachineSources(t *testing.T) {
	root := t.TempDir()
	for name, text := range map[string]string{
		"sources.list":                     "deb http://first/d trixie main\n",
		"sources.list.d/20-b.list":         "deb http://third/d trixie main\n",
		"sources.list.d/10-a.sources":      "Types: deb\nURIs: http://second/d\nSuites: trixie\nComponents: main\n",
		"sources.list.d/ignored.list.save": "deb http://never/d trixie main\n",
	} {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	sources, err := MachineSources(root)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, s := range sources {
		got = append(got, s.URI)
	}
	if diff := cmp.Diff([]string{"http://first/d", "http://second/d", "http://third/d"}, got); diff != "" {
		t.Error(diff)
	}
	if sources, err := MachineSources(t.TempDir()); err != nil || len(sources) != 0 {
		t.Errorf("a machine without sources: %v, %v", sources, err)
	}
}

func TestMirrorFor(t *testing.T) {
	main := []string{"main"}
	machine := []Source{
		{URI: "http://vendor/d", Suites: []string{"stable"}, Components: []string{"tool"}},
		{URI: "http://other/d", Suites: []string{"jammy"}, Components: main},
		{URI: "http://debian/d", Suites: []string{"bookworm", "bookworm-updates"}, Components: main},
		{URI: "http://security/d", Suites: []string{"bookworm-security"}, Components: main},
	}
	tests := []struct{ name, suite, want string }{
		{"named", "bookworm", "http://debian/d"},
		{"named, security", "bookworm-security", "http://security/d"},
		{"another release", "trixie", "http://debian/d"},
		{"another release's updates", "trixie-updates", "http://debian/d"},
		{"another release's security", "trixie-security", "http://security/d"},
		{"the old form of security", "buster/updates", "http://security/d"},
		{"a vendor's suite that is named so", "stable", "http://vendor/d"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := MirrorFor(machine, tt.suite)
			if err != nil || got != tt.want {
				t.Errorf("want %s, got %s (%v)", tt.want, got, err)
			}
		})
	}
	for _, none := range [][]Source{nil, machine[:2], {{URI: "http://debian/d", Suites: []string{"trixie"}, Components: main}}} {
		_, err := MirrorFor(none, "trixie-security")
		var f *fault.Error
		if !errors.As(err, &f) || f.Kind != fault.Usage || f.Hint == "" || !strings.Contains(err.Error(), "trixie-security") {
			t.Errorf("%v: want a usage fault with a hint, got %v", none, err)
		}
	}
}

func TestRedact(t *testing.T) {
	tests := []struct{ name, mirror, want string }{
		{"none", "http://host/debian", "http://host/debian"},
		{"user and password", "http://user:secret@host/debian", "http://host/debian"},
		{"user alone", "https://token@host:8080/debian", "https://host:8080/debian"},
		{"folder", "/srv/debian", "/srv/debian"},
		{"folder with an at", "/srv/a@b/debian", "/srv/a@b/debian"},
		{"bad escape in the password", "http://user:se%cret@host/debian", "host/debian"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := Redact(tt.mirror); got != tt.want {
				t.Errorf("want %q, got %q", tt.want, got)
			}
		})
	}
}
