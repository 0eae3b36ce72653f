package artifact

import "strings"

// Package is one piece of software in an image.
type Package struct {
	// Type, Namespace, Name and Version are those of its package URL (purl-spec): "deb",
	// "golang", "npm", "pypi", "maven" and so on; "debian", "@scope", a Maven group or "".
	Type      string `json:"type"`
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name"`
	Version   string `json:"version,omitempty"`

	// Arch is the architecture as the package's own world writes it; "" when it has none.
	Arch string `json:"arch,omitempty"`

	// Distro is ID and VERSION_ID of os-release joined by "-" ("debian-13"), for packages
	// of a distribution; else "".
	Distro string `json:"distro,omitempty"`

	// Source and SourceVersion name the source package that a distribution built it from;
	// advisories speak of those. "" where there is no such thing.
	Source        string `json:"source,omitempty"`
	SourceVersion string `json:"sourceVersion,omitempty"`

	// Supplier is who the package says makes it: a maintainer, author or vendor, as written
	// there; "" where it does not say.
	Supplier string `json:"supplier,omitempty"`

	// SHA256 is the hexadecimal sum of the one file that is the package (a jar, or the program
	// of which it is the main module); "" where it is many files, or a part of one.
	SHA256 string `json:"sha256,omitempty"`

	// Owner names the distribution's own package that ships this one ("python3-requests" ships
	// pypi's requests): its distribution patches it without changing Version. "" for none, and
	// where somebody else made that package.
	Owner string `json:"owner,omitempty"`

	// Licenses are SPDX licence expressions, or what the package itself says where that is
	// none; sorted.
	Licenses []string `json:"licenses,omitempty"`

	// Paths are the files that tell of it, without a leading slash; sorted.
	Paths []string `json:"paths,omitempty"`

	// Layer is the diffID ("sha256:…") of the layer that brought it.
	Layer string `json:"layer,omitempty"`

	// FoundBy says who knows of it: "image" for what was read from its files, else the id of
	// the buildpack that declared it; sorted.
	FoundBy []string `json:"foundBy,omitempty"`
}

// PURL gives the package URL with the qualifiers arch, distro and upstream (purl-spec,
// PURL-TYPES, deb) where they are known. It is written here because it is asked for millions
// of times; a test holds it to packageurl-go's.
func (p Package) PURL() string {
	out := make([]byte, 0, 128)
	out = append(out, "pkg:"...)
	out = append(out, p.Type...)
	for segment := range strings.SplitSeq(p.Namespace, "/") {
		if segment != "" {
			out = appendEncoded(append(out, '/'), segment)
		}
	}
	out = appendEncoded(append(out, '/'), p.Name)
	if p.Version != "" {
		out = appendEncoded(append(out, '@'), p.Version)
	}
	if p.Distro == "" {
		return string(out)
	}
	separator := byte('?')
	for _, q := range [...][2]string{{"arch", p.Arch}, {"distro", p.Distro}, {"upstream", p.upstream()}} {
		if q[1] != "" {
			out = append(append(out, separator), q[0]...)
			out = appendEncoded(append(out, '='), q[1])
			separator = '&'
		}
	}
	return string(out)
}

// appendEncoded appends a part of a package URL (PURL-SPECIFICATION, "Character encoding"):
// a colon stays, unlike in other URLs.
func appendEncoded(out []byte, s string) []byte {
	const digits = "0123456789ABCDEF"
	for i := range len(s) {
		switch b := s[i]; {
		case 'a' <= b && b <= 'z', 'A' <= b && b <= 'Z', '0' <= b && b <= '9', b == '-', b == '.', b == '_', b == '~', b == ':':
			out = append(out, b)
		default:
			out = append(out, '%', digits[b>>4], digits[b&15])
		}
	}
	return out
}

// upstream is "source" or "source@version" where they differ from the package's own.
func (p Package) upstream() string {
	switch {
	case p.SourceVersion != "" && p.SourceVersion != p.Version:
		return p.Source + "@" + p.SourceVersion
	case p.Source != p.Name:
		return p.Source
	}
	return ""
}

// Ecosystem gives the name that advisories in OSV format know its world by (OSV schema,
// "affected[].package field"): "Debian:13", "Go", "npm", "PyPI", "Maven"; "" when they
// know none.
func (p Package) Ecosystem() string {
	switch p.Type {
	case "golang":
		return "Go"
	case "npm":
		return "npm"
	case "pypi":
		return "PyPI"
	case "maven":
		return "Maven"
	case "cargo":
		return "crates.io"
	case "gem":
		return "RubyGems"
	case "composer":
		return "Packagist"
	case "nuget":
		return "NuGet"
	}
	id, version, _ := strings.Cut(p.Distro, "-")
	switch id {
	case "debian":
		major, _, _ := strings.Cut(version, ".")
		return "Debian:" + major
	case "ubuntu":
		return "Ubuntu:" + version
	case "alpine":
		parts := strings.SplitN(version, ".", 3)
		if len(parts) < 2 {
			return ""
		}
		return "Alpine:v" + parts[0] + "." + parts[1]
	}
	return ""
}

// AdvisoryName gives the name and version that advisories of its Ecosystem speak of: the
// source package's for a distribution, "group:artifact" for Maven, "@scope/name" for npm.
func (p Package) AdvisoryName() (name, version string) {
	switch {
	case p.Source != "" && p.SourceVersion != "":
		return p.Source, p.SourceVersion
	case p.Source != "":
		return p.Source, p.Version
	case p.Namespace == "" || p.Distro != "":
		return p.Name, p.Version
	case p.Type == "maven":
		return p.Namespace + ":" + p.Name, p.Version
	}
	return p.Namespace + "/" + p.Name, p.Version
}

// AdvisoryKey gives the ecosystem and the name under which advisories on the package are
// kept: one for all spellings of it. ok is false when none can be about it.
func (p Package) AdvisoryKey() (ecosystem, name string, ok bool) {
	ecosystem = p.Ecosystem()
	name, _ = p.AdvisoryName()
	switch {
	case p.Type == "golang" && name == "go":
		name = "stdlib"
	case p.Type == "deb" && strings.HasPrefix(name, "linux-signed-"):
		name = "linux" // signed binaries of the same source, and of the same version
	}
	return ecosystem, AdvisorySpelling(ecosystem, name), ecosystem != ""
}

// AdvisorySpelling gives the one spelling of a name that its ecosystem's registry, or the
// package URL, takes for the same as others.
func AdvisorySpelling(ecosystem, name string) string {
	switch ecosystem {
	case "PyPI": // PEP 503: lower case, runs of "-", "_" and "." are one "-"
		var b strings.Builder
		for i, part := range strings.FieldsFunc(strings.ToLower(name), func(r rune) bool { return r == '-' || r == '_' || r == '.' }) {
			if i > 0 {
				b.WriteByte('-')
			}
			b.WriteString(part)
		}
		return b.String()
	case "Go", "NuGet", "Packagist", "GitHub Actions":
		// Go minds the case, package URLs do not (purl-spec, types/golang).
		return strings.ToLower(name)
	}
	return name
}
