package requirement

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"plimsoll.dev/plimsoll/buildpacks/internal/floor"
)

// Raised is a requirement that asked for less than its floor.
type Raised struct {
	Floor floor.Floor
	Asked string // "==2.31.0", "<2.32"
}

// Raise gives the text of a requirements file in which what asks for a version below its floor
// asks for the floor; all else stays as it is. Where requirements have hashes, hash gives those
// of the release at the floor, as "sha256:…".
func Raise(text string, floors []floor.Floor, hash func(floor.Floor) (string, error)) (string, []Raised, error) {
	var out strings.Builder
	var all []Raised
	for _, group := range logical(text) {
		line := ""
		if lines := Lines(group); len(lines) == 1 {
			line = lines[0]
		}
		parts := hashMark.Split(line, 2)
		specifier, raised, err := RaiseOne(strings.TrimSpace(parts[0]), floors)
		if err != nil {
			return "", nil, err
		}
		if raised == nil {
			out.WriteString(group)
			continue
		}
		if len(parts) > 1 {
			sum, err := hash(raised.Floor)
			if err != nil {
				return "", nil, err
			}
			specifier += " --hash=" + sum
		}
		out.WriteString(specifier + "\n")
		all = append(all, *raised)
	}
	return out.String(), all, nil
}

// hashMark begins the options of a requirement.
var hashMark = regexp.MustCompile(`\s--hash[=\s]`)

// logical cuts a file's text into what Lines makes a line of, each with its ends of lines.
func logical(text string) []string {
	var groups []string
	begun := 0
	for at, line := range lineStarts(text) {
		plain := strings.TrimRight(line, "\r\n")
		if strings.HasSuffix(plain, `\`) && !strings.HasPrefix(strings.TrimSpace(plain), "#") {
			continue
		}
		groups = append(groups, text[begun:at+len(line)])
		begun = at + len(line)
	}
	if begun < len(text) {
		groups = append(groups, text[begun:])
	}
	return groups
}

// lineStarts gives each line of the text by where it begins.
func lineStarts(text string) func(func(int, string) bool) {
	return func(yield func(int, string) bool) {
		at := 0
		for line := range strings.Lines(text) {
			if !yield(at, line) {
				return
			}
			at += len(line)
		}
	}
}

// RaiseOne gives a dependency specifier (PEP 508) that asks for the floor instead of less; nil
// when it does not ask for less.
func RaiseOne(specifier string, floors []floor.Floor) (string, *Raised, error) {
	m := specified.FindStringSubmatch(specifier)
	if m == nil || isPath(specifier) {
		return specifier, nil, nil
	}
	name, extras, asked, marker := m[1], m[2], strings.TrimSpace(strings.Trim(strings.TrimSpace(m[3]), "()")), m[4]
	i := slices.IndexFunc(floors, func(f floor.Floor) bool { return Normalize(f.Package) == Normalize(name) })
	if i < 0 {
		return specifier, nil, nil
	}
	f := floors[i]
	for clause := range strings.SplitSeq(asked, ",") {
		bound, err := excludes(strings.TrimSpace(clause), f)
		if err != nil {
			return "", nil, err
		}
		if !bound {
			continue
		}
		out := name + extras + "==" + f.Version
		if marker != "" {
			out += " ; " + strings.TrimSpace(marker[1:])
		}
		return out, &Raised{Floor: f, Asked: asked}, nil
	}
	return specifier, nil, nil
}

var (
	specified = regexp.MustCompile(`^([A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)\s*(\[[^\]]*\])?\s*([^;@]*)(;.*)?$`)
	clause    = regexp.MustCompile(`^(===|==|~=|<=|<)\s*([^\s*]+?)(\.\*)?$`)
)

// excludes tells whether a clause of a version specifier (PEP 440) allows only versions below
// the floor. An error means that the override must not raise it.
func excludes(text string, f floor.Floor) (bool, error) {
	m := clause.FindStringSubmatch(text)
	if m == nil {
		return false, nil // a lower bound, or one version less
	}
	operator, number, series := m[1], m[2], m[3] != "" || m[1] == "~="
	highest := number // of what it allows, or what is just above that
	order, err := floor.Compare(floor.PyPI, number, f.Version)
	switch {
	case err != nil:
		return false, fmt.Errorf("override %s: what is asked for cannot be read: %q", f.Name, text)
	case series && within(f.Version, prefix(number, operator)) && (order <= 0 || operator != "~="):
		return false, nil
	case order > 0 || order == 0 && operator != "<":
		return false, nil
	case operator == "<":
		highest = justBelow(number)
	}
	return true, f.Crossing(highest)
}

// prefix gives the numbers that a version must begin with for "~=number" or "==number.*".
func prefix(number, operator string) []string {
	parts := strings.Split(number, ".")
	if operator == "~=" && len(parts) > 1 {
		parts = parts[:len(parts)-1]
	}
	return parts
}

func within(version string, prefix []string) bool {
	parts := strings.Split(version, ".")
	return len(parts) >= len(prefix) && slices.Equal(parts[:len(prefix)], prefix)
}

// justBelow gives a version of the last major that "<number" allows: "<3" and "<3.0" allow 2.
func justBelow(number string) string {
	first, rest, _ := strings.Cut(number, ".")
	n, err := strconv.Atoi(first)
	if err != nil || n == 0 || strings.Trim(rest, "0.") != "" {
		return number
	}
	return strconv.Itoa(n - 1)
}
