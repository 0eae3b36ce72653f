package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"plimsoll.dev/plimsoll/buildpacks/internal/tool"
	"plimsoll.dev/plimsoll/buildpacks/python/project"
)

// folder makes a folder with the files.
func folder(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, text := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func TestWanted(t *testing.T) {
	const nothing = "no requirements.txt, pyproject.toml or *.py"
	for _, c := range []struct {
		name  string
		files map[string]string
		env   string
		want  string
	}{
		{name: "requirements", files: map[string]string{"requirements.txt": ""}},
		{name: "other requirements", files: map[string]string{"requirements/web.txt": ""}, env: "requirements/web.txt"},
		{name: "a project", files: map[string]string{"pyproject.toml": "[project]\nname = 'shop'\n"}},
		{name: "settings of tools", files: map[string]string{"pyproject.toml": "[tool.black]\n"}, want: nothing},
		{name: "a script", files: map[string]string{"thing.py": ""}},
		{name: "scripts elsewhere", files: map[string]string{"scripts/thing.py": "", "package.json": "{}"}, want: nothing},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Setenv(envRequirements, c.env)
			got := ""
			if err := wanted(folder(t, c.files)); err != nil {
				got = err.Error()
			}
			if got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestWishes(t *testing.T) {
	for _, c := range []struct {
		name    string
		files   map[string]string
		want    wishes
		refused bool
	}{
		{
			name:  "with hashes",
			files: map[string]string{"requirements.txt": "a==1 --hash=sha256:00\n", "app.py": ""},
			want:  wishes{args: []string{"-r", "requirements.txt", "--require-hashes"}, names: []string{"a"}, files: []string{"requirements.txt"}},
		},
		{
			name:  "with wheels",
			files: map[string]string{"requirements.txt": "a\n", "wheels/a-1-py3-none-any.whl": "", "vendor/readme.md": ""},
			want:  wishes{args: []string{"-r", "requirements.txt"}, names: []string{"a"}, files: []string{"requirements.txt"}, wheels: []string{"wheels"}},
		},
		{
			name:  "of this very folder",
			files: map[string]string{"requirements.txt": "-e .\n", "pyproject.toml": "[project]\nname='a'\ndependencies=['Gunicorn>1']\n"},
			want:  wishes{args: []string{"-r", "requirements.txt"}, names: []string{"gunicorn"}, project: true},
		},
		{
			name:  "a project that can be installed",
			files: map[string]string{"pyproject.toml": "[build-system]\nrequires=[]\n[project]\nname='a'\ndependencies=['flask']\n"},
			want:  wishes{args: []string{"."}, names: []string{"flask"}, project: true},
		},
		{
			name:  "a project that only names its dependencies",
			files: map[string]string{"pyproject.toml": "[project]\nname='a'\ndependencies=['flask']\n"},
			want:  wishes{args: []string{"--", "flask"}, names: []string{"flask"}, files: []string{}, project: true},
		},
		{
			name:  "requirements beside a project that is not among them",
			files: map[string]string{"requirements.txt": "flask\n", "pyproject.toml": "[build-system]\nrequires=[]\n[project]\nname='a'\ndependencies=['gunicorn']\n"},
			want:  wishes{args: []string{"-r", "requirements.txt"}, names: []string{"flask"}, files: []string{"requirements.txt"}},
		},
		{name: "scripts alone", files: map[string]string{"app.py": ""}},
		{name: "an include that is missing", files: map[string]string{"requirements.txt": "-r missing.txt\n"}, refused: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Setenv(envRequirements, "")
			b := build{app: folder(t, c.files)}
			pyproject, _, err := project.Read(b.app)
			if err != nil {
				t.Fatal(err)
			}
			got, err := b.wishes(pyproject)
			if (err != nil) != c.refused {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, got, cmp.AllowUnexported(wishes{}), cmpopts.IgnoreFields(wishes{}, "what")); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestIgnores proves that a change of the application alone installs nothing again.
func TestIgnores(t *testing.T) {
	want := wishes{files: []string{"deps/web.txt"}, wheels: []string{"wheels"}}
	for path, ignored := range map[string]bool{
		"deps": false, "deps/web.txt": false, "deps/other.txt": true, "wheels": false, "wheels/a.whl": false, "wheels2": true, "app.py": true,
	} {
		if got := want.ignores(path); got != ignored {
			t.Errorf("%s: ignored %v", path, got)
		}
		if (wishes{}).ignores(path) {
			t.Errorf("%s: ignored although the whole application counts", path)
		}
	}
}

func TestPure(t *testing.T) {
	fine := folder(t, map[string]string{"a/b.py": "", "a/so.txt": ""})
	compiled := folder(t, map[string]string{"a/_speed.cpython-313-x86_64-linux-gnu.so": ""})
	if err := pure([]string{fine}); err != nil {
		t.Error(err)
	}
	if err := pure([]string{fine, compiled}); err == nil || !strings.Contains(err.Error(), "_speed.cpython-313") {
		t.Errorf("error %v, want the file's name in it", err)
	}
}

// TestExplain proves that a failed installation is told in one line that says what to do.
func TestExplain(t *testing.T) {
	for _, c := range []struct {
		name string
		tail string
		want wishes
		says string
	}{
		{
			"no network", "Failed to establish a new connection: [Errno -3] Temporary failure in name resolution\nERROR: No matching distribution found for flask",
			wishes{what: "-r requirements.txt"}, "set PIP_INDEX_URL, or vendor wheels (pip wheel -w wheels -r requirements.txt)",
		},
		{
			"a wheel is missing", "ERROR: No matching distribution found for setuptools>=61",
			wishes{what: ".", wheels: []string{"vendor"}}, "vendor/ lacks some of what is required, or of what compiles it: fill it with `pip wheel -w vendor .`",
		},
		{"a strange certificate", "SSLError: certificate verify failed: unable to get local issuer certificate", wishes{}, "ca-certificates"},
		{"anything else", "error: command 'gcc' failed", wishes{}, "`pip3 install` failed (exit status 1)"},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := explain(&tool.Error{Program: "pip3 install", Err: errors.New("exit status 1"), Tail: c.tail}, c.want)
			if err == nil || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "\n") {
				t.Errorf("error %v, want one line with %q in it", err, c.says)
			}
		})
	}
	if err := explain(nil, wishes{}); err != nil {
		t.Error(err)
	}
}
