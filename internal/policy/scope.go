package policy

import (
	"fmt"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"plimsoll.dev/plimsoll/api/v1alpha1"
	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/pattern"
)

// Where is where the image is to be used, as far as the gate that asks knows it; "" is not
// known.
type Where struct {
	Namespace   string `json:"namespace,omitempty"`   // of Kubernetes
	Environment string `json:"environment,omitempty"` // the gate's own
}

// selector is a compiled PolicyScope.
type selector struct {
	repositories pattern.Scope
	namespaces   pattern.List
	environments []string
	labels       labels.Selector // nil selects all
}

func (c *compiler) selector(field string, spec v1alpha1.PolicyScope) selector {
	s := selector{
		repositories: pattern.Scope{Only: c.patterns(field+".repositories", spec.Repositories), Except: c.patterns(field+".except", spec.Except)},
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

func (c *compiler) patterns(field string, texts []string) pattern.List {
	if len(texts) > pattern.Most {
		c.bad(field, fmt.Sprintf("want at most %d", pattern.Most))
		return nil
	}
	var all pattern.List
	for i, text := range texts {
		p, err := pattern.New(text)
		if err != nil {
			c.bad(fmt.Sprintf("%s[%d]", field, i), err.Error())
			continue
		}
		all = append(all, p)
	}
	return all
}

// covers says whether the image is among those that are meant. A place that is not known is
// as elsewhere says: it never takes an image out of a policy, nor into an exception.
func (s *selector) covers(f *artifact.Facts, where Where, elsewhere bool) bool {
	switch {
	case !s.repositories.Has(f.Image.Repository):
		return false
	case s.labels != nil && !s.labels.Matches(labelsOfImage(f)):
		return false
	case len(s.namespaces) > 0 && !placed(where.Namespace, elsewhere, func() bool { return s.namespaces.Like(where.Namespace) }):
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
