package artifact

import "testing"

func TestRemedyOf(t *testing.T) {
	c := Contents{Layers: []string{"b0", "b1", "app"}, BaseLayers: 2}
	tests := []struct {
		name  string
		p     Package
		fixed string
		want  Remedy
	}{
		{"no fix", Package{Type: "deb", Layer: "b0"}, "", RemedyNone},
		{"in the base", Package{Type: "deb", Distro: "debian-13", Layer: "b1"}, "2", RemedyRebase},
		{"a language's package in the base", Package{Type: "npm", Layer: "b1"}, "2", RemedyRebase},
		{"a distribution's package upon the base", Package{Type: "deb", Distro: "debian-13", Layer: "app"}, "2", RemedyRebuild},
		{"Go's standard library", Package{Type: "golang", Name: "stdlib", Layer: "app"}, "2", RemedyRebuild},
		{"a module", Package{Type: "golang", Namespace: "golang.org/x", Name: "net", Layer: "app"}, "2", RemedyOverride},
		{"a locked dependency", Package{Type: "npm", Name: "a", Layer: "app", Paths: []string{"workspace/node_modules/a/package.json"}}, "2", RemedyOverride},
		{"one that a buildpack declares, too", Package{Type: "golang", Namespace: "golang.org/x", Name: "net", Layer: "app", FoundBy: []string{"image", "plimsoll/go"}}, "2", RemedyOverride},
		{"what npm itself is made of", Package{Type: "npm", Name: "a", Layer: "app", Paths: []string{"layers/x/node/lib/node_modules/npm/node_modules/a/package.json"}}, "2", RemedyRebuild},
		{"a part of npm that the application has, too", Package{Type: "npm", Name: "a", Layer: "app", Paths: []string{
			"layers/x/node/lib/node_modules/npm/node_modules/a/package.json", "workspace/node_modules/a/package.json",
		}}, "2", RemedyOverride},
		{"what the launcher is made of", Package{Type: "golang", Namespace: "x", Name: "y", Layer: "app", Paths: []string{"cnb/lifecycle/launcher"}}, "2", RemedyRebuild},
		{"a buildpack's own", Package{Type: "generic", Name: "node", Layer: "app"}, "2", RemedyRebuild},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := RemedyOf(tt.p, c.InBase(tt.p), tt.fixed); got != tt.want {
				t.Errorf("%s, want %s", got, tt.want)
			}
		})
	}
}
