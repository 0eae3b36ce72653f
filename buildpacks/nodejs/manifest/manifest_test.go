package manifest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// example is a real application with a real lock file.
const example = "../../../examples/apps/nodejs"

func TestReadAnApplication(t *testing.T) {
	p, lock, locked, err := Read(example)
	if err != nil || !locked {
		t.Fatal(locked, err)
	}
	if !p.HasDependencies() || p.Scripts["start"] == "" || !p.Accepts("20.19.2") || p.Accepts("18.20.0") {
		t.Errorf("read as %+v", p)
	}
	found := map[string]Installed{}
	for _, i := range lock.Installed("x64") {
		found[i.Name] = i
	}
	if len(found) < 40 {
		t.Errorf("only %d packages", len(found))
	}
	for name := range p.Dependencies {
		i := found[name]
		if i.Version == "" || i.License == "" || !strings.HasPrefix(i.Integrity, "sha512-") || i.Folder != "node_modules/"+name {
			t.Errorf("%s is %+v", name, i)
		}
	}
}

// TestTheExampleNamesNoRegistry keeps the address of anybody's mirror out of the lock file.
func TestTheExampleNamesNoRegistry(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(example, "package-lock.json"))
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(text), `"resolved"`) {
		t.Error("it does: npm install --omit-lockfile-registry-resolved")
	}
}

func TestParseForms(t *testing.T) {
	for _, test := range []struct {
		name, text string
		want       Package
	}{
		{"short forms", `{"bin": "cli.js", "license": {"type": "MIT"}, "workspaces": ["a/*"], "engines": ["node >= 0.4"]}`,
			Package{Bin: Bin{"": "cli.js"}, License: "MIT", Workspaces: Workspaces{"a/*"}}},
		{"long forms", `{"bin": {"a": "a.js"}, "license": "ISC", "workspaces": {"packages": ["b"]}, "engines": {"node": "20", "npm": 9}}`,
			Package{Bin: Bin{"a": "a.js"}, License: "ISC", Workspaces: Workspaces{"b"}, Engines: Engines{Node: "20"}}},
		{"nonsense in fields that do not matter", `{"bin": 3, "license": false, "engines": null}`, Package{}},
	} {
		got, err := Parse([]byte(test.text))
		if err != nil {
			t.Errorf("%s: %v", test.name, err)
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s: %s", test.name, diff)
		}
	}
	if _, err := Parse([]byte(`{"name": `)); err == nil {
		t.Error("half a package.json was read")
	}
}

func TestAccepts(t *testing.T) {
	for wanted, want := range map[string]bool{
		"": true, "*": true, ">=18": true, "^20.9.0": true, "18 || 20": true, "20.x": true, ">=18 <21": true, "18 - 22": true,
		">=18.0.0 <19 || >=20.1": true, "lts/iron": true,
		"^18": false, ">=22": false, "20.18.x": false, "<20": false,
	} {
		if got := (Package{Engines: Engines{Node: wanted}}).Accepts("20.19.2"); got != want {
			t.Errorf("%q accepts 20.19.2: %t", wanted, got)
		}
	}
}

// lock has what makes npm leave a package out.
const lock = `{"lockfileVersion": 3, "packages": {
	"": {"name": "app"},
	"node_modules/a": {"version": "1.0.0", "bin": {"a": "bin/a.js"}},
	"node_modules/a/node_modules/b": {"version": "2.0.0", "bin": {"nested": "n.js"}},
	"node_modules/alias": {"name": "@real/name", "version": "3.0.0", "bin": "cli.js"},
	"node_modules/dev": {"version": "1.0.0", "dev": true, "bin": {"dev": "d.js"}},
	"node_modules/peer": {"version": "1.0.0", "devOptional": true},
	"node_modules/mac": {"version": "1.0.0", "optional": true, "os": ["darwin"]},
	"node_modules/nowin": {"version": "1.0.0", "optional": true, "os": ["!win32"]},
	"node_modules/x64": {"version": "1.0.0", "optional": true, "os": ["linux"], "cpu": ["x64"], "libc": ["glibc"]},
	"node_modules/musl": {"version": "1.0.0", "optional": true, "libc": ["musl"]},
	"node_modules/@ws/lib": {"resolved": "packages/lib", "link": true},
	"packages/lib": {"name": "@ws/lib", "version": "1.0.0"},
	"packages/lib/node_modules/c": {"version": "4.0.0"}
}}`

func TestInstalled(t *testing.T) {
	l, err := ParseLock([]byte(lock))
	if err != nil {
		t.Fatal(err)
	}
	for cpu, want := range map[string]string{
		"x64":   "a b @real/name nowin peer x64 c",
		"arm64": "a b @real/name nowin peer c",
	} {
		var names []string
		for _, p := range l.Installed(cpu) {
			names = append(names, p.Name)
		}
		if diff := cmp.Diff(want, strings.Join(names, " ")); diff != "" {
			t.Errorf("%s: %s", cpu, diff)
		}
	}
}

func TestScript(t *testing.T) {
	l, err := ParseLock([]byte(lock))
	if err != nil {
		t.Fatal(err)
	}
	for program, want := range map[string]string{"a": "node_modules/a/bin/a.js", "name": "node_modules/alias/cli.js", "dev": "", "nested": "", "": ""} {
		if got, ok := l.Script(program); ok && got != want || ok != (want != "") {
			t.Errorf("%q is %q, %t", program, got, ok)
		}
	}
}

func TestParseLockRefuses(t *testing.T) {
	for _, text := range []string{`{"lockfileVersion": 1, "dependencies": {}}`, `{}`, `[`, `{"lockfileVersion": 3}`} {
		if _, err := ParseLock([]byte(text)); err == nil {
			t.Errorf("%s was read", text)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"name": "a", "bin": "x", "engines": {"node": ">=1"}, "workspaces": {"packages": []}}`))
	f.Add([]byte(`{"engines": {"node": "|| - ^"}}`))
	f.Fuzz(func(_ *testing.T, text []byte) {
		if p, err := Parse(text); err == nil {
			p.Accepts("20.19.2")
			p.InstallScripts()
		}
	})
}

func FuzzParseLock(f *testing.F) {
	f.Add([]byte(lock))
	f.Add([]byte(`{"lockfileVersion": 2, "packages": {"node_modules/": {"os": [""]}}}`))
	f.Fuzz(func(_ *testing.T, text []byte) {
		if l, err := ParseLock(text); err == nil {
			l.Installed("x64")
			l.Script("a")
		}
	})
}
