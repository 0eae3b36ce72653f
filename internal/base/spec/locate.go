package spec

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// locator finds the line of a field in the YAML that it was read from.
type locator struct{ root *yaml.Node }

// problem is a bad value: its field, as "spec.paths[2].mode", and what is wrong with it.
type problem struct{ field, text string }

func (p *problem) Error() string { return p.field + ": " + p.text }

func (l locator) problem(p *problem) error {
	return fmt.Errorf("line %d: %s: %s", l.line(p.field), p.field, p.text)
}

var unknownPattern = regexp.MustCompile(`^unknown field "(.+)"$`)

func (l locator) unknownField(err error) error {
	match := unknownPattern.FindStringSubmatch(err.Error())
	if match == nil {
		return err // a field given twice is already refused by the YAML reader, with its line
	}
	return fmt.Errorf("line %d: %s: unknown field", l.line(match[1]), match[1])
}

func (l locator) typeError(err error) error {
	var mismatch *json.UnmarshalTypeError
	if errors.As(err, &mismatch) {
		return fmt.Errorf("line %d: %s: want %s, got %s", l.line(mismatch.Field), mismatch.Field, mismatch.Type, mismatch.Value)
	}
	return err
}

// line gives the line of the field, or of the nearest parent that is there.
func (l locator) line(field string) int {
	node, line := l.root, l.root.Line
	for _, step := range strings.FieldsFunc(field, func(r rune) bool { return r == '.' || r == '[' || r == ']' }) {
		next, at := child(node, step)
		if next == nil {
			break
		}
		node, line = next, at
	}
	return line
}

// child gives the value below a mapping's key or a sequence's index, and the line where a
// reader would look for it.
func child(node *yaml.Node, step string) (*yaml.Node, int) {
	if node.Kind == yaml.AliasNode {
		node = node.Alias
	}
	switch node.Kind {
	case yaml.MappingNode:
		for i := 0; i+1 < len(node.Content); i += 2 {
			if node.Content[i].Value == step {
				return node.Content[i+1], node.Content[i].Line
			}
		}
	case yaml.SequenceNode:
		if i, err := strconv.Atoi(step); err == nil && i < len(node.Content) {
			return node.Content[i], node.Content[i].Line
		}
	}
	return nil, 0
}
