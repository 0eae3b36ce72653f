// Package raise takes the package.json files and the lock file of an application and the lowest
// versions that its dependencies may have, and gives these files as they must be so that npm
// installs none below. All that is not concerned stays in them as it is.
package raise

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"plimsoll.dev/plimsoll/buildpacks/internal/floor"
	"plimsoll.dev/plimsoll/buildpacks/nodejs/manifest"
)

// Low is a package of a lock file that is below its floor.
type Low struct {
	Folder  string // "node_modules/a/node_modules/b"
	Alias   string // the name that others depend on it by: its folder's
	Version string
	Floor   floor.Floor
}

// Find gives the packages of the lock file that are below their floors, sorted by folder.
func Find(lock manifest.Lock, floors []floor.Floor) []Low {
	var all []Low
	for _, folder := range slices.Sorted(maps.Keys(lock.Packages)) {
		p := lock.Packages[folder]
		if p.Link || aliasOf(folder) == "" {
			continue // the application itself, or a part of it
		}
		for _, f := range floors {
			if p.NameIn(folder) == f.Package && f.Below(p.Version) {
				all = append(all, Low{Folder: folder, Alias: aliasOf(folder), Version: p.Version, Floor: f})
			}
		}
	}
	return all
}

const modules = "node_modules/"

// aliasOf gives the name by which the package in a folder is found; "" where none is.
func aliasOf(folder string) string {
	at := strings.LastIndex(folder, modules)
	if at < 0 {
		return ""
	}
	return folder[at+len(modules):]
}

// Check gives an error for the first package that cannot be raised.
func Check(lock manifest.Lock, lows []Low) error {
	for _, low := range lows {
		if err := low.Floor.Crossing(low.Version); err != nil {
			return err
		}
		p := lock.Packages[low.Folder]
		what := fmt.Sprintf("override %s: %s %s", low.Floor.Name, low.Floor.Package, low.Version)
		if p.InBundle {
			return fmt.Errorf("%s is a part of the package %s, which brings it along: only a release of that without it can be used", what, bundler(lock, low.Folder))
		}
		if place := p.Resolved; place != "" && !strings.HasPrefix(place, "http://") && !strings.HasPrefix(place, "https://") {
			scheme, _, _ := strings.Cut(place, ":")
			return fmt.Errorf("%s comes from no registry (%s): update it in the application", what, scheme)
		}
	}
	return nil
}

// bundler gives the package whose archive holds the one in that folder.
func bundler(lock manifest.Lock, folder string) string {
	for {
		above := strings.LastIndex(folder, "/node_modules/")
		if above < 0 {
			return folder
		}
		folder = folder[:above]
		if p := lock.Packages[folder]; !p.InBundle {
			return p.NameIn(folder) + " " + p.Version
		}
	}
}

// Others gives what changed beside the low packages, because of what their new releases need: the
// packages that are there now in other versions, and those that are new, as "name version" by
// their names.
func Others(before, after manifest.Lock, lows []Low) []string {
	raised := map[string]bool{}
	for _, low := range lows {
		raised[low.Floor.Package] = true
	}
	known := map[string]bool{}
	for folder, p := range before.Packages {
		known[p.NameIn(folder)+" "+p.Version] = true
	}
	found := map[string]bool{}
	for folder, p := range after.Packages {
		name := p.NameIn(folder)
		if aliasOf(folder) != "" && !p.Link && !raised[name] && !known[name+" "+p.Version] {
			found[name+" "+p.Version] = true
		}
	}
	return slices.Sorted(maps.Keys(found))
}

// rule is what dependents get: an entry of package.json's field "overrides"
// (https://docs.npmjs.com/cli/v9/configuring-npm/package-json#overrides). It must hold for those
// that it has given the floor to already, too: npm asks more than once.
type rule struct {
	alias string
	upTo  string // it is for dependents that accept such a version
	spec  string // what these get instead
	other bool   // the alias is another name than the package's: npm has no overrides for such
}

// rules gives one for each name that a low package goes by, sorted by it. Where others of that
// name are high enough already, these must be left alone: the rule allows them, and the lock
// file decides.
func rules(lock manifest.Lock, lows []Low) []rule {
	by := map[string]rule{}
	for _, low := range lows {
		r := rule{alias: low.Alias, upTo: "<=" + low.Floor.Version, spec: low.Floor.Version, other: low.Alias != low.Floor.Package}
		for folder, p := range lock.Packages {
			if aliasOf(folder) == low.Alias && p.Version != low.Floor.Version && !low.Floor.Below(p.Version) {
				r.spec = ">=" + low.Floor.Version
			}
		}
		if r.other {
			r.spec = "npm:" + low.Floor.Package + "@" + r.spec
		}
		by[low.Alias] = r
	}
	return slices.SortedFunc(maps.Values(by), func(a, b rule) int { return cmp.Compare(a.alias, b.alias) })
}
