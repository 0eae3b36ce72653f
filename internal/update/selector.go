package update

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// selector says which images are meant; the zero selector means all.
type selector struct {
	repositories, except []*regexp.Regexp
	labels               labels.Selector
}

// maxPatterns bounds what one list may hold.
const maxPatterns = 1000

func newSelector(repositories, except []string, byLabels *metav1.LabelSelector) (s selector, err error) {
	if s.repositories, err = patterns(repositories); err != nil {
		return s, err
	}
	if s.except, err = patterns(except); err != nil {
		return s, err
	}
	if byLabels != nil {
		s.labels, err = metav1.LabelSelectorAsSelector(byLabels)
	}
	return s, err
}

func patterns(texts []string) ([]*regexp.Regexp, error) {
	if len(texts) > maxPatterns {
		return nil, fmt.Errorf("want at most %d patterns", maxPatterns)
	}
	var all []*regexp.Regexp
	for _, text := range texts {
		p, err := pattern(text)
		if err != nil {
			return nil, err
		}
		all = append(all, p)
	}
	return all, nil
}

// pattern compiles a pattern of repositories, as policies have them: "*" stands for a part of
// a segment, "**" for any number of segments.
func pattern(text string) (*regexp.Regexp, error) {
	var b strings.Builder
	b.WriteString("^")
	for segment := range strings.SplitSeq(text, "/") {
		if segment == "**" {
			b.WriteString("([^/]+/)*")
			continue
		}
		if segment == "" || strings.Contains(segment, "**") || len(segment) > 256 {
			return nil, fmt.Errorf("want a pattern such as team/*/app or team/**, got %q", text)
		}
		b.WriteString(strings.ReplaceAll(regexp.QuoteMeta(segment), `\*`, "[^/]*") + "/")
	}
	return regexp.Compile(b.String() + "$")
}

// keys gives the names of the labels that decide.
func (s selector) keys() []string {
	if s.labels == nil {
		return nil
	}
	var keys []string
	requirements, _ := s.labels.Requirements()
	for _, r := range requirements {
		keys = append(keys, r.Key())
	}
	return keys
}

// means says whether an image in that repository with those labels is meant.
func (s selector) means(repository string, of map[string]string) bool {
	matches := func(all []*regexp.Regexp) bool {
		return slices.ContainsFunc(all, func(p *regexp.Regexp) bool { return p.MatchString(repository + "/") })
	}
	switch {
	case len(s.repositories) > 0 && !matches(s.repositories), matches(s.except):
		return false
	}
	return s.labels == nil || s.labels.Matches(labels.Set(of))
}

// repositoryOf cuts the tag or digest off.
func repositoryOf(reference string) string {
	if at := strings.IndexByte(reference, '@'); at >= 0 {
		return reference[:at]
	}
	if colon := strings.LastIndexByte(reference, ':'); colon > strings.LastIndexByte(reference, '/') {
		return reference[:colon]
	}
	return reference
}
