package spec

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"plimsoll.dev/plimsoll/internal/fault"
)

// TestGolden reads every testdata/*.yaml. Next to each stands NAME.golden, the spec
// with its defaults.
func TestGolden(t *testing.T) {
	files, err := filepath.Glob("testdata/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			image, err := Parse(text)
			if err != nil {
				t.Fatal(err)
			}
			got, err := yaml.Marshal(image)
			if err != nil {
				t.Fatal(err)
			}
			want, err := os.ReadFile(strings.TrimSuffix(file, ".yaml") + ".golden")
			if err != nil {
				t.Fatalf("%v; it would be:\n%s", err, got)
			}
			if diff := cmp.Diff(string(want), string(got)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// good has one field a line, so that a test can put a bad one in its place.
const good = `apiVersion: plimsoll.dev/v1alpha1
kind: BaseImage
metadata:
  name: run
spec:
  archive:
    suites: [trixie]
  packages:
    - base-files
    - openssl (>= 3)
`

func TestBadSpecs(t *testing.T) {
	spec := func(lines ...string) string { return good + "  " + strings.Join(lines, "\n  ") + "\n" }
	swap := func(from, to string) string { return strings.Replace(good, from, to, 1) }
	tests := []struct {
		name, text string
		says       string // the whole error
	}{
		{"empty", "", "it is empty"},
		{"only a comment", "# nothing\n", "it is empty"},
		{"null", "---\n", "line 2: want fields (apiVersion, kind, spec), got something else"},
		{"a list", "- a\n", "line 1: want fields (apiVersion, kind, spec), got something else"},
		{"two documents", good + "---\nkind: X\n", "line 11: a second document: one file holds one BaseImage"},
		{"another kind", swap("BaseImage", "Image"), `line 2: kind: want "BaseImage", got "Image"`},
		{"another version", swap("v1alpha1", "v1"), `line 1: apiVersion: want "plimsoll.dev/v1alpha1", got "plimsoll.dev/v1"`},

		{"unknown at the top", good + "extra: 1\n", "line 11: extra: unknown field"},
		{"unknown in spec", spec("extra: 1"), "line 11: spec.extra: unknown field"},
		{"wrong case", spec("Exclude: []"), "line 11: spec.Exclude: unknown field"},
		{"unknown in archive", swap("    suites:", "    mirorr: x\n    suites:"), "line 7: spec.archive.mirorr: unknown field"},
		{"unknown in a list", spec("paths:", "  - path: /a", "    type: file", "    modee: x"), "line 14: spec.paths[0].modee: unknown field"},
		{"unknown deep in a list", spec("accounts:", "  users:", "    - name: a", "    - name: b", "      nam: c"), "line 15: spec.accounts.users[1].nam: unknown field"},
		{"a field twice", spec("command: [a]", "command: [b]"), `line 12: mapping key "command" already defined at line 11`},

		{"number for text", swap("name: run", "name: 1"), "line 4: metadata.name: want text, got a number"},
		{"text for a list", swap("suites: [trixie]", "suites: trixie"), "line 7: spec.archive.suites: want a list, got text"},
		{"number in a list", swap("- openssl (>= 3)", "- 3"), "line 10: spec.packages[1]: want text, got a number"},
		{"octal without quotes", spec("paths:", "  - {path: /a, type: directory}", "  - path: /b", "    type: directory", "    mode: 0755"), "line 15: spec.paths[1].mode: want text, got a number"},
		{"text for a number", spec("runAs: {uid: root, gid: 0}"), "line 11: spec.runAs.uid: want a number, got text"},
		{"text for a switch", spec(`hardening: {allowRoot: "yes"}`), "line 11: spec.hardening.allowRoot: want true or false, got text"},
		{"number for a variable", spec("environment:", "  A: b", "  PORT: 80"), "line 13: spec.environment.PORT: want text, got a number"},
		{"fields for text", spec("workingDirectory: {a: b}"), "line 11: spec.workingDirectory: want text, got fields"},
		{"a key that is a number", spec("environment:", "  1: b"), "line 12: spec.environment.1: want a key that is text"},
		{"a user without a number", spec("accounts:", "  users:", "    - {name: app, gid: 7}"), "line 13: spec.accounts.users[0].uid: want a number"},
		{"a group without a number", spec("accounts:", "  groups:", "    - name: app"), "line 13: spec.accounts.groups[0].gid: want a number"},
		{"half a run-as", spec("runAs: {uid: 1000}"), "line 11: spec.runAs.gid: want a number"},
		{"a second root", spec("accounts:", "  users:", "    - {name: toor, uid: 0, gid: 0}"), "line 13: spec.accounts.users[0].uid: a second root is not allowed unless hardening.allowRoot says so"},
		{"a false inventory", spec("paths:", "  - {path: /var/lib/dpkg/status.d/openssl, type: file}"), "line 12: spec.paths[0].path: the inventory below /var/lib/dpkg is not the spec's to change"},
		{"no number", spec("runAs: {uid: .nan, gid: 1}"), "line 11: spec.runAs.uid: NaN is no number that a field takes"},

		{"no suite", swap("suites: [trixie]", "suites: []"), `line 7: spec.archive.suites: want at least one, such as "trixie"`},
		{"a suite that climbs", swap("[trixie]", "[../x]"), `line 7: spec.archive.suites[0]: bad or repeated suite "../x"`},
		{"a suite twice", swap("[trixie]", "[trixie, trixie]"), `line 7: spec.archive.suites[1]: bad or repeated suite "trixie"`},
		{"a mirror of no suite", swap("    suites:", "    mirrors: {sid: /srv}\n    suites:"), "line 7: spec.archive.mirrors.sid: no suite of this name is in archive.suites"},
		{"an unknown architecture", spec("architectures: [amd64, x86_64]"), `line 11: spec.architectures[1]: want each of amd64, arm64 at most once, got "x86_64"`},
		{"no packages", swap("    - base-files\n    - openssl (>= 3)\n", "    []\n"), "line 8: spec.packages: want at least one"},
		{"a bad package name", swap("base-files", "Base_Files"), `line 9: spec.packages[0]: want "name", "name (>= version)" or "name=version", got "Base_Files"`},
		{"half a version", swap("openssl (>= 3)", "openssl (>= 3"), `line 10: spec.packages[1]: want "name", "name (>= version)" or "name=version", got "openssl (>= 3"`},
		{"an unknown relation", swap("openssl (>= 3)", "openssl (~ 3)"), `line 10: spec.packages[1]: want "name", "name (>= version)" or "name=version", got "openssl (~ 3)"`},
		{"an omission without a reason", spec("omit:", "  - package: dash"), "line 12: spec.omit[0].reason: say why, for dash"},
		{"a user's name", spec("accounts: {users: [{name: A b, uid: 1, gid: 1}]}"), `line 11: spec.accounts.users[0].name: bad or repeated name "A b"`},
		{"a user's number", spec("accounts: {users: [{name: a, uid: -1, gid: 1}]}"), "line 11: spec.accounts.users[0].uid: -1 is no user number"},
		{"a colon in passwd", spec(`accounts: {users: [{name: a, uid: 1, gid: 1, home: "/a:b"}]}`), "line 11: spec.accounts.users[0]: a colon or a line break cannot stand in a field of /etc/passwd"},
		{"a group's member", spec(`accounts: {groups: [{name: a, gid: 1, members: ["b,c"]}]}`), `line 11: spec.accounts.groups[0].members[0]: bad user name "b,c"`},
		{"a relative path", spec("paths: [{path: srv, type: directory}]"), `line 11: spec.paths[0].path: want an absolute clean path, once, got "srv"`},
		{"a path that climbs", spec("paths: [{path: /srv/../etc, type: directory}]"), `line 11: spec.paths[0].path: want an absolute clean path, once, got "/srv/../etc"`},
		{"no type", spec("paths: [{path: /srv}]"), `line 11: spec.paths[0].type: want directory, file, symlink, hardlink or existing, got ""`},
		{"a bad mode", spec("paths:", "  - path: /srv", "    type: directory", `    mode: "0855"`), `line 14: spec.paths[0].mode: want an octal mode such as "0755" (and none for links), got "0855"`},
		{"a link without target", spec("paths: [{path: /srv, type: symlink}]"), "line 11: spec.paths[0].target: a link needs a target"},
		{"content of a folder", spec("paths: [{path: /srv, type: directory, content: x}]"), "line 11: spec.paths[0].content: only files have content"},
		{"unknown capability", spec("paths: [{path: /srv, type: file, capabilities: cap_fly+ep}]"), `line 11: spec.paths[0].capabilities: `},
		{"capabilities of a folder", spec("paths: [{path: /srv, type: directory, capabilities: cap_chown+ep}]"), "line 11: spec.paths[0].capabilities: only files carry capabilities"},
		{"a relative pattern", spec("exclude: [usr/share]"), `line 11: spec.exclude[0]: want an absolute clean path, got "usr/share"`},
		{"bad variables, the first by name", spec("environment: {z-z: a, b-b: a, c-c: a}"), "line 11: spec.environment.b-b: bad name, or a value with a line break"},
		{"root", spec("runAs: {uid: 0, gid: 0}"), "line 11: spec.runAs.uid: root is not allowed unless hardening.allowRoot says so"},
		{"too many layers", spec("layering: {maxLayers: 61}"), "line 11: spec.layering.maxLayers: want 3 to 60, got 61"},
		{"unknown compression", spec("layering: {compression: xz}"), `line 11: spec.layering.compression: want gzip or zstd, got "xz"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Parse([]byte(tt.text))
			if err == nil {
				t.Fatal("it passed")
			}
			if got := err.Error(); got != tt.says && (!strings.HasSuffix(tt.says, ": ") || !strings.HasPrefix(got, tt.says)) {
				t.Errorf("want %s\n got %s", tt.says, got)
			}
		})
	}
}

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "run.yaml")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write(strings.Replace(good, "    suites:", "    keyring: keys/a.pgp\n    suites:", 1))
	image, err := Load(file)
	if err != nil {
		t.Fatal(err)
	}
	if want := filepath.Join(dir, "keys/a.pgp"); image.Spec.Archive.Keyring != want {
		t.Errorf("want the keyring %s, got %s", want, image.Spec.Archive.Keyring)
	}
	if diff := cmp.Diff([]string{runtime.GOARCH}, image.Spec.Architectures); diff != "" {
		t.Error(diff)
	}
	write(strings.Repeat("# comment\n", 500_000))
	tooLarge := file
	for _, bad := range []string{filepath.Join(dir, "absent.yaml"), tooLarge, dir} {
		_, err := Load(bad)
		var f *fault.Error
		if !errors.As(err, &f) || f.Which != bad {
			t.Errorf("want a fault about %s, got %v", bad, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(good))
	f.Add([]byte("a: &a [*a]\n"))
	f.Add([]byte("? {a: b}\n: c\n"))
	f.Add([]byte("apiVersion: plimsoll.dev/v1alpha1\nkind: BaseImage\nspec: {<<: {packages: [1]}}\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		image, err := Parse(text)
		if err != nil {
			return
		}
		if check(image) != nil {
			t.Errorf("what Parse takes does not pass its own check: %v", check(image))
		}
		again, err := yaml.Marshal(image)
		if err != nil {
			t.Fatal(err)
		}
		same, err := Parse(again)
		if err != nil {
			t.Fatalf("what was written of it is refused: %v\n%s", err, again)
		}
		if diff := cmp.Diff(image, same); diff != "" {
			t.Error(diff)
		}
	})
}
