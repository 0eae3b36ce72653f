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
	distro   map[string]string // labels
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
	distro, err := t.distro(read)
	if err != nil {
		return nil, err
	}
	slices.Sort(stripped)
	warnings := append(judge(scripts.warnings, spec.Accept), idle(spec.Omit, set)...)
	return &composed{tree: t, warnings: warnings, checks: harden(t, spec, stripped), distro: distro}, nil
}

// judge marks the warnings that the spec accepts. A line that accepts nothing is a warning
// itself: it may be a slip of the pen, or out of date.
func judge(warnings []Warning, accept []v1alpha1.Omission) []Warning {
	var unused []Warning
	for _, a := range accept {
		found := false
		for i := range warnings {
			if a.Package == warnings[i].Package {
				warnings[i].Accepted, found = a.Reason, true
			}
		}
		if !found {
			unused = append(unused, Warning{Package: a.Package, Missing: "accept names it, but its scripts leave nothing undone here"})
		}
	}
	return append(warnings, unused...)
}

// idle warns of omissions that nothing in the set needs.
func idle(omit []v1alpha1.Omission, set LockedImage) []Warning {
	var unused []Warning
	for _, o := range omit {
		used := slices.ContainsFunc(set.Omitted, func(r OmittedRelation) bool { return slices.Contains(r.Packages, o.Package) })
		if !used {
			unused = append(unused, Warning{Package: o.Package, Missing: "omit names it, but nothing here needs it"})
		}
	}
	return unused
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
