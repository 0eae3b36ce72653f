package policy

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"plimsoll.dev/plimsoll/api/v1alpha1"
	"plimsoll.dev/plimsoll/artifact"
)

// Where is where the image is to be used, as far as the gate that asks knows it; "" is not
// known.
type Where struct {
	Namespace   string `json:"namespace,omitempty"`   // of Kubernetes
	Environment string `json:"environment,omitempty"` // the gate's own
}

// selector is a compiled PolicyScope.
type selector struct {
	repositories, except, namespaces []*regexp.Regexp
	environments                     []string
	labels                           labels.Selector // nil selects all
}

const maxPatterns = 1_000

func (c *compiler) selector(field string, spec v1alpha1.PolicyScope) selector {
	s := selector{
		repositories: c.patterns(field+".repositories", spec.Repositories),
		except:       c.patterns(field+".except", spec.Except),
		namespaces:   c.patterns(field+".namespaces", spec.Namespaces),
		environments: spec.Environments,
	}
	if spec.Labels != nil {
		selector, err := metav1.LabelSelectorAsSelector(spec.Labels)
		if err != nil {
			c.bad(field+".labels", err.Error())
		}
		s.labels = selector
	}
	return s
}

func (c *compiler) patterns(field string, texts []string) []*regexp.Regexp {
	if len(texts) > maxPatterns {
		c.bad(field, fmt.Sprintf("want at most %d", maxPatterns))
		return nil
	}
	var all []*regexp.Regexp
	for i, text := range texts {
		p, err := pattern(text)
		if err != nil {
			c.bad(fmt.Sprintf("%s[%d]", field, i), err.Error())
			continue
		}
		all = append(all, p)
	}
	return all
}

// pattern compiles a pattern, to be held against a path with "/" behind it: "*" stands for a
// part of a segment, "**" for any number of them, none included.
func pattern(text string) (*regexp.Regexp, error) {
	var b strings.Builder
	b.WriteString("^")
	for segment := range strings.SplitSeq(text, "/") {
		switch {
		case segment == "**":
			b.WriteString("(?:[^/]+/)*")
			continue
		case segment == "" || strings.Contains(segment, "**") || len(segment) > 256:
			return nil, fmt.Errorf("want a pattern such as team/*/app or team/**, got %q", text)
		}
		for i, part := range strings.Split(segment, "*") {
			if i > 0 {
				b.WriteString("[^/]*")
			}
			b.WriteString(regexp.QuoteMeta(part))
		}
		b.WriteString("/")
	}
	b.WriteString("$")
	return regexp.Compile(b.String())
}

func matches(patterns []*regexp.Regexp, path string) bool {
	return slices.ContainsFunc(patterns, func(p *regexp.Regexp) bool { return p.MatchString(path + "/") })
}

// covers says whether the image is among those that are meant. A place that is not known is
// as elsewhere says: it never takes an image out of a policy, nor into an exception.
func (s *selector) covers(f *artifact.Facts, where Where, elsewhere bool) bool {
	switch {
	case len(s.repositories) > 0 && !matches(s.repositories, f.Image.Repository):
		return false
	case matches(s.except, f.Image.Repository):
		return false
	case s.labels != nil && !s.labels.Matches(labelsOfImage(f)):
		return false
	case len(s.namespaces) > 0 && !placed(where.Namespace, elsewhere, func() bool { return matches(s.namespaces, where.Namespace) }):
		return false
	}
	return len(s.environments) == 0 ||
		placed(where.Environment, elsewhere, func() bool { return slices.Contains(s.environments, where.Environment) })
}

func placed(place string, elsewhere bool, matches func() bool) bool {
	if place == "" {
		return elsewhere
	}
	return matches()
}

// labelsOfImage gives those that a scope selects by: what is no image has annotations only.
func labelsOfImage(f *artifact.Facts) labels.Set {
	if f.Image.Kind == artifact.KindImage {
		return f.Image.Labels
	}
	return f.Image.Annotations
}
