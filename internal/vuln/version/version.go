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

// longest is how long a version may be, in bytes. Images may hold any, and to compare numbers
// takes more than their length.
const longest = 1024

// Parse reads a version. An error means that the scheme is not known or that it does not
// allow such a version.
func (s Scheme) Parse(text string) (Version, error) {
	if len(text) > longest {
		return Version{}, fmt.Errorf("version %.60q…: it is longer than %d bytes", text, longest)
	}
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
	case "PyPI", "Maven":
		if isPlain(text) {
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
		switch v.scheme {
		case SemVer:
			return semver.Compare("v"+v.text, "v"+w.text), nil
		case "Debian":
			return cmp.Compare(debian.Compare(v.debian, w.debian), 0), nil
		}
		return comparePlain(v.text, w.text), nil
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

// isPlain says whether the text is numbers with single dots between them, as most versions
// are. Those need no reader, which is what most of the time of a match would go to.
func isPlain(text string) bool {
	digits := 0
	for i := range len(text) {
		switch c := text[i]; {
		case c >= '0' && c <= '9':
			if digits++; digits > 18 {
				return false
			}
		case c == '.' && digits > 0:
			digits = 0
		default:
			return false
		}
	}
	return digits > 0
}

// comparePlain compares number by number; one that is missing is 0.
func comparePlain(a, b string) int {
	for a != "" || b != "" {
		var left, right int64
		left, a = nextNumber(a)
		right, b = nextNumber(b)
		if left != right {
			return cmp.Compare(left, right)
		}
	}
	return 0
}

func nextNumber(text string) (n int64, rest string) {
	i := 0
	for ; i < len(text) && text[i] != '.'; i++ {
		n = 10*n + int64(text[i]-'0')
	}
	return n, text[min(i+1, len(text)):]
}

// String gives the version as it was read.
func (v Version) String() string { return v.text }
