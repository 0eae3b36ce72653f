package raise

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"plimsoll.dev/plimsoll/buildpacks/internal/floor"
	"plimsoll.dev/plimsoll/buildpacks/nodejs/manifest"
)

// lock has a package in several versions, under another name, in a bundle, in a workspace, and
// from elsewhere.
const lock = `{
  "name": "app",
  "lockfileVersion": 2,
  "requires": true,
  "packages": {
    "": {"name": "app", "workspaces": ["lib"], "dependencies": {"a": "^1.0.0"}},
    "lib": {"name": "lib", "version": "1.2.0"},
    "node_modules/lib": {"resolved": "lib", "link": true},
    "node_modules/a": {"version": "1.0.0", "resolved": "https://registry.example.com/a/-/a-1.0.0.tgz", "integrity": "sha512-old", "dev": true, "engines": {"node": ">=4"}},
    "node_modules/other": {"name": "a", "version": "1.1.0", "integrity": "sha512-older"},
    "node_modules/b": {"version": "9.0.0", "resolved": "https://registry.example.com/b/-/b-9.0.0.tgz", "integrity": "sha512-b"},
    "node_modules/b/node_modules/a": {"version": "2.5.0"},
    "node_modules/c/node_modules/a": {"version": "0.9.0", "inBundle": true},
    "node_modules/c": {"version": "3.0.0"},
    "node_modules/fork": {"version": "1.0.0", "resolved": "git+ssh://git@example.com/fork.git#0123"},
    "lib/node_modules/a": {"version": "1.2.0"}
  },
  "dependencies": {"a": {"version": "1.0.0"}}
}`

func parsed(t testing.TB, text string) manifest.Lock {
	t.Helper()
	l, err := manifest.ParseLock([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func of(name, version string) floor.Floor {
	return floor.Floor{Name: "fix-" + name, Ecosystem: floor.NPM, Package: name, Version: version}
}

func TestFind(t *testing.T) {
	for _, test := range []struct {
		name  string
		floor floor.Floor
		want  string // "folder alias version"
	}{
		{"everywhere, by whatever name", of("a", "1.2.0"), "node_modules/a a 1.0.0, node_modules/c/node_modules/a a 0.9.0, node_modules/other other 1.1.0"},
		{"equal is not low", of("b", "9.0.0"), ""},
		{"a workspace is no dependency", of("lib", "2.0.0"), ""},
		{"another name is another package", of("other", "2.0.0"), ""},
		{"not there", of("z", "1.0.0"), ""},
	} {
		var found []string
		for _, low := range Find(parsed(t, lock), []floor.Floor{test.floor}) {
			found = append(found, fmt.Sprintf("%s %s %s", low.Folder, low.Alias, low.Version))
		}
		if diff := cmp.Diff(test.want, strings.Join(found, ", ")); diff != "" {
			t.Errorf("%s: %s", test.name, diff)
		}
	}
}

func TestCheck(t *testing.T) {
	major := of("a", "2.0.0")
	major.Major = true
	for _, test := range []struct {
		name, drop string // a line of the lock file that is left out
		floor      floor.Floor
		want       string // in the error; "" for none
	}{
		{"it can", `"node_modules/c/node_modules/a"`, of("a", "1.2.0"), ""},
		{"a bundle", "", floor.Floor{Name: "f", Ecosystem: floor.NPM, Package: "a", Version: "1.2.0", Major: true}, "part of the package c 3.0.0"},
		{"another major", `"node_modules/c/node_modules/a"`, of("a", "2.0.0"), "another major"},
		{"another major is allowed", `"node_modules/c/node_modules/a"`, major, ""},
		{"not from a registry", "", of("fork", "1.0.1"), "comes from no registry (git+ssh)"},
	} {
		text := lock
		if test.drop != "" {
			var kept []string
			for line := range strings.Lines(lock) {
				if !strings.Contains(line, test.drop) {
					kept = append(kept, line)
				}
			}
			text = strings.Join(kept, "")
		}
		l := parsed(t, text)
		err := Check(l, Find(l, []floor.Floor{test.floor}))
		if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", test.name, err, test.want)
		}
	}
}

func TestPackage(t *testing.T) {
	const simple = `{"lockfileVersion": 3, "packages": {"node_modules/a": {"version": "1.0.0"}, "node_modules/x": {"name": "a", "version": "1.0.0"}}}`
	const mixed = `{"lockfileVersion": 3, "packages": {"node_modules/a": {"version": "1.0.0"}, "node_modules/b/node_modules/a": {"version": "3.0.0"}}}`
	for _, test := range []struct {
		name, lock, text string
		workspace        bool
		want             string
	}{
		{name: "a dependency of dependencies", lock: simple, text: `{"name": "app"}`,
			want: `{"name": "app", "overrides": {"a@<=1.2.0": "1.2.0"}}`},
		{name: "its own, by two names, in their order", lock: simple, text: `{"z": "<&>", "dependencies": {"x": "npm:a@^1.0.0", "a": "~1.0.0", "c": "1"}, "devDependencies": {"a": "*"}}`,
			want: `{"z": "<&>", "dependencies": {"x": "npm:a@1.2.0", "a": "1.2.0", "c": "1"}, "devDependencies": {"a": "1.2.0"}, "overrides": {"a@<=1.2.0": "1.2.0"}}`},
		{name: "of a workspace", lock: simple, workspace: true, text: `{"optionalDependencies": {"a": "1.0.0"}}`,
			want: `{"optionalDependencies": {"a": "1.2.0"}}`},
		{name: "others are higher", lock: mixed, text: `{"dependencies": {"a": "^1.0.0"}}`,
			want: `{"dependencies": {"a": ">=1.2.0"}, "overrides": {"a@<=1.2.0": ">=1.2.0"}}`},
		{name: "it overrides the same itself", lock: simple, text: `{"overrides": {"a": "1.0.0", "c": {"a": "1.0.0", "d@1": "2"}, "e": {"a": {"f": "1"}}, "g": {"a": "$a"}}}`,
			want: `{"overrides": {"a": "1.2.0", "c": {"a": "1.2.0", "d@1": "2"}, "e": {"a": {"f": "1", ".": "1.2.0"}}, "g": {"a": "$a"}}}`},
		{name: "it overrides some versions of it", lock: simple, text: `{"overrides": {"a@0": "0.9.0"}}`,
			want: `{"overrides": {"a@0": "1.2.0", "a@<=1.2.0": "1.2.0"}}`},
		{name: "fields that are something else", lock: simple, text: `{"dependencies": [], "overrides": null}`,
			want: `{"dependencies": [], "overrides": {"a@<=1.2.0": "1.2.0"}}`},
	} {
		l := parsed(t, test.lock)
		got, err := Package([]byte(test.text), !test.workspace, l, Find(l, []floor.Floor{of("a", "1.2.0")}))
		if err != nil {
			t.Errorf("%s: %v", test.name, err)
			continue
		}
		want, err := read("want", []byte(test.want))
		if err != nil {
			t.Fatal(err)
		}
		text, err := want.file()
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(text), string(got)); diff != "" {
			t.Errorf("%s: %s", test.name, diff)
		}
	}
	for _, text := range []string{"", "[]", "{} {}", `{"a": `} {
		if _, err := Package([]byte(text), true, manifest.Lock{}, nil); err == nil {
			t.Errorf("%q was read", text)
		}
	}
}

const release = `{"name": "a", "version": "1.2.0", "license": "MIT", "versions": ["1.0.0", "1.2.0"], "scripts": {"install": "x"},
	"dependencies": {"d": "^1.0.0"}, "engines": {"node": ">=6"}, "bin": {}, "dist": {"integrity": "sha512-new", "tarball": "https://mirror.example.com/a.tgz"}}`

func TestLock(t *testing.T) {
	f := of("a", "1.2.0")
	made, err := ParseRelease([]byte(release), f)
	if err != nil {
		t.Fatal(err)
	}
	l := parsed(t, lock)
	got, err := Lock([]byte(lock), Find(l, []floor.Floor{f})[:1], map[floor.Floor]Release{f: made})
	if err != nil {
		t.Fatal(err)
	}
	o, err := read("got", got)
	if err != nil {
		t.Fatal(err)
	}
	if o.get("dependencies") != nil || string(o.get("lockfileVersion")) != "3" || o[0].key != "name" {
		t.Errorf("it is not of version 3 or lost its order: %s", got)
	}
	packages := o.object("packages")
	entry, err := plain(packages.object("node_modules/a"))
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"version":"1.2.0","integrity":"sha512-new","dev":true,"hasInstallScript":true,"license":"MIT","dependencies":{"d":"^1.0.0"},"engines":{"node":">=6"}}`
	if diff := cmp.Diff(want, string(entry)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff("sha512-b", packages.object("node_modules/b").text("integrity")); diff != "" {
		t.Errorf("another package: %s", diff)
	}
}

func TestParseRelease(t *testing.T) {
	for name, text := range map[string]string{
		"nothing":         ``,
		"another package": strings.Replace(release, `"name": "a"`, `"name": "b"`, 1),
		"another version": strings.Replace(release, `"version": "1.2.0"`, `"version": "1.2.1"`, 1),
		"several":         "[" + release + "]",
	} {
		if _, err := ParseRelease([]byte(text), of("a", "1.2.0")); err == nil {
			t.Errorf("%s was read", name)
		}
	}
}

func TestIntegrity(t *testing.T) {
	for dist, want := range map[string]string{
		`{"integrity": "sha512-x", "shasum": "y"}`:                 "sha512-x",
		`{"shasum": "da39a3ee5e6b4b0d3255bfef95601890afd80709"}`:   "sha1-2jmj7l5rSw0yVb/vlWAYkK/YBwk=",
		`{"shasum": "da39a3ee5e6b4b0d3255bfef95601890afd8070"}`:    "",
		`{"tarball": "https://registry.example.com/a/-/a-1.tgz"}`:  "",
		`{"shasum": "da39a3ee5e6b4b0d3255bfef95601890afd8070900"}`: "",
	} {
		got, err := Release{object{{"dist", []byte(dist)}}}.integrity()
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%s: %q, %v", dist, got, err)
		}
	}
}

// TestSettle: what npm wrote of the same package gets back where it is from; what is new names
// no mirror.
func TestSettle(t *testing.T) {
	const made = `{"lockfileVersion": 2, "packages": {
		"node_modules/b": {"version": "9.0.0", "integrity": "sha512-b", "license": "MIT"},
		"node_modules/a": {"version": "1.2.0", "integrity": "sha512-new"},
		"node_modules/d": {"version": "1.0.0", "integrity": "sha512-d"}}}`
	got, err := Settle([]byte(made), []byte(lock))
	if err != nil {
		t.Fatal(err)
	}
	const want = `{
  "lockfileVersion": 3,
  "packages": {
    "node_modules/b": {
      "version": "9.0.0",
      "resolved": "https://registry.example.com/b/-/b-9.0.0.tgz",
      "integrity": "sha512-b",
      "license": "MIT"
    },
    "node_modules/a": {
      "version": "1.2.0",
      "integrity": "sha512-new"
    },
    "node_modules/d": {
      "version": "1.0.0",
      "integrity": "sha512-d"
    }
  }
}
`
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Error(diff)
	}
}

func TestOthers(t *testing.T) {
	after := parsed(t, `{"lockfileVersion": 3, "packages": {"": {"version": "2"}, "node_modules/a": {"version": "1.2.0"}, "node_modules/b": {"version": "9.0.0"},
		"node_modules/x/node_modules/d": {"version": "1.0.0"}, "node_modules/c": {"version": "3.1.0"}}}`)
	before := parsed(t, lock)
	got := Others(before, after, Find(before, []floor.Floor{of("a", "1.2.0")}))
	if diff := cmp.Diff([]string{"c 3.1.0", "d 1.0.0"}, got); diff != "" {
		t.Error(diff)
	}
}

// FuzzRaise: whatever the files hold, the result can be read again and has no low package left.
func FuzzRaise(f *testing.F) {
	f.Add([]byte(`{"dependencies": {"a": "1"}, "overrides": {"a": {"b": {"a@1": "$a"}}}}`), []byte(lock))
	f.Add([]byte(`{}`), []byte(`{"lockfileVersion": 3, "packages": {"node_modules/a": {"version": "1.0.0", "name": "a"}, "node_modules/": {}}}`))
	one := of("a", "1.2.0")
	made, err := ParseRelease([]byte(release), one)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text, lockText []byte) {
		l, err := manifest.ParseLock(lockText)
		if err != nil {
			return
		}
		floors := []floor.Floor{one}
		lows := Find(l, floors)
		_ = Check(l, lows)
		if raised, err := Package(text, true, l, lows); err == nil {
			if _, err := read("raised", raised); err != nil {
				t.Errorf("%s became %s: %v", text, raised, err)
			}
		}
		raised, err := Lock(lockText, lows, map[floor.Floor]Release{one: made})
		if err != nil {
			return
		}
		again, err := manifest.ParseLock(raised)
		if err != nil {
			t.Fatalf("%s became %s: %v", lockText, raised, err)
		}
		if left := Find(again, floors); len(left) > 0 {
			t.Errorf("%s still has %+v", raised, left)
		}
		if _, err := Settle(raised, lockText); err != nil {
			t.Error(err)
		}
	})
}
