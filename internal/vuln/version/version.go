// Package version takes two versions of an ecosystem and gives which is the older.
package version

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/google/osv-scalibr/semantic"
	"golang.org/x/mod/semver"
	debian "pault.ag/go/debian/version"
)

// Scheme is a way to order versions: the name of an ecosystem without its release
// ("Debian", "PyPI"), or SemVer.
type Scheme string

// SemVer is the order of Semantic Versioning 2.0.0 (semver.org), section 11.
const SemVer Scheme = "SemVer"

// Of gives the scheme of an ecosystem as advisories name it, with its release or without.
func Of(ecosystem string) Scheme {
	name, _, _ := strings.Cut(ecosystem, ":")
	switch name {
	case "Go", "npm", "crates.io", "Hex", "Bitnami", "SwiftURL":
		return SemVer
	case "Ubuntu", "Debian":
		return "Debian"
	}
	return Scheme(name)
}

// Version is a version that was read once, to be compared often.
type Version struct {
	scheme Scheme
	text   string // without a leading "v" for SemVer
	debian debian.Version
	other  semantic.Version // nil when the scheme's own reader took the text
}

// Parse reads a version. An error means that the scheme is not known or that it does not
// allow such a version.
func (s Scheme) Parse(text string) (Version, error) {
	v := Version{scheme: s, text: text}
	switch s {
	case SemVer:
		v.text = strings.TrimPrefix(text, "v")
		if semver.IsValid("v" + v.text) {
			return v, nil
		}
	case "Debian":
		var err error
		if v.debian, err = debian.Parse(text); err == nil {
			return v, nil
		}
	}
	var err error
	v.other, err = s.lenient(v.text)
	return v, err
}

// lenient reads what the scheme's own reader refused, and all schemes without one.
func (s Scheme) lenient(text string) (v semantic.Version, err error) {
	// Some readers panic on versions that nobody should write; an advisory is no reason to die.
	defer func() {
		if cause := recover(); cause != nil {
			err = fmt.Errorf("read version %.60q: %v", text, cause)
		}
	}()
	if s == SemVer {
		return semantic.ParseSemverVersion(text), nil
	}
	return semantic.Parse(text, string(s))
}

// Compare gives -1 when v is older than w, 1 when it is newer, else 0. Both are of one
// scheme.
func (v Version) Compare(w Version) (order int, err error) {
	if v.scheme != w.scheme {
		return 0, fmt.Errorf("compare a version of %s with one of %s", v.scheme, w.scheme)
	}
	if v.other == nil && w.other == nil {
		if v.scheme == SemVer {
			return semver.Compare("v"+v.text, "v"+w.text), nil
		}
		return cmp.Compare(debian.Compare(v.debian, w.debian), 0), nil
	}
	defer func() {
		if cause := recover(); cause != nil {
			err = fmt.Errorf("compare versions %.60q and %.60q: %v", v.text, w.text, cause)
		}
	}()
	a, b := v.other, w.other
	if a == nil {
		if a, err = v.scheme.lenient(v.text); err != nil {
			return 0, err
		}
	}
	if b == nil {
		if b, err = w.scheme.lenient(w.text); err != nil {
			return 0, err
		}
	}
	return a.Compare(b)
}

// String gives the version as it was read.
func (v Version) String() string { return v.text }
