package facts

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// maxDepth is how deep values of a manifest or a configuration may lie in each other.
const maxDepth = 64

// unambiguous refuses an object that readers could take for different ones: a name that
// occurs twice in one object, or one of the names of the whole in another case, which some
// readers take for it and some do not.
func unambiguous(text []byte, names ...string) error {
	in := json.NewDecoder(bytes.NewReader(text))
	in.UseNumber()
	var open []map[string]bool // of each value that is not closed its names; nil of a list
	isName := false            // the next token may be one
	for {
		token, err := in.Token()
		if err != nil {
			if errors.Is(err, io.EOF) && len(open) == 0 {
				return nil
			}
			return err
		}
		switch token {
		case json.Delim('{'), json.Delim('['):
			if len(open) == maxDepth {
				return errors.New("its values lie too deep in each other")
			}
			var seen map[string]bool
			if token == json.Delim('{') {
				seen = map[string]bool{}
			}
			open, isName = append(open, seen), seen != nil
			continue
		case json.Delim('}'), json.Delim(']'):
			open = open[:len(open)-1]
		default:
			if name, ok := token.(string); ok && isName {
				if err := unique(open, name, names); err != nil {
					return err
				}
				isName = false
				continue
			}
		}
		isName = len(open) > 0 && open[len(open)-1] != nil
	}
}

func unique(open []map[string]bool, name string, names []string) error {
	seen := open[len(open)-1]
	if seen[name] {
		return fmt.Errorf("%.80q occurs twice in one object", name)
	}
	seen[name] = true
	folded := func(n string) bool { return n != name && strings.EqualFold(n, name) }
	if len(open) == 1 && slices.ContainsFunc(names, folded) {
		return fmt.Errorf("readers differ in what they take %.80q for", name)
	}
	return nil
}
