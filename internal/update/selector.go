package update

import (
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"plimsoll.dev/plimsoll/internal/pattern"
)

// selector says which images are meant; the zero selector means all.
type selector struct {
	scope  pattern.Scope
	labels labels.Selector
}

func newSelector(repositories, except []string, byLabels *metav1.LabelSelector) (s selector, err error) {
	if s.scope.Only, err = pattern.NewList(repositories); err != nil {
		return s, err
	}
	if s.scope.Except, err = pattern.NewList(except); err != nil {
		return s, err
	}
	if byLabels != nil {
		s.labels, err = metav1.LabelSelectorAsSelector(byLabels)
	}
	return s, err
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
	return s.scope.Has(repository) && (s.labels == nil || s.labels.Matches(labels.Set(of)))
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
