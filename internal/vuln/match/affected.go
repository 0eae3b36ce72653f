package match

import (
	"slices"
	"strings"

	"plimsoll.dev/plimsoll/internal/vuln/advisory"
	"plimsoll.dev/plimsoll/internal/vuln/version"
)

// subject is a package whose advisories are weighed. It reads the installed version once
// for each way to order versions.
type subject struct {
	installed string
	python    bool
	readings  []reading
}

type reading struct {
	scheme  version.Scheme
	version version.Version
	ok      bool
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
	start := releaseOf(s.installed)
	return slices.ContainsFunc(versions, func(text string) bool {
		if releaseOf(text) != start {
			return false // the same version has the same numbers: most need no more than a look
		}
		other, err := version.Scheme("PyPI").Parse(text)
		if err != nil {
			return false
		}
		order, err := installed.Compare(other)
		return err == nil && order == 0
	})
}

// releaseOf gives the first number of a version (PEP 440, "Final releases").
func releaseOf(text string) int {
	n := 0
	for _, c := range strings.TrimLeft(text, "v \t") {
		if c < '0' || c > '9' || n > 1<<40 {
			break
		}
		n = 10*n + int(c-'0')
	}
	return n
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
	for i := range s.readings {
		if r := &s.readings[i]; r.scheme == scheme {
			return r.version, r.ok
		}
	}
	v, err := scheme.Parse(s.installed)
	s.readings = append(s.readings, reading{scheme, v, err == nil})
	return v, err == nil
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
		then := subject{installed: c.text, python: s.python}
		if !slices.ContainsFunc(claims, then.isAffected) {
			return c.text
		}
	}
	return ""
}
