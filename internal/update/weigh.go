package update

import (
	"slices"
	"strings"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/inventory"
	"plimsoll.dev/plimsoll/internal/vuln/version"
)

// scales weigh what images have. A weakness is in thousands of them, and weighs the same in all.
type scales struct {
	weighed map[*inventory.Weakness]*weighed
	numbers map[Cause]int
	rising  map[rise]bool

	// Of the image that is on the scales.
	seen          map[settled]bool
	fixes, leaves []Cause
}

func newScales() *scales {
	return &scales{weighed: map[*inventory.Weakness]*weighed{}, numbers: map[Cause]int{}, rising: map[rise]bool{}, seen: map[settled]bool{}}
}

// weighed is a weakness, as far as nothing depends on where it is.
type weighed struct {
	cause     Cause  // why nothing fixes it is not in it
	number    int    // of the cause: equal ones have the same
	ecosystem string // as OSV names it
	floor     string // names the override that fixes it: versions of one major share a floor
	pinned    string // why no override does; "" where one does
}

// settled is a cause, and why nothing fixes it.
type settled struct {
	number int
	why    string
}

// rise is a version that may come before another.
type rise struct{ ecosystem, from, to string }

func (s *scales) weigh(w *inventory.Weakness) *weighed {
	if known := s.weighed[w]; known != nil {
		return known
	}
	one := &weighed{cause: causeOf(w), ecosystem: w.Ecosystem, floor: w.Ecosystem + " " + w.Package + " " + major(w.Fixed)}
	number, known := s.numbers[one.cause]
	if !known {
		number = len(s.numbers)
		s.numbers[one.cause] = number
	}
	one.number = number
	switch {
	case !slices.Contains([]string{"npm", "Go", "PyPI"}, w.Ecosystem):
		one.pinned = whyNoOverride
	case major(w.Version) != major(w.Fixed):
		one.pinned = whyMajor
	}
	s.weighed[w] = one
	return one
}

// leaves says why nothing fixes it at that place; "" is that the remedy does.
func (w *weighed) leaves(hit inventory.Hit, on *inventory.Standing, builds bool) string {
	switch hit.Remedy {
	case artifact.RemedyNone:
		return whyNoFix
	case artifact.RemedyRebase:
		switch {
		case !on.Known:
			return whyNoBase
		case !on.Stale, on.Has(hit.Weakness):
			return whyBaseFirst
		}
		return ""
	case artifact.RemedyOverride:
		if w.pinned != "" {
			return w.pinned
		}
	}
	if !builds {
		return whyNoSource
	}
	return ""
}

// raise lifts the floor of a dependency to the version that the weakness is fixed in.
func (s *scales) raise(floors map[string]*Override, w *weighed) {
	o := floors[w.floor]
	if o == nil {
		o = &Override{Ecosystem: w.ecosystem, Package: w.cause.Package, Version: w.cause.Fixed}
		floors[w.floor] = o
	}
	if s.older(w.ecosystem, o.Version, w.cause.Fixed) {
		o.Version = w.cause.Fixed
	}
	if !slices.Contains(o.Advisories, w.cause.Advisory) {
		o.Advisories = append(o.Advisories, w.cause.Advisory)
	}
}

// older is the function of that name, asked once of the same versions.
func (s *scales) older(ecosystem, from, to string) bool {
	if from == to {
		return false
	}
	this := rise{ecosystem, from, to}
	is, known := s.rising[this]
	if !known {
		is = older(ecosystem, from, to)
		s.rising[this] = is
	}
	return is
}

// older says whether a comes before b; false where versions cannot be compared.
func older(ecosystem, a, b string) bool {
	scheme := version.Of(ecosystem)
	x, err := scheme.Parse(a)
	if err != nil {
		return false
	}
	y, err := scheme.Parse(b)
	if err != nil {
		return false
	}
	order, err := x.Compare(y)
	return err == nil && order < 0
}

// major gives what a version begins with: its epoch, if it has one (PEP 440), and the first
// of its numbers.
func major(version string) string {
	version = strings.TrimPrefix(version, "v")
	epoch, rest, found := strings.Cut(version, "!")
	if !found {
		epoch, rest = "", version
	}
	end := strings.IndexFunc(rest, func(r rune) bool { return r < '0' || r > '9' })
	if end < 0 {
		end = len(rest)
	}
	return epoch + "!" + rest[:end]
}
