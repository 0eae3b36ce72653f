package cli

import (
	"testing"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/inventory/query"
)

// TestShownNamesCanBeAsked: what the table calls a package, the language understands.
func TestShownNamesCanBeAsked(t *testing.T) {
	tests := []struct {
		p    artifact.Package
		want string
	}{
		{artifact.Package{Type: "npm", Namespace: "@babel", Name: "cli", Version: "7.1.0"}, "npm/@babel/cli@7.1.0"},
		{artifact.Package{Type: "deb", Namespace: "debian", Name: "libstdc++6", Version: "14.2.0-19+b1", Arch: "amd64", Distro: "debian-13"}, "deb/libstdc++6@14.2.0-19+b1"},
		{artifact.Package{Type: "golang", Namespace: "golang.org/x", Name: "net", Version: "v0.1.0"}, "golang/golang.org/x/net@v0.1.0"},
		{artifact.Package{Type: "maven", Namespace: "org.slf4j", Name: "slf4j-api", Version: "2.0"}, "maven/org.slf4j:slf4j-api@2.0"},
		{artifact.Package{Type: "generic", Name: "a b%"}, "generic/a b%"},
	}
	for _, tt := range tests {
		got := askable(tt.p.PURL())
		if got != tt.want {
			t.Errorf("%s, want %s", got, tt.want)
		}
		name := query.Package{Type: tt.p.Type, Name: query.Title(tt.p.Type, tt.p.Namespace, tt.p.Name)}
		asked, err := query.Parse("what contains " + quote(tt.p, got))
		if contains, ok := asked.Where.(query.Contains); err != nil || !ok || contains.Where != name {
			t.Errorf("%s is understood as %+v, %v", got, asked.Where, err)
		}
	}
}

// quote gives the shown name without its version, as a question has it.
func quote(p artifact.Package, shown string) string {
	if p.Version != "" {
		shown = shown[:len(shown)-len("@"+p.Version)]
	}
	return `"` + shown + `"`
}
