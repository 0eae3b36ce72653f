package policy

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"

	"plimsoll.dev/plimsoll/api/v1alpha1"
)

// locate gives "FILE:LINE:COLUMN" of a problem, or the document's kind where it was read from
// no file.
func (d *Documents) locate(p problem) string {
	at := d.originOf(p)
	switch {
	case at.file != "":
		line, column := position(at.text, p.field, p.wrong)
		return fmt.Sprintf("%s:%d:%d", at.file, line, column)
	case p.exception:
		return v1alpha1.PolicyExceptionKind
	}
	return v1alpha1.ImagePolicyKind
}

// originOf gives where the document of a problem was read; of one that was not, nothing.
func (d *Documents) originOf(p problem) origins {
	at := d.policyAt
	if p.exception {
		at = d.exceptionAt
	}
	if p.index < len(at) {
		return at[p.index]
	}
	return origins{}
}

// position gives the line and the column, from 1, of a place in the value of a field.
func position(text []byte, field string, w wrong) (line, column int) {
	var root yaml.Node
	if err := yaml.Unmarshal(text, &root); err != nil || root.Kind == 0 {
		return 1, 1
	}
	node, whole := nodeAt(root.Content[0], field)
	if !whole || w.line == 0 || node.Kind != yaml.ScalarNode {
		return node.Line, node.Column
	}
	if line, column, ok := within(string(text), node, inkBefore(node.Value, w)); ok {
		return line, column
	}
	return node.Line, node.Column
}

// nodeAt gives the value of the field, or the nearest key before it that is there.
func nodeAt(node *yaml.Node, field string) (at *yaml.Node, whole bool) {
	at = node
	for _, step := range strings.FieldsFunc(field, func(r rune) bool { return r == '.' || r == '[' || r == ']' }) {
		if node.Kind == yaml.AliasNode {
			node = node.Alias
		}
		next := child(node, step)
		if next == nil {
			return at, false
		}
		node, at = next, next
	}
	if node.Kind == yaml.AliasNode {
		node = node.Alias
	}
	return node, true
}

func child(node *yaml.Node, step string) *yaml.Node {
	switch node.Kind {
	case yaml.MappingNode:
		for i := 0; i+1 < len(node.Content); i += 2 {
			if node.Content[i].Value == step {
				return node.Content[i+1]
			}
		}
	case yaml.SequenceNode:
		if i, err := strconv.Atoi(step); err == nil && i < len(node.Content) {
			return node.Content[i]
		}
	}
	return nil
}

// inkBefore counts the characters of an expression before the place that are no white space:
// they are what every way to write a text in YAML has in common.
func inkBefore(value string, w wrong) int {
	ink, line, column := 0, 1, 0
	for _, r := range value {
		if line > w.line || line == w.line && column >= w.column {
			break
		}
		column++
		if r == '\n' {
			line, column = line+1, 0
		}
		if !unicode.IsSpace(r) {
			ink++
		}
	}
	return ink
}

// within finds the character of a scalar that has so many others before it.
func within(text string, node *yaml.Node, ink int) (line, column int, ok bool) {
	rest, line, column := text, 1, 1
	step := func(n int) { // over n bytes
		for _, r := range rest[:n] {
			column++
			if r == '\n' {
				line, column = line+1, 1
			}
		}
		rest = rest[n:]
	}
	for line < node.Line && rest != "" {
		step(len(firstLine(rest)))
	}
	for column < node.Column && rest != "" {
		step(len(firstRune(rest)))
	}
	switch {
	case node.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0:
		step(len(firstLine(rest))) // that of "|" or ">"
	case node.Style&(yaml.DoubleQuotedStyle|yaml.SingleQuotedStyle) != 0:
		step(min(1, len(rest)))
	}
	for rest != "" {
		n, inked := character(rest, node.Style)
		if inked && ink == 0 {
			return line, column, true
		}
		if inked {
			ink--
		}
		step(n)
	}
	return 0, 0, false
}

// character gives the bytes of the first character as it is written in the style, and whether
// it is more than white space.
func character(rest string, style yaml.Style) (n int, inked bool) {
	first := firstRune(rest)
	if style&yaml.SingleQuotedStyle != 0 && strings.HasPrefix(rest, "''") {
		return 2, true
	}
	if style&yaml.DoubleQuotedStyle != 0 && first == `\` && len(rest) > 1 {
		switch rest[1] {
		case 'x':
			return min(4, len(rest)), true
		case 'u':
			return min(6, len(rest)), true
		case 'U':
			return min(10, len(rest)), true
		case 'n', 't', 'r', 'v', 'f', ' ', '\n', '\t', '_', 'N', 'L', 'P':
			return 2, false
		}
		return 1 + len(firstRune(rest[1:])), true
	}
	r, _ := utf8.DecodeRuneInString(first)
	return len(first), !unicode.IsSpace(r)
}

// firstLine gives the first line with its end.
func firstLine(s string) string {
	line, _, found := strings.Cut(s, "\n")
	if found {
		return s[:len(line)+1]
	}
	return line
}

func firstRune(s string) string {
	_, n := utf8.DecodeRuneInString(s)
	return s[:n]
}
