package query

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/package-url/packageurl-go"
)

// term = contains | affected | package | field
func (p *parser) term(subject Subject, depth int) (Expr, *Error) {
	p.accept("is") // "what is affected by"
	t := p.peek()
	if p.terms++; p.terms > maxTerms {
		return nil, &Error{t.column, "there are too many conditions", "at most 200 are read"}
	}
	switch {
	case subject == Images && p.accept("contains"):
		if p.peek().kind == open {
			e, err := p.group(Packages, depth)
			return Contains{e}, err
		}
		e, err := p.pkg()
		return Contains{e}, err
	case subject != Advisories && p.accept("affected", "by"):
		return p.affected(depth)
	case subject != Advisories && p.accept("affected"):
		return Affected{}, nil
	case subject == Packages && p.accept("package"):
		return p.pkg()
	case t.kind == word:
		return p.field(subject)
	}
	return nil, p.unexpected(t, "a condition begins with one of "+names(subject))
}

// affected = "anything" | "(" condition of advisories ")" | ID
func (p *parser) affected(depth int) (Expr, *Error) {
	if p.accept("anything") {
		return Affected{}, nil
	}
	t := p.peek()
	switch t.kind {
	case open:
		e, err := p.group(Advisories, depth)
		return Affected{e}, err
	case word, quoted:
		p.next()
		return Affected{Compare{Field: ID, Op: Equal, Value: Value{Text: t.text}}}, nil
	}
	return nil, p.unexpected(t, `name an advisory: affected by CVE-2025-9230, or conditions: affected by (severity >= high and fixable)`)
}

// pkg = NAME | TYPE/NAME | PURL, then [ comparison VERSION ]
func (p *parser) pkg() (Expr, *Error) {
	t := p.next()
	if t.kind != word && t.kind != quoted || t.text == "" {
		return nil, p.unexpected(t, "name a package: openssl, npm/lodash or pkg:golang/golang.org/x/net")
	}
	e, err := packageNamed(t)
	if err != nil || p.peek().kind != operator {
		return e, err
	}
	op := p.next()
	if Op(op.text) == Glob {
		return nil, &Error{op.column, "a version is not compared with a pattern", "compare it with =, !=, <, <=, > or >="}
	}
	if e.Op != "" {
		return nil, &Error{op.column, "the package URL already names a version", "leave one of them out"}
	}
	version := p.next()
	if version.kind != word && version.kind != quoted || version.text == "" {
		return nil, p.unexpected(version, "name a version")
	}
	e.Op, e.Version = Op(op.text), version.text
	return e, nil
}

// packageNamed reads how a package is named.
func packageNamed(t token) (Package, *Error) {
	if strings.HasPrefix(t.text, "pkg:") {
		purl, err := packageurl.FromString(t.text)
		if err != nil || !slices.Contains(types, purl.Type) || strings.ContainsAny(purl.Namespace+purl.Name+purl.Version, "\"'") || !printable(purl.Namespace+purl.Name+purl.Version) {
			return Package{}, &Error{t.column, fmt.Sprintf("%q is no package URL", t.text), "write pkg:TYPE/NAME, quoted if it holds qualifiers; the types are " + strings.Join(types, ", ")}
		}
		e := Package{Type: purl.Type, Name: Title(purl.Type, purl.Namespace, purl.Name)}
		if purl.Version != "" {
			e.Op, e.Version = Equal, purl.Version
		}
		return e, nil
	}
	if before, name, found := strings.Cut(t.text, "/"); found && name != "" {
		if slices.Contains(types, strings.ToLower(before)) {
			return Package{Type: strings.ToLower(before), Name: name}, nil
		}
	}
	return Package{Name: t.text}, nil
}

// types are the package URL types that a name may begin with.
var types = []string{
	"apk", "bitnami", "cargo", "composer", "conan", "conda", "cran", "deb", "gem", "generic", "github", "golang",
	"hackage", "hex", "maven", "npm", "nuget", "pub", "pypi", "rpm", "swift",
}

func printable(s string) bool {
	return !strings.ContainsFunc(s, unicode.IsControl) && utf8.ValidString(s)
}

// Title gives the one name that people know a package by: with its namespace where that is
// a part of it, as in "@babel/core", "golang.org/x/net" and "org.slf4j:slf4j-api"; without
// where it names the distribution.
func Title(purlType, namespace, name string) string {
	switch {
	case namespace == "", purlType == "deb", purlType == "apk", purlType == "rpm":
		return name
	case purlType == "maven":
		return namespace + ":" + name
	}
	return namespace + "/" + name
}

// field = FLAG | FIELD value | FIELD comparison value
func (p *parser) field(subject Subject) (Expr, *Error) {
	t := p.next()
	field, label, owner, found := fieldNamed(subject, t.text)
	if !found {
		return nil, unknownField(subject, t)
	}
	compare := Compare{Field: field, Label: label, Op: Equal}
	k := fields[owner][field]
	if k != flag {
		if err := p.comparison(k, &compare); err != nil {
			return nil, err
		}
	}
	if field == RunningIn {
		return nil, &Error{t.column, "where an image runs is known from the control plane on", "leave running-in out: this inventory holds registries alone"}
	}
	switch {
	case owner == subject:
		return compare, nil
	case owner == Packages:
		return Contains{compare}, nil
	}
	return Affected{compare}, nil
}

func unknownField(subject Subject, t token) *Error {
	hint := "conditions about " + string(subject) + " begin with one of " + names(subject)
	if strings.EqualFold(t.text, "version") {
		hint = "a version is compared together with its package: contains openssl < 3.5.7, or in a condition about packages: package openssl < 3.5.7"
	}
	return &Error{t.column, fmt.Sprintf("%s have no field %q", subject, t.text), hint}
}

// comparison reads an operator and a value of the kind.
func (p *parser) comparison(k kind, c *Compare) *Error {
	if k != opaque {
		op := p.next()
		if op.kind != operator || !slices.Contains(k.ops(), Op(op.text)) {
			return p.unexpected(op, fmt.Sprintf("%s is compared with one of %s", c.Field, join(k.ops())))
		}
		c.Op = Op(op.text)
	}
	value := p.next()
	if value.kind != word && value.kind != quoted {
		return p.unexpected(value, fmt.Sprintf("%s wants a value", c.Field))
	}
	var why string
	if c.Value, why = readValue(k, value.text); why != "" {
		return &Error{value.column, fmt.Sprintf("%q is no value for %s", value.text, c.Field), why}
	}
	return nil
}

func join(ops []Op) string {
	var all []string
	for _, op := range ops {
		all = append(all, string(op))
	}
	return strings.Join(all, " ")
}
