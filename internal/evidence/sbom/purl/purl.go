// Package purl takes a package URL and gives the package that it names.
package purl

import (
	"net/url"
	"path"
	"strings"

	"github.com/package-url/packageurl-go"

	"plimsoll.dev/plimsoll/artifact"
)

// maxText bounds the bytes of a package URL.
const maxText = 4096

// Parse gives the package with what the qualifiers arch, distro, upstream and epoch say of
// it (purl-spec, PURL-TYPES).
func Parse(text string) (artifact.Package, bool) {
	if len(text) > maxText {
		return artifact.Package{}, false
	}
	u, err := packageurl.FromString(text)
	if err != nil || u.Name == "" {
		return artifact.Package{}, false
	}
	p := artifact.Package{Type: u.Type, Namespace: u.Namespace, Name: u.Name, Version: u.Version}
	if p.Type == packageurl.TypeGolang {
		p.Namespace, p.Name = goPath(text, p)
	}
	q := u.Qualifiers.Map()
	p.Arch, p.Distro = q["arch"], q["distro"]
	if upstream := q["upstream"]; upstream != "" {
		p.Source, p.SourceVersion, _ = strings.Cut(upstream, "@")
	} else if p.Distro != "" {
		p.Source = p.Name
	}
	if p.Source != "" && p.SourceVersion == "" {
		p.SourceVersion = p.Version
	}
	if epoch := q["epoch"]; epoch != "" && p.Type == packageurl.TypeRPM {
		p.Version = epoch + ":" + p.Version
	}
	return p, true
}

// goPath gives a module's path as it is written: the specification turns it into lower
// case, which Go and its advisories do not.
func goPath(text string, p artifact.Package) (namespace, name string) {
	_, rest, _ := strings.Cut(text, "/")
	rest, _, _ = strings.Cut(rest, "#")
	rest, _, _ = strings.Cut(rest, "?")
	if at := strings.LastIndexByte(rest, '@'); at > 0 {
		rest = rest[:at]
	}
	raw, err := url.PathUnescape(strings.Trim(rest, "/"))
	if err != nil || !strings.EqualFold(raw, path.Join(p.Namespace, p.Name)) {
		return p.Namespace, p.Name
	}
	namespace, name = path.Split(raw)
	return strings.TrimSuffix(namespace, "/"), name
}
