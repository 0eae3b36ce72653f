package project

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParse(t *testing.T) {
	for _, c := range []struct {
		name string
		text string
		want Project
		ok   bool
		err  bool
	}{
		{name: "only tools", text: "[tool.black]\nline-length = 100\n"},
		{
			name: "a package",
			text: "[build-system]\nrequires = ['flit_core']\nbuild-backend = 'flit_core.buildapi'\n[project]\nname = 'shop'\ndependencies = ['flask>=3']\nscripts = {shop = 'shop:main', admin = 'shop.admin:main'}\n",
			want: Project{Name: "shop", Dependencies: []string{"flask>=3"}, Scripts: []string{"admin", "shop"}, Installable: true}, ok: true,
		},
		{name: "dependencies alone", text: "[project]\nname = 'shop'\nversion = '1'\ndependencies = ['flask']\n", want: Project{Name: "shop", Dependencies: []string{"flask"}}, ok: true},
		{name: "another tool's project", text: "[build-system]\nrequires = ['poetry-core']\n[tool.poetry]\nname = 'shop'\n", want: Project{Installable: true}, ok: true},
		{name: "broken", text: "[project\n", err: true},
		{name: "of another shape", text: "[project]\ndependencies = 'flask'\n", err: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, ok, err := Parse(c.text)
			if (err != nil) != c.err || ok != c.ok {
				t.Fatalf("ok %v, error %v", ok, err)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	f.Add("[build-system]\nrequires = ['a']\n[project]\nname = 'a'\n[project.scripts]\na = 'a:b'\n")
	f.Add("project = 1\n")
	f.Fuzz(func(t *testing.T, text string) {
		p, ok, err := Parse(text)
		if !ok && differs(p) || err != nil && ok {
			t.Errorf("%+v, %v, %v", p, ok, err)
		}
	})
}

// differs tells whether something was found.
func differs(p Project) bool { return p.Installable || p.Name != "" || p.Scripts != nil }
