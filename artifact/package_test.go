package artifact_test

import (
	"testing"

	"github.com/package-url/packageurl-go"

	"plimsoll.dev/plimsoll/artifact"
)

// FuzzPURL compares with the library that everybody uses.
func FuzzPURL(f *testing.F) {
	f.Add("deb", "debian", "libssl3t64", "3.5.1-1+b1", "amd64", "debian-13", "openssl", "3.5.1-1")
	f.Add("npm", "@scope", "pkg", "1.0.0-rc.1", "", "", "", "")
	f.Add("golang", "github.com/a//b", "c d", "v1:~%", "", "", "", "")
	f.Add("deb", "", "é\xff\x00", "", "", "x", "", "")
	f.Fuzz(func(t *testing.T, kind, namespace, name, version, arch, distro, source, sourceVersion string) {
		p := artifact.Package{
			Type: kind, Namespace: namespace, Name: name, Version: version, Arch: arch, Distro: distro, Source: source, SourceVersion: sourceVersion,
		}
		qualifiers := map[string]string{}
		if distro != "" {
			qualifiers["distro"] = distro
			if arch != "" {
				qualifiers["arch"] = arch
			}
			switch {
			case sourceVersion != "" && sourceVersion != version:
				qualifiers["upstream"] = source + "@" + sourceVersion
			case source != name && source != "":
				qualifiers["upstream"] = source
			}
		}
		want := packageurl.NewPackageURL(kind, namespace, name, version, packageurl.QualifiersFromMap(qualifiers), "").ToString()
		if got := p.PURL(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}
