package override

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"plimsoll.dev/plimsoll/api/v1alpha1"
)

const (
	maxPatterns = 1_000
	maxSegment  = 256 // bytes
)

// covers says whether the override is for the images of that repository.
func (o scoped) covers(repository string) bool {
	like := func(p *regexp.Regexp) bool { return p.MatchString(repository + "/") }
	return (len(o.repositories) == 0 || slices.ContainsFunc(o.repositories, like)) && !slices.ContainsFunc(o.except, like)
}

func compile(patterns []v1alpha1.RepositoryPattern) ([]*regexp.Regexp, error) {
	if len(patterns) > maxPatterns {
		return nil, fmt.Errorf("want at most %d", maxPatterns)
	}
	var all []*regexp.Regexp
	for _, text := range patterns {
		p, err := compileOne(string(text))
		if err != nil {
			return nil, err
		}
		all = append(all, p)
	}
	return all, nil
}

// compileOne compiles a pattern as an ImagePolicy's scope has them, to be held against a path
// with "/" behind it: "*" stands for a part of a segment, "**" for any number of them, none
// included.
func compileOne(text string) (*regexp.Regexp, error) {
	var b strings.Builder
	b.WriteByte('^')
	for segment := range strings.SplitSeq(text, "/") {
		switch {
		case segment == "**":
			b.WriteString("(?:[^/]+/)*")
			continue
		case segment == "" || strings.Contains(segment, "**") || len(segment) > maxSegment:
			return nil, fmt.Errorf("want a pattern such as team/*/app or team/**, got %q", text)
		}
		b.WriteString(strings.ReplaceAll(regexp.QuoteMeta(segment), `\*`, "[^/]*") + "/")
	}
	b.WriteByte('$')
	return regexp.Compile(b.String())
}
