package report

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"plimsoll.dev/plimsoll/artifact"
)

// Group is the rows of a table that one remedy mends.
type Group struct {
	Remedy artifact.Remedy
	Title  string // what to do, for people
	Rows   []Row
}

// Row is one vulnerability of one source: a distribution builds many packages from one
// source, and they are fixed together.
type Row struct {
	Severity  artifact.Severity
	ID        string
	Name      string   // as advisories name it: the source package
	Packages  []string // those of the image that it is in, sorted
	Installed string   // version, of the source
	Fixed     string
	State     string
	Notes     []string // "exploited", "EPSS 97%"
}

// Table gives the findings that count, grouped by what can be done: first what a rebase
// mends, last what nobody has fixed. In a group the worst come first, then by package.
func Table(findings []artifact.Finding) []Group {
	groups := []Group{
		{Remedy: artifact.RemedyRebase, Title: "fixed in a newer base: rebase"},
		{Remedy: artifact.RemedyRebuild, Title: "fixed in a new build: rebuild"},
		{Remedy: artifact.RemedyOverride, Title: "pinned by the application: update it there, or rebuild with an override"},
		{Remedy: artifact.RemedyNone, Title: "no fix yet"},
	}
	type key struct {
		remedy                     artifact.Remedy
		id, name, installed, fixed string
		state                      string
	}
	rows := map[key]*Row{}
	for i := range findings {
		f := &findings[i]
		if f.Suppressed != nil {
			continue
		}
		name, installed := f.Package.AdvisoryName()
		k := key{f.Remedy, f.ID, name, installed, f.Fixed, f.State}
		row := rows[k]
		if row == nil {
			row = &Row{Severity: f.Severity, ID: f.ID, Name: name, Installed: installed, Fixed: f.Fixed, State: f.State, Notes: notes(f)}
			rows[k] = row
		}
		row.Packages = append(row.Packages, f.Package.Name)
	}
	for k, row := range rows {
		slices.Sort(row.Packages)
		row.Packages = slices.Compact(row.Packages)
		at := slices.IndexFunc(groups, func(g Group) bool { return g.Remedy == k.remedy })
		if at < 0 {
			at = len(groups) - 1
		}
		groups[at].Rows = append(groups[at].Rows, *row)
	}
	for i := range groups {
		slices.SortFunc(groups[i].Rows, compareRows)
	}
	return slices.DeleteFunc(groups, func(g Group) bool { return len(g.Rows) == 0 })
}

func compareRows(a, b Row) int {
	return cmp.Or(
		cmp.Compare(a.Severity.Rank(), b.Severity.Rank()), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Installed, b.Installed),
		cmp.Compare(a.ID, b.ID), cmp.Compare(a.Fixed, b.Fixed), cmp.Compare(a.State, b.State),
	)
}

// notes tells what makes the finding more pressing than its severity does.
func notes(f *artifact.Finding) []string {
	var notes []string
	if f.KnownExploited {
		notes = append(notes, "exploited")
	}
	if f.EPSS >= 0.1 {
		notes = append(notes, fmt.Sprintf("EPSS %.0f%%", 100*f.EPSS))
	}
	return notes
}

// Package gives the packages of a row as a table shows them: the name that advisories use,
// and how many others it is in.
func (r Row) Package() string {
	others := slices.DeleteFunc(slices.Clone(r.Packages), func(p string) bool {
		return p == r.Name || strings.HasSuffix(r.Name, "/"+p) || strings.HasSuffix(r.Name, ":"+p)
	})
	switch {
	case len(others) == 0:
		return r.Name
	case len(others) <= 2:
		return r.Name + " (" + strings.Join(others, ", ") + ")"
	}
	return fmt.Sprintf("%s (%s and %d more)", r.Name, others[0], len(others)-1)
}
