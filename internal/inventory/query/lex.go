package query

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// MaxLength is the longest question that is read, in bytes.
const MaxLength = 8 << 10

type tokenKind int

const (
	end tokenKind = iota
	word
	quoted
	operator
	open
	closing
)

type token struct {
	kind   tokenKind
	text   string
	column int // of its first character, from 1
}

// is tells whether the token is the keyword; a quoted word never is.
func (t token) is(keyword string) bool { return t.kind == word && strings.EqualFold(t.text, keyword) }

// lex splits a question. Words run to white space, a quote, a parenthesis or one of "<>=";
// "~" and "!" are operators only where a word would begin, for versions hold them.
func lex(input string) ([]token, *Error) {
	if len(input) > MaxLength {
		return nil, &Error{Column: 1, Why: "the question is too long", Hint: "ask in at most 8 KiB"}
	}
	if !utf8.ValidString(input) {
		return nil, &Error{Column: 1, Why: "the question is not UTF-8"}
	}
	runes := []rune(input)
	var tokens []token
	for at := 0; at < len(runes); {
		start := at
		switch r := runes[at]; {
		case unicode.IsSpace(r):
			at++
			continue
		case unicode.IsControl(r):
			return nil, &Error{Column: at + 1, Why: "there is a control character"}
		case r == '(':
			at++
			tokens = append(tokens, token{open, "(", start + 1})
		case r == ')':
			at++
			tokens = append(tokens, token{closing, ")", start + 1})
		case strings.ContainsRune("<>=!~", r):
			at++
			if at < len(runes) && runes[at] == '=' && r != '=' && r != '~' {
				at++
			}
			op := string(runes[start:at])
			if op == "!" {
				return nil, &Error{Column: start + 1, Why: `there is a lone "!"`, Hint: `write "not" before a condition, or "!=" between a field and a value`}
			}
			tokens = append(tokens, token{operator, op, start + 1})
		case r == '"' || r == '\'':
			at++
			for at < len(runes) && runes[at] != r {
				if unicode.IsControl(runes[at]) {
					return nil, &Error{Column: at + 1, Why: "there is a control character"}
				}
				at++
			}
			if at == len(runes) {
				return nil, &Error{Column: start + 1, Why: "the quotation has no end", Hint: "close it with " + string(r)}
			}
			at++
			tokens = append(tokens, token{quoted, string(runes[start+1 : at-1]), start + 1})
		default:
			for at < len(runes) && !unicode.IsSpace(runes[at]) && !unicode.IsControl(runes[at]) && !strings.ContainsRune(`()<>="'`, runes[at]) {
				// "tag!=x" without spaces
				if runes[at] == '!' && at+1 < len(runes) && runes[at+1] == '=' {
					break
				}
				at++
			}
			tokens = append(tokens, token{word, string(runes[start:at]), start + 1})
		}
	}
	return append(tokens, token{kind: end, column: len(runes) + 1}), nil
}
