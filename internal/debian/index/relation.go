package index

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"pault.ag/go/debian/version"
)

// Relation is one alternative of a relation field (Debian Policy 7.1): a package name,
// perhaps with a version, an architecture qualifier or a list of architectures.
type Relation struct {
	Name      string
	Qualifier string   // "any", "native", an architecture, or ""
	Op        string   // "<<", "<=", "=", ">=", ">>", or "" when any version will do
	Version   string   // empty when Op is
	Arches    []string // "[amd64 !i386]": those it holds for, or with '!' does not; nil for all
}

// String gives the relation as Debian writes it.
func (r Relation) String() string {
	s := r.Name
	if r.Qualifier != "" {
		s += ":" + r.Qualifier
	}
	if r.Op != "" {
		s += " (" + r.Op + " " + r.Version + ")"
	}
	if len(r.Arches) > 0 {
		s += " [" + strings.Join(r.Arches, " ") + "]"
	}
	return s
}

// Holds says whether the version satisfies the relation's own: always when it has none.
func (r Relation) Holds(version string) bool {
	if r.Op == "" {
		return true
	}
	c := CompareVersions(version, r.Version)
	switch r.Op {
	case "<<":
		return c < 0
	case "<=":
		return c <= 0
	case "=":
		return c == 0
	case ">=":
		return c >= 0
	}
	return c > 0
}

// For says whether the relation's list of architectures takes arch in.
func (r Relation) For(arch string) bool {
	if len(r.Arches) == 0 {
		return true
	}
	negated := strings.HasPrefix(r.Arches[0], "!")
	named := slices.ContainsFunc(r.Arches, func(a string) bool {
		a = strings.TrimPrefix(a, "!")
		return a == arch || a == "any" || a == "linux-any" || a == "any-"+arch || a == "linux-"+arch
	})
	return named != negated
}

// MayOverwrite says whether p's Replaces field lets its files take the place of q's. Only
// the real name counts there (Debian Policy 7.6.1).
func (p *Package) MayOverwrite(q *Package) (bool, error) {
	groups, err := ParseRelations(p.Replaces)
	if err != nil {
		return false, fmt.Errorf("package %s: Replaces: %w", p.Name, err)
	}
	for _, g := range groups {
		for _, r := range g {
			if r.Name == q.Name && r.Holds(q.Version) && r.For(p.Architecture) {
				return true, nil
			}
		}
	}
	return false, nil
}

// Group is the alternatives of one relation, any of which will do, in the order of choice.
type Group []Relation

// String gives "a | b".
func (g Group) String() string {
	parts := make([]string, len(g))
	for i, r := range g {
		parts[i] = r.String()
	}
	return strings.Join(parts, " | ")
}

// ParseRelations reads a relation field: "a (>= 1), b | c". It is a parser of its own, and
// not pault.ag/go/debian/dependency, because that one builds names byte by byte in time
// square to their length, keeps tabs and newlines inside names, takes any byte for a name,
// and cannot tell "foo:any" from "foo:any-any-any"; a resolver reads thousands of fields of
// foreign origin. Obsolete "<" and ">" mean "<=" and ">=", as they do to dpkg. Build
// profiles are an error: Policy has none in binary packages.
func ParseRelations(text string) ([]Group, error) {
	var groups []Group
	for part := range strings.SplitSeq(text, ",") {
		if strings.TrimSpace(part) == "" {
			continue // a trailing comma, which dpkg allows
		}
		var g Group
		for alternative := range strings.SplitSeq(part, "|") {
			r, err := ParseRelation(alternative)
			if err != nil {
				return nil, err
			}
			g = append(g, r)
		}
		groups = append(groups, g)
	}
	return groups, nil
}

// ParseRelation reads one alternative: "name:qualifier (op version) [arches]".
func ParseRelation(text string) (Relation, error) {
	const space = " \t\r\n"
	rest := strings.Trim(text, space)
	end := strings.IndexAny(rest, space+"([<")
	if end < 0 {
		end = len(rest)
	}
	var r Relation
	r.Name, r.Qualifier, _ = strings.Cut(rest[:end], ":")
	if !isName(r.Name) || strings.HasSuffix(rest[:end], ":") || r.Qualifier != "" && !isName(r.Qualifier) {
		return r, fmt.Errorf("relation %.80q: %.60q is no package name", text, rest[:end])
	}
	rest = strings.TrimLeft(rest[end:], space)
	var inside string
	var err error
	if strings.HasPrefix(rest, "(") {
		if inside, rest, err = enclosed(rest, ")"); err == nil {
			r.Op, r.Version, err = parseConstraint(inside)
		}
		if err != nil {
			return r, fmt.Errorf("relation %.80q: %w", text, err)
		}
	}
	if strings.HasPrefix(rest, "[") {
		if inside, rest, err = enclosed(rest, "]"); err == nil {
			r.Arches, err = parseArches(inside)
		}
		if err != nil {
			return r, fmt.Errorf("relation %.80q: %w", text, err)
		}
	}
	if rest != "" {
		return r, fmt.Errorf("relation %.80q: %.40q does not belong there", text, rest)
	}
	return r, nil
}

// enclosed cuts a leading bracketed part off.
func enclosed(text, closing string) (inside, rest string, err error) {
	inside, rest, ok := strings.Cut(text[1:], closing)
	if !ok {
		return "", "", fmt.Errorf("%q is missing", closing)
	}
	return strings.TrimSpace(inside), strings.TrimLeft(rest, " \t\r\n"), nil
}

func parseConstraint(text string) (op, v string, err error) {
	end := strings.IndexFunc(text, func(r rune) bool { return r != '<' && r != '>' && r != '=' })
	if end <= 0 {
		return "", "", fmt.Errorf("%.40q is no version constraint", text)
	}
	op, v = text[:end], strings.TrimSpace(text[end:])
	switch op {
	case "<", ">":
		op += "="
	case "<<", "<=", "=", ">=", ">>":
	default:
		return "", "", fmt.Errorf("%q is not one of <<, <=, =, >=, >>", op)
	}
	if _, err := version.Parse(v); err != nil {
		return "", "", fmt.Errorf("version %.60q: %w", v, err)
	}
	return op, v, nil
}

func parseArches(text string) ([]string, error) {
	arches := strings.Fields(text)
	if len(arches) == 0 {
		return nil, errors.New("an empty list of architectures")
	}
	for _, a := range arches {
		if !isName(strings.TrimPrefix(a, "!")) {
			return nil, fmt.Errorf("%.40q is no architecture", a)
		}
		if strings.HasPrefix(a, "!") != strings.HasPrefix(arches[0], "!") {
			return nil, errors.New("a list of architectures that is half negated")
		}
	}
	return arches, nil
}
