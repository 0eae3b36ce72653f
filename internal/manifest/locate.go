package manifest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"reflect"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// locator finds the line of a field in the YAML that it was read from.
type locator struct{ root *yaml.Node }

var unknownPattern = regexp.MustCompile(`^unknown field "(.+)"$`)

func (l locator) unknownField(err error) error {
	match := unknownPattern.FindStringSubmatch(err.Error())
	if match == nil {
		return err // a field given twice is already refused by the YAML reader, with its line
	}
	return fmt.Errorf("line %d: %s: unknown field", l.Line(match[1]), match[1])
}

// typeError names the field by where in the JSON the reader stopped: the error's own path
// has no places in lists and no keys of maps.
func (l locator) typeError(err error, asJSON []byte) error {
	var mismatch *json.UnmarshalTypeError
	if !errors.As(err, &mismatch) {
		return err
	}
	tokens := json.NewDecoder(bytes.NewReader(asJSON))
	field, found := fieldAt(tokens, "", mismatch.Offset)
	if !found {
		field = mismatch.Field
	}
	return fmt.Errorf("line %d: %s: want %s, got %s", l.Line(field), field, wanted(mismatch.Type), given(mismatch.Value))
}

// wanted names a type as a writer of YAML does.
func wanted(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Struct, reflect.Map:
		return "fields"
	case reflect.Slice:
		return "a list"
	case reflect.String:
		return "text"
	case reflect.Bool:
		return "true or false"
	case reflect.Int:
		return "a number"
	}
	return t.String()
}

// fieldAt gives the path of the first value that begins or ends at or after the offset.
func fieldAt(tokens *json.Decoder, field string, offset int64) (string, bool) {
	token, err := tokens.Token()
	if err != nil || tokens.InputOffset() >= offset {
		return field, err == nil
	}
	opening, nested := token.(json.Delim)
	for i := 0; nested && tokens.More(); i++ {
		next := fmt.Sprintf("%s[%d]", field, i)
		if opening == '{' {
			key, err := tokens.Token()
			if err != nil {
				return "", false
			}
			next = strings.TrimPrefix(fmt.Sprintf("%s.%s", field, key), ".")
		}
		if at, found := fieldAt(tokens, next, offset); found {
			return at, true
		}
	}
	if nested {
		_, _ = tokens.Token() // the closing one
	}
	return "", false
}

// given names what stands there in the same words.
func given(value string) string {
	for json, plain := range map[string]string{"string": "text", "array": "a list", "object": "fields", "bool": "true or false"} {
		if value == json {
			return plain
		}
	}
	if digits, ok := strings.CutPrefix(value, "number"); ok {
		return "a number" + digits
	}
	return value
}

// plain refuses what YAML can say and JSON cannot: keys that are no text, and numbers that
// are none.
func (l locator) plain(node *yaml.Node, field string) error {
	switch node.Kind {
	case yaml.MappingNode:
		for i := 0; i+1 < len(node.Content); i += 2 {
			key := node.Content[i]
			next := strings.TrimPrefix(field+"."+key.Value, ".")
			if tag := key.ShortTag(); key.Kind != yaml.ScalarNode || tag != "!!str" && tag != "!!merge" {
				return fmt.Errorf("line %d: %s: want a key that is text", key.Line, next)
			}
			if err := l.plain(node.Content[i+1], next); err != nil {
				return err
			}
		}
	case yaml.SequenceNode:
		for i, item := range node.Content {
			if err := l.plain(item, fmt.Sprintf("%s[%d]", field, i)); err != nil {
				return err
			}
		}
	case yaml.ScalarNode:
		var number float64
		if node.ShortTag() == "!!float" && node.Decode(&number) == nil && (math.IsNaN(number) || math.IsInf(number, 0)) {
			return fmt.Errorf("line %d: %s: %v is no number that a field takes", node.Line, field, number)
		}
	}
	return nil
}

// firstOf gives the first of the YAML reader's complaints, each of which names its line.
func firstOf(err error) error {
	var many *yaml.TypeError
	if errors.As(err, &many) && len(many.Errors) > 0 {
		return errors.New(many.Errors[0])
	}
	return err
}

// Line gives the line of the field, or of the nearest parent that is there.
func (l locator) Line(field string) int {
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
