package policy

import (
	"fmt"
	"slices"
	"sync"

	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"

	"plimsoll.dev/plimsoll/artifact"
)

// Subject is what is known of one manifest, made ready to be decided upon any number of times
// and by several at once.
type Subject struct {
	facts  artifact.Facts
	digest string

	packages, findings func() (any, error)
	bases              func() map[origin]bool
}

// Prepare makes the facts ready. They must not change any more.
func Prepare(facts artifact.Facts) *Subject {
	s := &Subject{facts: facts, digest: digestOfFacts(&facts)}
	s.lists()
	return s
}

// Facts gives what is known.
func (s *Subject) Facts() artifact.Facts { return s.facts }

// without gives the subject as if the findings of these names did not concern it; nil where
// none of them does.
func (s *Subject) without(names map[string]bool) *Subject {
	set := func(f artifact.Finding) bool {
		return names[f.ID] || slices.ContainsFunc(f.Aliases, func(alias string) bool { return names[alias] })
	}
	if !slices.ContainsFunc(s.facts.Findings, set) {
		return nil
	}
	less := &Subject{facts: s.facts, digest: s.digest}
	less.facts.Findings = slices.DeleteFunc(slices.Clone(s.facts.Findings), set)
	less.lists()
	return less
}

// lists has the long lists made when the first expression reads them.
func (s *Subject) lists() {
	s.packages = sync.OnceValues(s.listPackages)
	s.findings = sync.OnceValues(s.listFindings)
	s.bases = sync.OnceValue(s.origins)
}

// pack is a package that can tell whether the base brought it: of itself, or as the package of
// a finding.
type pack struct {
	*artifact.Package
	in *bool // nil where it is not known
	of *found
}

// inBase says whether the base brought it; nil where that is not known.
func (p *pack) inBase() *bool {
	if p.of != nil {
		return p.of.inBase()
	}
	return p.in
}

// found is a finding that knows its image.
type found struct {
	*artifact.Finding
	of *Subject
}

func (f *found) pack() *pack { return &pack{Package: &f.Package, of: f} }

func (f *found) inBase() *bool {
	in, known := f.of.bases()[originOf(&f.Package)]
	if !known {
		return nil
	}
	return &in
}

// origin tells packages of an image apart as far as it matters for who brought them.
type origin struct{ kind, name, version, layer string }

func originOf(p *artifact.Package) origin { return origin{p.Type, p.Name, p.Version, p.Layer} }

// origins says of each package whether the base brought it. One that is there twice is the
// base's only where both are.
func (s *Subject) origins() map[origin]bool {
	if len(s.facts.InBase) != len(s.facts.Packages) {
		return nil
	}
	in := make(map[origin]bool, len(s.facts.Packages))
	for i := range s.facts.Packages {
		key := originOf(&s.facts.Packages[i])
		other, twice := in[key]
		in[key] = s.facts.InBase[i] && (other || !twice)
	}
	return in
}

func (s *Subject) listPackages() (any, error) {
	if s.facts.Packages == nil {
		return nil, &missing{"its packages are not known"}
	}
	packs := make([]pack, len(s.facts.Packages))
	known := len(s.facts.InBase) == len(packs)
	for i := range packs {
		packs[i].Package = &s.facts.Packages[i]
		if known {
			packs[i].in = &s.facts.InBase[i]
		}
	}
	return things("packages", maxMany, packageObject, packs)
}

const neverScanned = "it was never scanned for vulnerabilities"

func (s *Subject) listFindings() (any, error) {
	if s.facts.Findings == nil {
		return nil, &missing{neverScanned}
	}
	all := make([]found, len(s.facts.Findings))
	for i := range all {
		all[i] = found{&s.facts.Findings[i], s}
	}
	return things("findings", maxMany, findingObject, all)
}

// things gives a list in CEL of objects of one kind.
func things[T any](name string, most int, kind *object, list []T) (any, error) {
	if len(list) > most {
		return nil, fmt.Errorf("there are more than %d %s", most, name)
	}
	values := make([]thing, len(list))
	refs := make([]ref.Val, len(list))
	for i := range list {
		values[i] = thing{kind, &list[i]}
		refs[i] = &values[i]
	}
	return types.NewRefValList(types.DefaultTypeAdapter, refs), nil
}
