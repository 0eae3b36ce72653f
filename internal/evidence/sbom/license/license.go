// Package license takes what a package says of its licence and gives an SPDX licence
// expression, or what it said where that is none.
package license

import (
	_ "embed"
	"strings"
	"sync"
)

// The identifiers of the SPDX licence list, deprecated ones too, one a line.
//
//go:embed licenses.txt
var licenseList string

//go:embed exceptions.txt
var exceptionList string

var licenses = sync.OnceValue(func() map[string]string { return byLower(licenseList) })

var exceptions = sync.OnceValue(func() map[string]string { return byLower(exceptionList) })

func byLower(list string) map[string]string {
	known := map[string]string{}
	for id := range strings.Lines(list) {
		id = strings.TrimSpace(id)
		known[strings.ToLower(id)] = id
	}
	return known
}

// maxText bounds the bytes of what is kept of a licence that is no expression.
const maxText = 200

// Of gives the text as an SPDX expression in its canonical form or, where it is none, as it
// stands: on one line and cut to 200 bytes.
func Of(text string) string {
	if expression, ok := Expression(text); ok {
		return expression
	}
	text = strings.ToValidUTF8(strings.Join(strings.Fields(text), " "), "")
	if len(text) > maxText {
		text = strings.ToValidUTF8(text[:maxText], "") + "…"
	}
	return text
}

// IsID says whether the text is one identifier of the SPDX licence list, as written there.
func IsID(text string) bool { return licenses()[strings.ToLower(text)] == text && text != "" }

// maxTokens bounds the words of an expression.
const maxTokens = 100

// Expression gives the canonical form of an SPDX licence expression (SPDX 2.3, annex D):
// identifiers as the list writes them, operators in capitals; ok is false for anything else.
func Expression(text string) (canonical string, ok bool) {
	if known := licenses()[strings.ToLower(text)]; known != "" {
		return known, true
	}
	if len(text) > 100*maxTokens {
		return "", false
	}
	tokens := strings.Fields(strings.ReplaceAll(strings.ReplaceAll(text, "(", " ( "), ")", " ) "))
	if len(tokens) == 0 || len(tokens) > maxTokens {
		return "", false
	}
	p := parser{tokens: tokens}
	if !p.compound() || len(p.tokens) > 0 {
		return "", false
	}
	out := strings.Join(p.out, " ")
	return strings.ReplaceAll(strings.ReplaceAll(out, "( ", "("), " )", ")"), true
}

// parser moves tokens to out as long as they follow the grammar.
type parser struct {
	tokens []string
	out    []string
}

func (p *parser) next() string {
	if len(p.tokens) == 0 {
		return ""
	}
	return p.tokens[0]
}

func (p *parser) take(as string) bool {
	p.tokens = p.tokens[1:]
	p.out = append(p.out, as)
	return true
}

func (p *parser) compound() bool {
	for {
		if !p.simple() {
			return false
		}
		operator := strings.ToUpper(p.next())
		if operator != "AND" && operator != "OR" {
			return true
		}
		p.take(operator)
	}
}

func (p *parser) simple() bool {
	if p.next() == "(" {
		return p.take("(") && p.compound() && p.next() == ")" && p.take(")")
	}
	id, plus := strings.CutSuffix(p.next(), "+")
	known := licenses()[strings.ToLower(id)]
	if known == "" {
		return false
	}
	if plus {
		known += "+"
	}
	p.take(known)
	if !strings.EqualFold(p.next(), "WITH") {
		return true
	}
	p.take("WITH")
	exception := exceptions()[strings.ToLower(p.next())]
	return exception != "" && p.take(exception)
}
