package build

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"plimsoll.dev/plimsoll/internal/build/builder"
	"plimsoll.dev/plimsoll/internal/build/cnb"
	"plimsoll.dev/plimsoll/internal/fault"
)

func TestProject(t *testing.T) {
	type wants struct {
		Buildpacks, Pre, Post []string
		Environment           map[string]string
	}
	for _, tt := range []struct {
		name, text string
		want       wants
		wrong      string // in the error
	}{
		{name: "nothing", want: wants{Environment: map[string]string{}}},
		{
			name: "schema 0.1", text: "[[build.buildpacks]]\nid = 'a'\nversion = '1'\n[[build.env]]\nname = 'X'\nvalue = 'y'\n",
			want: wants{Buildpacks: []string{"a@1"}, Environment: map[string]string{"X": "y"}},
		},
		{
			name: "schema 0.1 by name", text: "[_]\nschema-version = '0.1'\n[[build.env]]\nname = 'X'\nvalue = 'y'\n[[io.buildpacks.build.env]]\nname = 'Z'\n",
			want: wants{Environment: map[string]string{"X": "y"}},
		},
		{
			name: "schema 0.2", text: "[_]\nschema-version = '0.2'\n[[io.buildpacks.pre.group]]\nid = 'p'\n[[io.buildpacks.post.group]]\nid = 'q'\nversion = '2'\n",
			want: wants{Pre: []string{"p"}, Post: []string{"q@2"}, Environment: map[string]string{}},
		},
		{
			name: "execution environments", text: "[_]\nschema-version = '0.3'\n[[io.buildpacks.group]]\nid = 'a'\nexec-env = ['test']\n[[io.buildpacks.group]]\nid = 'b'\nexec-env = ['test', 'production']\n" +
				"[[io.buildpacks.build.env]]\nname = 'X'\nexec-env = ['test']\n[[io.buildpacks.build.env]]\nname = 'Y'\nvalue = '1'\nexec-env = ['*']\n",
			want: wants{Buildpacks: []string{"b"}, Environment: map[string]string{"Y": "1"}},
		},
		{name: "unknown schema", text: "[_]\nschema-version = '7.0'\n", wrong: "7.0"},
		{name: "script", text: "[_]\nschema-version = '0.2'\n[[io.buildpacks.pre.group]]\nid = 'p'\n[io.buildpacks.pre.group.script]\napi = '0.9'\ninline = 'true'\n", wrong: `"p" is a script`},
		{name: "uri", text: "[_]\nschema-version = '0.2'\n[[io.buildpacks.group]]\nuri = 'docker://x'\n", wrong: "uri"},
		{name: "include and exclude", text: "[build]\ninclude = ['a']\nexclude = ['b']\n", wrong: "only one"},
		{name: "bad variable", text: "[[build.env]]\nname = '../x'\nvalue = 'y'\n", wrong: "../x"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d, err := parseProject([]byte(tt.text))
			if tt.wrong != "" {
				if err == nil || !strings.Contains(err.Error(), tt.wrong) {
					t.Errorf("it says %v, want %q in it", err, tt.wrong)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			r, err := d.join(Request{})
			if err != nil {
				t.Fatal(err)
			}
			s := r.Settings
			if diff := cmp.Diff(tt.want, wants{s.Buildpacks, s.pre, s.post, s.Environment}); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestPrune(t *testing.T) {
	for _, tt := range []struct {
		name, text string
		want       []string
	}{
		{"include", "[build]\ninclude = ['cmd/', '*.mod']\n", []string{"cmd/a/main.go", "go.mod"}},
		{"exclude", "[build]\nexclude = ['cmd/', 'project.toml']\n", []string{"go.mod", "web/x"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			for name, text := range map[string]string{"cmd/a/main.go": "", "go.mod": "", "web/x": "", projectFile: tt.text} {
				path := filepath.Join(dir, name)
				if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			d, err := readProject(dir)
			if err != nil {
				t.Fatal(err)
			}
			if err := d.prune(dir); err != nil {
				t.Fatal(err)
			}
			var got []string
			_ = filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
				if err == nil && !e.IsDir() {
					name, _ := filepath.Rel(dir, path)
					got = append(got, name)
				}
				return err
			})
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestOrder(t *testing.T) {
	entry := func(id string) cnb.GroupEntry { return cnb.GroupEntry{ID: id, Version: "1"} }
	b := &builder.Builder{
		Layers: cnb.BuildpackLayers{"a": {"1": {}}, "b": {"1": {}}, "p": {"1": {}}, "q": {"1": {}, "2": {}}},
		Order:  cnb.Order{{Group: []cnb.GroupEntry{entry("a")}}, {Group: []cnb.GroupEntry{entry("b")}}},
	}
	extended := *b
	extended.Extensions = true
	for _, tt := range []struct {
		name     string
		builder  *builder.Builder
		settings Settings
		want     cnb.Order // nil is the builder's own file
	}{
		{"the builder's", b, Settings{}, nil},
		{"chosen", b, Settings{Buildpacks: []string{"b", "a@1"}, pre: []string{"p"}}, cnb.Order{{Group: []cnb.GroupEntry{entry("b"), entry("a")}}}},
		{"before and after", b, Settings{pre: []string{"p"}, post: []string{"q@1"}}, cnb.Order{
			{Group: []cnb.GroupEntry{entry("p"), entry("a"), entry("q")}}, {Group: []cnb.GroupEntry{entry("p"), entry("b"), entry("q")}},
		}},
		{"without extensions", &extended, Settings{}, b.Order},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := (&job{builder: tt.builder, settings: tt.settings}).chooseOrder()
			if err != nil {
				t.Fatal(err)
			}
			if tt.want == nil {
				if got.path != cnb.OrderPath || got.mounts != nil {
					t.Errorf("got %+v", got)
				}
				return
			}
			if diff := cmp.Diff(cnb.OrderTOML(tt.want), string(got.mounts[0].Content)); diff != "" || got.path != orderPath {
				t.Errorf("at %s: %s", got.path, diff)
			}
		})
	}
	_, err := (&job{builder: b, settings: Settings{post: []string{"q"}}}).chooseOrder()
	if fault.KindOf(err) != fault.Usage || !strings.Contains(fault.HintOf(err), "q@2") {
		t.Errorf("several versions: %v, hint %q", err, fault.HintOf(err))
	}
}

func FuzzProject(f *testing.F) {
	for _, seed := range []string{
		"[_]\nschema-version = '0.2'\n[io.buildpacks]\nbuilder = 'b:1'\nexclude = ['x']\n[[io.buildpacks.pre.group]]\nid = 'p'\n",
		"[[build.env]]\nname = 'X'\nvalue = 'y'\n", "[_]\nx = ", "build = 1", "[[io.buildpacks.group]]\nexec-env = 'x'",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		d, err := parseProject(text)
		if err != nil {
			return
		}
		for _, v := range d.Build.Env {
			if CheckVariable(v.Name) != "" || strings.ContainsAny(v.Name, "/\x00") {
				t.Errorf("variable %q passed", v.Name)
			}
		}
		r, err := d.join(Request{})
		if err == nil && r.Builder.Reference == nil {
			t.Error("no builder")
		}
	})
}
