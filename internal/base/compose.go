package base

import (
	"slices"
	"strings"

	"plimsoll.dev/plimsoll/api/v1alpha1"
	"plimsoll.dev/plimsoll/internal/base/content"
)

// Warning is something that a package's maintainer scripts would have done, that matters,
// and that composing has not.
type Warning struct {
	Package string `json:"package"`
	Missing string `json:"missing"`
}

// compose makes the tree of one architecture and checks it.
func compose(spec *v1alpha1.BaseImageSpec, set LockedImage, contents map[string]*content.Content) (*tree, []Warning, []Check, error) {
	var members []*member
	for _, p := range set.Packages {
		members = append(members, &member{pkg: p, content: contents[p.SHA256]})
	}
	owners, stripped := newOwners(spec.Accounts), []string{}
	t, err := join(members, unionOptions{
		exclude: compile(spec.Exclude), setuid: compile(spec.Hardening.AllowSetuid), keepDocs: spec.Hardening.Documentation,
		owners: &owners, stripped: &stripped, mustBeAbout: set.Architecture,
	})
	if err != nil {
		return nil, nil, nil, err
	}
	warnings := []Warning{}
	t.addSkeleton()
	t.addAccounts(&owners)
	if err := t.addTrust(); err != nil {
		return nil, nil, nil, err
	}
	if err := t.addPaths(spec.Paths); err != nil {
		return nil, nil, nil, err
	}
	if err := t.addLinkerCache(set.Architecture); err != nil {
		return nil, nil, nil, err
	}
	t.addStatus()
	t.addInventory()
	t.sortMade()
	slices.Sort(stripped)
	return t, warnings, harden(t, spec, stripped), nil
}

func joinWarnings(warnings []Warning) string {
	lines := make([]string, len(warnings))
	for i, w := range warnings {
		lines[i] = w.Package + ": " + w.Missing
	}
	return strings.Join(lines, "; ")
}
