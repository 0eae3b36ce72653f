package artifact

import "testing"

func TestAdvisoryKey(t *testing.T) {
	tests := []struct {
		name                  string
		p                     Package
		ecosystem, advisories string
		ok                    bool
	}{
		{"a source", Package{Type: "deb", Namespace: "debian", Name: "libssl3t64", Source: "openssl", Distro: "debian-13.2"}, "Debian:13", "openssl", true},
		{"a signed kernel", Package{Type: "deb", Name: "linux-image-6.12", Source: "linux-signed-amd64", Distro: "debian-13"}, "Debian:13", "linux", true},
		{"PEP 503", Package{Type: "pypi", Name: "Zope.__Interface"}, "PyPI", "zope-interface", true},
		{"Go minds the case", Package{Type: "golang", Namespace: "github.com/Masterminds", Name: "goutils"}, "Go", "github.com/masterminds/goutils", true},
		{"Go itself", Package{Type: "golang", Name: "go"}, "Go", "stdlib", true},
		{"npm minds the case", Package{Type: "npm", Namespace: "@A", Name: "B"}, "npm", "@A/B", true},
		{"Maven", Package{Type: "maven", Namespace: "org.X", Name: "y"}, "Maven", "org.X:y", true},
		{"nobody's", Package{Type: "generic", Name: "node"}, "", "node", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			ecosystem, name, ok := tt.p.AdvisoryKey()
			if ecosystem != tt.ecosystem || name != tt.advisories || ok != tt.ok {
				t.Errorf("%q %q %t, want %q %q %t", ecosystem, name, ok, tt.ecosystem, tt.advisories, tt.ok)
			}
		})
	}
}
