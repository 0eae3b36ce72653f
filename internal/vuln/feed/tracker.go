package feed

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"pault.ag/go/debian/version"

	"plimsoll.dev/plimsoll/internal/vuln/osv"
)

// issue is what Debian's security tracker says of one vulnerability in one source package
// (its /tracker/data/json, by package, then by CVE).
type issue struct {
	Description string                `json:"description"`
	Releases    map[string]assessment `json:"releases"` // by codename
}

// assessment is what it says for one release.
type assessment struct {
	Status  string  `json:"status"` // "open", "resolved", "undetermined"
	Fixed   string  `json:"fixed_version"`
	Urgency string  `json:"urgency"`      // "not yet assigned", "unimportant", "low", "end-of-life", …
	NoDSA   *string `json:"nodsa"`        // why there is no advisory; absent when there may be one
	Reason  string  `json:"nodsa_reason"` // "", "postponed", "ignored"
}

// trackerParser gives the parser of a tracker's export for the feed's releases.
func trackerParser(f Feed) parse {
	codenames := map[string]string{} // ecosystem by codename
	for _, pair := range f.Ecosystems {
		ecosystem, codename, _ := strings.Cut(pair, "=")
		codenames[codename] = ecosystem
	}
	return func(plain io.Reader, at time.Time) ([]entry, error) { return parseTracker(plain, at, codenames) }
}

// parseTracker reads an export package by package. The tracker does not say when it learnt
// something, so all is as of when the file was made.
func parseTracker(plain io.Reader, at time.Time, codenames map[string]string) ([]entry, error) {
	decoder := json.NewDecoder(plain)
	if open, err := decoder.Token(); err != nil || open != json.Delim('{') {
		return nil, errors.New("it is no export of the tracker")
	}
	records := map[string]*osv.Record{}
	for decoder.More() {
		key, err := decoder.Token()
		if err != nil {
			return nil, err
		}
		source, _ := key.(string)
		if !sourcePattern.MatchString(source) {
			return nil, fmt.Errorf("%.60q is no name of a source package", source)
		}
		var issues map[string]issue
		if err := decoder.Decode(&issues); err != nil {
			return nil, fmt.Errorf("package %s: %w", source, err)
		}
		for _, id := range slices.Sorted(maps.Keys(issues)) {
			if !osv.ValidID(id) {
				return nil, fmt.Errorf("package %s: %.60q is no id", source, id)
			}
			if err := issues[id].addTo(records, id, source, codenames); err != nil {
				return nil, fmt.Errorf("package %s: %s: %w", source, id, err)
			}
		}
	}
	if _, err := decoder.Token(); err != nil {
		return nil, err
	}
	entries := make([]entry, 0, len(records))
	for _, r := range records {
		r.Modified = at
		text, err := json.Marshal(r)
		if err != nil {
			return nil, err
		}
		e, err := newEntry(r.ID, text) // held to the same rules as what others write
		if err != nil {
			return nil, err
		}
		entries = append(entries, e)
	}
	return entries, nil
}

// addTo adds what the issue says of the feed's releases to the record of its CVE.
func (i issue) addTo(records map[string]*osv.Record, id, source string, codenames map[string]string) error {
	for _, codename := range slices.Sorted(maps.Keys(codenames)) {
		said, ok := i.Releases[codename]
		if !ok {
			continue
		}
		affected, err := said.affected(codenames[codename], source)
		if err != nil {
			return fmt.Errorf("%s: %w", codename, err)
		}
		r := records[id]
		if r == nil {
			r = &osv.Record{SchemaVersion: "1.7.0", ID: "DEBIAN-" + id, Summary: i.Description}
			if cvePattern.MatchString(id) {
				r.Upstream = []string{id}
			}
			records[id] = r
		}
		r.Affected = append(r.Affected, affected)
	}
	return nil
}

// affected keeps the tracker's own words as the state. A release that was never affected
// is "resolved" in version "0": such a range holds no version.
func (a assessment) affected(ecosystem, source string) (osv.Affected, error) {
	events := []osv.Event{{Introduced: "0"}}
	state := a.Status
	switch a.Status {
	case "resolved":
		if _, err := version.Parse(a.Fixed); err != nil {
			return osv.Affected{}, fmt.Errorf("fixed_version %.60q: %w", a.Fixed, err)
		}
		events = append(events, osv.Event{Fixed: a.Fixed})
	case "open":
		if a.NoDSA != nil {
			state = cmp.Or(a.Reason, "no-dsa")
		}
	case "undetermined":
	default:
		return osv.Affected{}, fmt.Errorf("status: %.60q is none", a.Status)
	}
	return osv.Affected{
		Package:   osv.Package{Ecosystem: ecosystem, Name: source, PURL: "pkg:deb/debian/" + source + "?arch=source"},
		Ranges:    []osv.Range{{Type: osv.ECOSYSTEM, Events: events}},
		Ecosystem: osv.EcosystemSpecific{Urgency: strings.TrimRight(a.Urgency, "*"), State: state},
	}, nil
}
