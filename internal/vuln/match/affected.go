package match

import (
	"slices"

	"plimsoll.dev/plimsoll/internal/vuln/advisory"
	"plimsoll.dev/plimsoll/internal/vuln/version"
)

// subject is a package whose advisories are weighed. It reads the installed version once
// for each way to order versions.
type subject struct {
	installed string
	python    bool
	parsed    map[version.Scheme]parsed
}

type parsed struct {
	version version.Version
	ok      bool
}

func newSubject(key advisory.Key, installed string) *subject {
	return &subject{installed, key.Ecosystem == "PyPI", map[version.Scheme]parsed{}}
}

// at gives the same package at another version.
func (s *subject) at(installed string) *subject {
	return &subject{installed, s.python, map[version.Scheme]parsed{}}
}

// affected gives the claims by which the installed version is affected (OSV schema,
// "Evaluation").
func (s *subject) affected(claims []advisory.Claim) []advisory.Claim {
	var out []advisory.Claim
	for _, c := range claims {
		if s.isAffected(c) {
			out = append(out, c)
		}
	}
	return out
}

func (s *subject) isAffected(c advisory.Claim) bool {
	if s.isListed(c.Versions) {
		return true
	}
	for i := range c.Ranges {
		if s.isIn(&c.Ranges[i]) {
			return true
		}
	}
	return false
}

// isListed says whether one of the versions, which are sorted, is the installed one. Python
// writes one version in many ways ("1.0", "1.0.0"), so there the meaning counts.
func (s *subject) isListed(versions []string) bool {
	if _, found := slices.BinarySearch(versions, s.installed); found {
		return true
	}
	if !s.python {
		return false
	}
	installed, ok := s.as("PyPI")
	if !ok {
		return false
	}
	return slices.ContainsFunc(versions, func(text string) bool {
		other, err := version.Scheme("PyPI").Parse(text)
		if err != nil {
			return false
		}
		order, err := installed.Compare(other)
		return err == nil && order == 0
	})
}

// isIn says whether the range covers the installed version. A range whose versions cannot
// be compared with it covers nothing.
func (s *subject) isIn(r *advisory.Range) bool {
	scheme := version.Scheme(r.Scheme)
	installed, ok := s.as(scheme)
	if !ok || !before(scheme, installed, r.Limits) {
		return false
	}
	affected := false
	for _, event := range r.Events {
		if event.Kind == advisory.Introduced && event.Version == "0" {
			affected = true
			continue
		}
		at, err := scheme.Parse(event.Version)
		if err != nil {
			return false
		}
		order, err := installed.Compare(at)
		if err != nil {
			return false
		}
		switch {
		case order < 0:
			return affected // the events are in order: none of the rest concerns it
		case event.Kind == advisory.Introduced:
			affected = true
		case event.Kind == advisory.Fixed, order > 0:
			affected = false
		}
	}
	return affected
}

// before says whether the version is before one of the limits, or there are none.
func before(scheme version.Scheme, v version.Version, limits []string) bool {
	for _, text := range limits {
		if limit, err := scheme.Parse(text); err == nil {
			if order, err := v.Compare(limit); err == nil && order < 0 {
				return true
			}
		}
	}
	return len(limits) == 0
}

// as gives the installed version as the scheme reads it; false when it cannot.
func (s *subject) as(scheme version.Scheme) (version.Version, bool) {
	known, read := s.parsed[scheme]
	if !read {
		v, err := scheme.Parse(s.installed)
		known = parsed{v, err == nil}
		s.parsed[scheme] = known
	}
	return known.version, known.ok
}

// fixed gives the lowest version above the installed one that some claim calls fixed and
// none calls affected; "" when there is none.
func (s *subject) fixed(claims []advisory.Claim) string {
	type candidate struct {
		text string
		at   version.Version
	}
	var candidates []candidate
	for _, c := range claims {
		for _, r := range c.Ranges {
			scheme := version.Scheme(r.Scheme)
			installed, ok := s.as(scheme)
			if !ok {
				continue
			}
			for _, event := range r.Events {
				if event.Kind != advisory.Fixed {
					continue
				}
				at, err := scheme.Parse(event.Version)
				if err != nil {
					continue
				}
				if order, err := installed.Compare(at); err == nil && order < 0 {
					candidates = append(candidates, candidate{event.Version, at})
				}
			}
		}
	}
	// Two schemes in one package are no order; the claims' own order has to do then.
	slices.SortStableFunc(candidates, func(a, b candidate) int {
		order, _ := a.at.Compare(b.at)
		return order
	})
	for _, c := range candidates {
		if len(s.at(c.text).affected(claims)) == 0 {
			return c.text
		}
	}
	return ""
}
