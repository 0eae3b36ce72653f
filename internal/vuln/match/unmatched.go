package match

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/vuln/advisory"
)

// Unmatched is packages of an image that were held against nothing: that none of them has
// a finding says nothing of them.
type Unmatched struct {
	Ecosystem string `json:"ecosystem"` // "" for packages that are of none
	Packages  int    `json:"packages"`
}

// Missing gives the packages of the image that the database can say nothing of, by
// ecosystem. What a distribution's package ships is its distribution's.
func Missing(db *advisory.Database, c artifact.Contents) ([]Unmatched, error) {
	ecosystems, err := db.Ecosystems()
	if err != nil {
		return nil, err
	}
	counts := map[string]int{}
	for _, p := range c.Packages {
		if spokenFor(p) {
			continue
		}
		key := advisory.KeyOf(p.Ecosystem(), p.Name)
		if !isKnown(ecosystems, key.Ecosystem) {
			counts[key.Ecosystem]++
		}
	}
	var missing []Unmatched
	for _, ecosystem := range slices.SortedFunc(maps.Keys(counts), lastWithout) {
		missing = append(missing, Unmatched{ecosystem, counts[ecosystem]})
	}
	return missing, nil
}

// isKnown says whether the sorted ecosystems have this one. A few records of all releases do
// not stand for a release of which the others have advisories.
func isKnown(ecosystems []string, ecosystem string) bool {
	if _, known := slices.BinarySearch(ecosystems, ecosystem); known {
		return ecosystem != ""
	}
	family, _, hasRelease := strings.Cut(ecosystem, ":")
	if !hasRelease || slices.ContainsFunc(ecosystems, func(e string) bool { return strings.HasPrefix(e, family+":") }) {
		return false
	}
	_, known := slices.BinarySearch(ecosystems, family)
	return known
}

// lastWithout orders names, "" behind them.
func lastWithout(a, b string) int {
	if (a == "") != (b == "") {
		return cmp.Compare(b, a)
	}
	return cmp.Compare(a, b)
}
