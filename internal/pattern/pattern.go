// Package pattern takes patterns of repositories, as scopes have them, and gives whether a
// repository is like one.
package pattern

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// Most is how many patterns one list may have.
const Most = 1000

// maxSegment bounds what stands between two slashes, in bytes.
const maxSegment = 256

// Pattern is one that was understood; the zero Pattern is like nothing. It is for whatever is
// segments with "/" between them: repositories, namespaces, rules of policies.
type Pattern struct{ matcher *regexp.Regexp }

// New reads a pattern, which is like whole paths: "*" stands for a part of a segment, "**" for any
// number of segments, none included. So team/** is like team, too.
func New(text string) (Pattern, error) {
	var b strings.Builder
	b.WriteString(`\A`)
	for segment := range strings.SplitSeq(text, "/") {
		switch {
		case segment == "**":
			b.WriteString("(?:[^/]+/)*")
			continue
		case segment == "" || strings.Contains(segment, "**") || len(segment) > maxSegment:
			return Pattern{}, fmt.Errorf("want a pattern such as team/*/app or team/**, got %q", text)
		}
		b.WriteString(strings.ReplaceAll(regexp.QuoteMeta(segment), `\*`, "[^/]*") + "/")
	}
	matcher, err := regexp.Compile(b.String() + `\z`)
	return Pattern{matcher}, err
}

// Like says whether the whole path is like the pattern. It takes time linear in the path.
func (p Pattern) Like(path string) bool {
	return p.matcher != nil && p.matcher.MatchString(path+"/")
}

// List are patterns of which one is enough.
type List []Pattern

// NewList reads patterns. The error names the one that is wrong.
func NewList(texts []string) (List, error) {
	if len(texts) > Most {
		return nil, fmt.Errorf("want at most %d patterns", Most)
	}
	var all List
	for _, text := range texts {
		p, err := New(text)
		if err != nil {
			return nil, err
		}
		all = append(all, p)
	}
	return all, nil
}

// Like says whether the path is like any of them.
func (l List) Like(path string) bool {
	return slices.ContainsFunc(l, func(p Pattern) bool { return p.Like(path) })
}

// Scope says which repositories are meant; the zero Scope means all.
type Scope struct {
	Only   List // none is all
	Except List // that are left out all the same
}

// Has says whether the repository is in the scope.
func (s Scope) Has(repository string) bool {
	return (len(s.Only) == 0 || s.Only.Like(repository)) && !s.Except.Like(repository)
}
