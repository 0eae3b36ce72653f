// Package pattern takes text with wildcards and gives whether other text is like it, from its
// beginning to its end.
package pattern

import (
	"fmt"
	"regexp"
	"strings"
)

// maxText bounds a pattern, and what is held against one, in bytes.
const maxText = 1024

// Pattern is one that was understood. The zero Pattern is like nothing.
type Pattern struct {
	exact   string
	matcher *regexp.Regexp // nil where it is exact
}

// Compile reads a pattern: "*" stands for any text without a separator, "**" for any text.
func Compile(text, separators string) (Pattern, error) {
	if text == "" || len(text) > maxText {
		return Pattern{}, fmt.Errorf("want 1 to %d bytes", maxText)
	}
	if !strings.Contains(text, "*") {
		return Pattern{exact: text}, nil
	}
	if strings.Contains(text, "***") {
		return Pattern{}, fmt.Errorf("%q: want * or **", text)
	}
	var b strings.Builder
	b.WriteString(`\A(?s:`)
	for i, part := range strings.Split(text, "**") {
		if i > 0 {
			b.WriteString(".*")
		}
		for j, literal := range strings.Split(part, "*") {
			if j > 0 {
				b.WriteString("[^" + regexp.QuoteMeta(separators) + "]*")
			}
			b.WriteString(regexp.QuoteMeta(literal))
		}
	}
	b.WriteString(`)\z`)
	matcher, err := regexp.Compile(b.String())
	return Pattern{matcher: matcher}, err
}

// Match says whether the whole text is like the pattern. It takes time linear in the text.
func (p Pattern) Match(text string) bool {
	switch {
	case len(text) > maxText:
		return false
	case p.matcher == nil:
		return p.exact != "" && text == p.exact
	}
	return p.matcher.MatchString(text)
}
