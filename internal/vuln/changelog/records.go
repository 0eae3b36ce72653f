package changelog

import (
	"bytes"
	"cmp"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"pault.ag/go/debian/version"

	"plimsoll.dev/plimsoll/internal/vuln/osv"
)

// Package is the changelog, or the excerpt of one, of a source package.
type Package struct {
	Source    string
	Changelog []byte
}

// released says when a release came out (wiki.debian.org/DebianReleases). What was fixed a
// year before that is fixed in every version that the release ever had, for it was frozen
// in between. A release that is not here is taken whole.
func released(release string) time.Time {
	switch release {
	case "11":
		return time.Date(2021, 8, 14, 0, 0, 0, 0, time.UTC)
	case "12":
		return time.Date(2023, 6, 10, 0, 0, 0, 0, time.UTC)
	case "13":
		return time.Date(2025, 8, 9, 0, 0, 0, 0, time.UTC)
	}
	return time.Time{}
}

// Records gives a record for each CVE that was fixed in the release ("13"), sorted by id.
// They are as the public OSV export of Debian has them: DEBIAN-CVE-…, the ecosystem
// "Debian:13", the source package; only that the urgency is the upload's, and no severity.
func Records(release string, packages []Package) ([]*osv.Record, error) {
	var since time.Time
	if at := released(release); !at.IsZero() {
		since = at.AddDate(-1, 0, 0)
	}
	byCVE := map[string]*osv.Record{}
	for _, p := range slices.SortedFunc(slices.Values(packages), func(a, b Package) int { return cmp.Compare(a.Source, b.Source) }) {
		changes, err := changesOf(p, since)
		if err != nil {
			return nil, err
		}
		for _, cve := range slices.Sorted(maps.Keys(changes)) {
			if h, ok := newHistory(changes[cve]); ok {
				r := byCVE[cve]
				if r == nil {
					r = &osv.Record{SchemaVersion: "1.7.0", ID: "DEBIAN-" + cve, Upstream: []string{cve}, Summary: h.summary}
					byCVE[cve] = r
				}
				h.addTo(r, "Debian:"+release, p.Source)
			}
		}
	}
	return slices.SortedFunc(maps.Values(byCVE), func(a, b *osv.Record) int { return cmp.Compare(a.ID, b.ID) }), nil
}

// change is what one entry says of one CVE.
type change struct {
	place   int             // of its release in the changelog; the newest one's is 1
	version version.Version // the lowest of that release and those above it, which hold what it did
	meaning meaning
	entry   *entry
	item    string
}

// changesOf gives what each released version since then says, by CVE.
//
// An upload that brings an update into a release stands above the entry of unstable that it
// is made from, and below it in dpkg's order: 2.9.0-1~deb13u1 holds what 2.9.0-1 fixed. So
// what an entry says holds from the lowest version on that is not below it in the changelog.
func changesOf(p Package, since time.Time) (map[string][]change, error) {
	changes := map[string][]change{}
	var above *entry // the nearest entry above that was released
	place := 0
	var lowest version.Version
	for e, err := range entries(bytes.NewReader(p.Changelog)) {
		if err != nil {
			return nil, err
		}
		if e.source != p.Source || e.rebuilt {
			continue
		}
		if !slices.Contains(e.suites, "UNRELEASED") {
			// What was never released came with the next version that was.
			parsed, err := version.Parse(e.version)
			if err != nil {
				continue
			}
			if place++; place == 1 || version.Compare(parsed, lowest) < 0 {
				lowest = parsed
			}
			above = &e
		}
		if above == nil || e.date.Before(since) {
			continue
		}
		for _, item := range e.items {
			for _, m := range mentions(item) {
				if m.meaning != nothing && plausible(m.cve, e.date) {
					changes[m.cve] = append(changes[m.cve], change{place, lowest, m.meaning, above, item})
				}
			}
		}
	}
	return changes, nil
}

// plausible refuses numbers from the future: they are typing errors.
func plausible(cve string, at time.Time) bool {
	return cve[len("CVE-"):len("CVE-2025")] <= at.AddDate(0, 1, 0).Format("2006")
}

// history is how one CVE fared in one source package.
type history struct {
	events           []osv.Event
	first, last      time.Time // entries
	urgency, summary string
	related          []string
}

// newHistory reads changes from the oldest release on: the first fix counts, unless a later
// one takes it back or says that it was not enough. ok is false when there is no fix.
func newHistory(changes []change) (h history, ok bool) {
	slices.SortStableFunc(changes, func(a, b change) int {
		return cmp.Or(cmp.Compare(b.place, a.place), cmp.Compare(a.meaning, b.meaning))
	})
	h.events = []osv.Event{{Introduced: "0"}}
	for _, c := range changes {
		at, last := c.version.String(), len(h.events)-1
		fixed := h.events[last].Fixed != ""
		switch {
		case c.meaning == unfixes && h.events[last].Fixed == at:
			h.events = h.events[:last] // it was there in no version of its own
		case c.meaning == unfixes && fixed:
			h.events = append(h.events, osv.Event{Introduced: at})
		case c.meaning == perfects && fixed:
			h.events[last].Fixed = at
		case c.meaning != unfixes && last > 0 && h.events[last].Introduced == at:
			h.events = h.events[:last] // a better fix took the place of the old one
		case c.meaning != unfixes && !fixed:
			h.events = append(h.events, osv.Event{Fixed: at})
		default:
			continue
		}
		h.note(c)
	}
	return h, len(h.events) > 1
}

// advisoryPattern is a Debian Security Advisory.
var advisoryPattern = regexp.MustCompile(`\bDSA[- ](\d{3,5}-\d+)\b`)

func (h *history) note(c change) {
	if h.first.IsZero() {
		h.first, h.urgency = c.entry.date, c.entry.urgency
		h.summary = osv.Summary(tidy(c.item))
	}
	if c.entry.date.After(h.last) {
		h.last = c.entry.date
	}
	for _, found := range advisoryPattern.FindAllStringSubmatch(c.item, -1) {
		h.related = append(h.related, "DSA-"+found[1])
	}
}

// tidy drops a bullet's sign.
func tidy(item string) string {
	return strings.TrimSpace(strings.TrimLeft(item, "*+~o–•- "))
}

func (h history) addTo(r *osv.Record, ecosystem, source string) {
	r.Affected = append(r.Affected, osv.Affected{
		Package:   osv.Package{Ecosystem: ecosystem, Name: source, PURL: "pkg:deb/debian/" + source + "?arch=source"},
		Ranges:    []osv.Range{{Type: osv.ECOSYSTEM, Events: h.events}},
		Ecosystem: osv.EcosystemSpecific{UploadUrgency: h.urgency},
	})
	if r.Published.IsZero() || h.first.Before(r.Published) {
		r.Published = h.first
	}
	if h.last.After(r.Modified) {
		r.Modified = h.last
	}
	r.Related = append(r.Related, h.related...)
	slices.Sort(r.Related)
	r.Related = slices.Compact(r.Related)
}
