// Package scope takes what a client asks of the token server and gives it as resources and
// actions.
package scope

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"plimsoll.dev/plimsoll/internal/registry/call"
)

// Scope is what may be done with one resource: "repository:team/app:pull,push". The form is
// that of the distribution project's "Token Scope Documentation", and its JSON that of the
// claim "access" in its "Token Authentication Implementation".
type Scope struct {
	Type    string   `json:"type"` // Repository or Registry
	Name    string   `json:"name"`
	Actions []string `json:"actions"`
}

// The types and the one name that a registry itself has.
const (
	Repository = "repository"
	Registry   = "registry"
	Catalog    = "catalog"
)

// All stands for every action, those that have no word of their own among them.
const All = "*"

// Bounds of what one request may ask.
const (
	maxScopes  = 100
	maxActions = 10
)

// Parse reads scopes, of which each text may hold several, parted by spaces. Resources of
// types that are not known here are left out: nobody may do anything with those.
func Parse(texts []string) ([]Scope, error) {
	var out []Scope
	for _, text := range texts {
		for one := range strings.FieldsSeq(text) {
			if len(out) == maxScopes {
				return nil, fmt.Errorf("more than %d scopes", maxScopes)
			}
			s, known, err := parseOne(one)
			if err != nil {
				return nil, err
			}
			if known {
				out = append(out, s)
			}
		}
	}
	return out, nil
}

func parseOne(text string) (s Scope, known bool, err error) {
	kind, rest, ok := strings.Cut(text, ":")
	colon := strings.LastIndexByte(rest, ':')
	if !ok || colon < 0 {
		return s, false, errors.New("want scopes of the form type:name:actions")
	}
	s = Scope{Type: kind, Name: rest[:colon], Actions: strings.Split(rest[colon+1:], ",")}
	if len(s.Actions) > maxActions {
		return s, false, fmt.Errorf("more than %d actions in a scope", maxActions)
	}
	s.Actions = slices.DeleteFunc(s.Actions, func(action string) bool { return action == "" })
	switch kind {
	case Repository:
		if !call.IsRepository(s.Name) {
			return s, false, errors.New("a scope's repository name is not valid")
		}
		return s, true, nil
	case Registry:
		return s, s.Name == Catalog, nil
	}
	return s, false, nil
}

// For gives the scopes that a request needs, as a client has to ask for them.
func For(needs []call.Need) []Scope {
	var out []Scope
	for _, need := range needs {
		s := Scope{Repository, need.Repository, []string{word(need.Action)}}
		if need.Repository == "" {
			s = Scope{Registry, Catalog, []string{All}}
		}
		if need.Action == call.ActionPush || need.Action == call.ActionDelete {
			s.Actions = append([]string{"pull"}, s.Actions...) // whoever writes asks first what is there
		}
		out = append(out, s)
	}
	return out
}

// Text writes scopes as Parse reads them.
func Text(scopes []Scope) string {
	var out []string
	for _, s := range scopes {
		out = append(out, s.Type+":"+s.Name+":"+strings.Join(s.Actions, ","))
	}
	return strings.Join(out, " ")
}

// Allows says whether the scopes reach as far as that action.
func Allows(scopes []Scope, action call.Action, repository string) bool {
	kind, name := Repository, repository
	if repository == "" {
		kind, name = Registry, Catalog
	}
	return slices.ContainsFunc(scopes, func(s Scope) bool {
		return s.Type == kind && s.Name == name && (slices.Contains(s.Actions, All) || slices.Contains(s.Actions, word(action)))
	})
}

// Granted cuts what is asked to what may be done. What nothing is left of is left out.
func Granted(asked []Scope, may func(call.Action, string) bool) []Scope {
	var out []Scope
	for _, s := range asked {
		switch s.Type {
		case Registry:
			s.Actions = catalog(s.Actions, may)
		case Repository:
			s.Actions = actions(s, may)
		}
		if len(s.Actions) > 0 {
			out = append(out, s)
		}
	}
	return out
}

func catalog(asked []string, may func(call.Action, string) bool) []string {
	if slices.Contains(asked, All) && (may(call.ActionList, "") || may(call.ActionAudit, "")) {
		return []string{All}
	}
	return nil
}

// actions gives those that may be done. All is given to those who may do everything, and to
// others stands for each that they may do.
func actions(s Scope, may func(call.Action, string) bool) []string {
	var out []string
	for _, action := range []call.Action{call.ActionPull, call.ActionPush, call.ActionDelete} {
		if (slices.Contains(s.Actions, string(action)) || slices.Contains(s.Actions, All)) && may(action, s.Name) {
			out = append(out, string(action))
		}
	}
	if slices.Contains(s.Actions, All) && may(call.ActionAdmin, s.Name) {
		out = append(out, All)
	}
	return out
}

// word gives the action under which clients ask for one that they have no word for.
func word(action call.Action) string {
	switch action {
	case call.ActionInspect:
		return string(call.ActionPull)
	case call.ActionApprove:
		return string(call.ActionPush)
	case call.ActionPull, call.ActionPush, call.ActionDelete:
		return string(action)
	}
	return All
}
