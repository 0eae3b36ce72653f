// Package query takes a question about images in a small language and gives its syntax
// tree. docs/query.md is the language's document, and its test.
package query

import (
	"time"
)

// Subject is what a question asks for, and what the fields in a condition belong to.
type Subject string

// The subjects. A condition about images may hold one about packages in contains ( … ),
// and both may hold one about advisories in affected by ( … ).
const (
	Images     Subject = "images"
	Packages   Subject = "packages"
	Advisories Subject = "advisories"
)

// Query is one question.
type Query struct {
	Subject Subject
	Where   Expr      // nil: all of them
	Fix     bool      // "and how is it fixed"
	AsOf    time.Time // "as of DATE": the end of that day or that moment; zero is now
	Ever    bool      // "ever": also images that no reference names any more
}

// Expr is a condition: one of And, Or, Not, Compare, Package, Contains, Affected.
type Expr interface{ expr() }

type (
	// And holds when all of its two or more parts hold.
	And struct{ All []Expr }
	// Or holds when any of its two or more parts holds.
	Or struct{ Any []Expr }
	// Not holds when its part does not.
	Not struct{ Expr Expr }
	// Compare holds a field against a value.
	Compare struct {
		Field Field
		Label string // the label's name when Field is "label"; the gate, or "", when it is "verdict"
		Op    Op
		Value Value
	}
	// Package is about the name of a package and, when Op is set, its version, which is
	// compared as the package's own ecosystem does.
	Package struct {
		Type    string // the purl type; "" is any
		Name    string // with its namespace: "@babel/core", "golang.org/x/net", "org.slf4j:slf4j-api"
		Op      Op     // "" for any version
		Version string
	}
	// Contains holds for an image with a package for which Where holds.
	Contains struct{ Where Expr }
	// Affected holds for an image or package with a finding for which Where holds; nil is
	// any finding.
	Affected struct{ Where Expr }
)

func (And) expr()      {}
func (Or) expr()       {}
func (Not) expr()      {}
func (Compare) expr()  {}
func (Package) expr()  {}
func (Contains) expr() {}
func (Affected) expr() {}

// Op is a comparison.
type Op string

// The comparisons. Glob compares with a pattern in which * stands for any text, the empty
// one and slashes included, and ? for one character.
const (
	Equal        Op = "="
	NotEqual     Op = "!="
	Less         Op = "<"
	LessEqual    Op = "<="
	Greater      Op = ">"
	GreaterEqual Op = ">="
	Glob         Op = "~"
)

// Holds tells whether the comparison accepts cmp, which is negative, zero or positive as
// the left side is less, equal or greater.
func (op Op) Holds(cmp int) bool {
	switch op {
	case Equal:
		return cmp == 0
	case NotEqual:
		return cmp != 0
	case Less:
		return cmp < 0
	case LessEqual:
		return cmp <= 0
	case Greater:
		return cmp > 0
	case GreaterEqual:
		return cmp >= 0
	}
	return false
}

// Value is the right side of a Compare: Text as it was written, and what the field's kind
// makes of it.
type Value struct {
	Text   string
	Number float64       // Number and Severity fields; a size in bytes
	Time   time.Time     // Moment fields
	Age    time.Duration // Age fields
}

// Severities in the order of Value.Number, from 0.
var severities = [...]string{"unknown", "none", "low", "medium", "high", "critical"}

// SeverityRank gives the place of a severity in the order unknown, none, low, medium,
// high, critical, from 0; unknown for a word that is none of them.
func SeverityRank(severity string) int {
	for rank, name := range severities {
		if name == severity {
			return rank
		}
	}
	return 0
}

// SeverityOf gives the severity of a rank.
func SeverityOf(rank int) string {
	if rank < 0 || rank >= len(severities) {
		return severities[0]
	}
	return severities[rank]
}
