package base

import (
	"slices"
	"strings"

	"plimsoll.dev/plimsoll/api/v1alpha1"
	"plimsoll.dev/plimsoll/internal/base/content"
)

// Warning is something about a package that matters and is not as it should be: work of
// its maintainer scripts that composing has not done, most often.
type Warning struct {
	Package  string `json:"package"`
	Missing  string `json:"missing"`
	Accepted string `json:"accepted,omitempty"` // why the spec accepts it; "" when it does not
}

// composed is a tree and what was found in making it.
type composed struct {
	tree     *tree
	warnings []Warning
	checks   []Check
}

// compose makes the tree of one architecture and checks it. read gives the bytes of a
// packaged file.
func compose(spec *v1alpha1.BaseImageSpec, set LockedImage, contents map[string]*content.Content, read func(*node) ([]byte, error)) (*composed, error) {
	var members []*member
	for _, p := range set.Packages {
		members = append(members, &member{pkg: p, content: contents[p.SHA256]})
	}
	owners, stripped, place := newOwners(spec.Accounts), []string{}, newPlacer(members)
	setuid := compile(spec.Hardening.AllowSetuid)
	scripts := readScripts(members, set.Architecture, place, setuid)
	t, err := join(members, place, unionOptions{
		exclude: compile(spec.Exclude), setuid: setuid, keepDocs: spec.Hardening.Documentation,
		owners: &owners, stripped: &stripped, diversions: scripts.diversions(),
	})
	if err != nil {
		return nil, err
	}
	t.addSkeleton()
	if err := scripts.apply(t, &owners, read); err != nil {
		return nil, err
	}
	t.addAccounts(&owners)
	t.addTimeZone()
	if err := t.addPaths(spec.Paths); err != nil {
		return nil, err
	}
	if err := t.addTrust(); err != nil {
		return nil, err
	}
	if err := t.addLinkerCache(set.Architecture); err != nil {
		return nil, err
	}
	t.addStatus()
	t.addInventory()
	t.sortMade()
	slices.Sort(stripped)
	return &composed{tree: t, warnings: judge(scripts.warnings, spec.Accept), checks: harden(t, spec, stripped)}, nil
}

// judge marks the warnings that the spec accepts.
func judge(warnings []Warning, accept []v1alpha1.Omission) []Warning {
	for i := range warnings {
		for _, a := range accept {
			if a.Package == warnings[i].Package {
				warnings[i].Accepted = a.Reason
			}
		}
	}
	return warnings
}

// Unaccepted gives the warnings that the spec does not accept.
func Unaccepted(warnings []Warning) []Warning {
	return slices.DeleteFunc(slices.Clone(warnings), func(w Warning) bool { return w.Accepted != "" })
}

func joinWarnings(warnings []Warning) string {
	lines := make([]string, len(warnings))
	for i, w := range warnings {
		lines[i] = w.Package + ": " + w.Missing
	}
	return strings.Join(lines, "; ")
}
