// Package policy takes facts of an image, policies, exceptions and the time, and gives the
// verdict: what each gate does with the image, and why. It is a pure function: the same input
// gives the same bytes.
package policy

import (
	"fmt"

	"plimsoll.dev/plimsoll/api/v1alpha1"
	"plimsoll.dev/plimsoll/artifact"
)

// Limits of a set. A home of thousands of teams stays far below.
const (
	maxPolicies   = 500
	maxRules      = 2_000 // of all policies
	maxExceptions = 10_000
	maxVariables  = 64 // of one policy
)

// Options of Compile. There are none yet.
type Options struct{}

// Set is policies and exceptions, checked and compiled. It never changes, and any number may
// ask it at once.
type Set struct {
	policies   []*policy
	exceptions []*exception
	digest     string
}

// policy is a compiled ImagePolicy.
type policy struct {
	name       string
	scope      selector
	gates      []artifact.Gate // that it or one of its rules speaks at, in their order
	names      map[string]int  // "variables.x" and the like -> place in the next two
	values     []any           // nil where the expression gives it
	variables  []*expression
	conditions []*expression
	rules      []*rule
}

// rule is a compiled PolicyRule.
type rule struct {
	v1alpha1.PolicyRule

	policy    string
	condition *expression
	message   *expression // nil where there is none; so are the next two
	remedy    *expression
	grace     *grace
	gates     map[artifact.Gate]artifact.Action
}

// Compile checks policies and exceptions and makes them ready. An error is a *fault.Error of
// kind Usage about the first thing that is wrong.
func Compile(policies []v1alpha1.ImagePolicy, exceptions []v1alpha1.PolicyException, o Options) (*Set, error) {
	return (&Documents{Policies: policies, Exceptions: exceptions}).Compile(o)
}

// Compile is the function of the name, whose errors name file, line and column.
func (d *Documents) Compile(Options) (*Set, error) {
	c := &compiler{base: newScope()}
	set := &Set{digest: digestOf([]any{d.Policies, d.Exceptions})}
	if c.counts(d); len(c.problems) > 0 {
		return nil, d.fault(c.problems)
	}
	seen := map[string]bool{}
	for i := range d.Policies {
		c.at = place{index: i}
		c.unique(seen, v1alpha1.ImagePolicyKind, d.Policies[i].Name)
		set.policies = append(set.policies, c.policy(&d.Policies[i]))
	}
	for i := range d.Exceptions {
		c.at = place{exception: true, index: i}
		c.unique(seen, v1alpha1.PolicyExceptionKind, d.Exceptions[i].Name)
		set.exceptions = append(set.exceptions, c.exception(&d.Exceptions[i]))
	}
	if len(c.problems) > 0 {
		return nil, d.fault(c.problems)
	}
	return set, nil
}

// Digest gives "sha256:…" of the policies and exceptions.
func (s *Set) Digest() string { return s.digest }

func (c *compiler) counts(d *Documents) {
	rules := 0
	for _, p := range d.Policies {
		rules += len(p.Spec.Rules)
	}
	for _, count := range []struct {
		what   string
		n, max int
	}{{"policies", len(d.Policies), maxPolicies}, {"rules", rules, maxRules}, {"exceptions", len(d.Exceptions), maxExceptions}} {
		if count.n > count.max {
			c.bad("", fmt.Sprintf("there are %d %s, more than %d", count.n, count.what, count.max))
		}
	}
}

func (c *compiler) unique(seen map[string]bool, kind, name string) {
	if seen[kind+"/"+name] {
		c.bad("metadata.name", fmt.Sprintf("there is another %s %s", kind, name))
	}
	seen[kind+"/"+name] = true
}
