package resolve

import (
	"cmp"
	"slices"
	"strings"

	"plimsoll.dev/plimsoll/internal/debian/index"
)

// version is one package that may be installed: a variable of the search.
type version struct {
	pkg       *index.Package
	id        int // its place in pool.all
	candidate bool
	read      bool
	needs     []*need  // of Pre-Depends and Depends, once read
	rivals    []*rival // of Conflicts and Breaks, once read
	broken    error    // a relation field that cannot be read, once read
	provided  []index.Group
}

// need is one relation that a package, or the request itself, wants satisfied.
type need struct {
	owner   *version // nil for a request
	field   string   // "Pre-Depends" or "Depends"
	text    string
	group   index.Group
	options []*version // in the order of choice
	omitted []string   // names that would do, but are never installed
}

// rival is one relation that keeps packages from being installed beside its owner.
type rival struct {
	owner *version
	field string // "Conflicts" or "Breaks"
	text  string
	with  []*version
}

// pool takes a universe and gives its versions, each one exactly once, with their relations
// read as far as they are asked for.
type pool struct {
	universe  Universe
	arch      string
	omit      map[string]bool
	pinned    map[string]string // the version a request asked for by "=": its name's candidate
	all       []*version
	names     map[string][]*version
	providers map[string][]*version
}

func newPool(u Universe, req Request) *pool {
	p := &pool{
		universe: u, arch: req.Architecture,
		omit: make(map[string]bool), pinned: make(map[string]string),
		names: make(map[string][]*version), providers: make(map[string][]*version),
	}
	for _, name := range req.Omit {
		p.omit[name] = true
	}
	return p
}

// named gives the versions of a package for the architecture, best first.
func (p *pool) named(name string) ([]*version, error) {
	if known, ok := p.names[name]; ok {
		return known, nil
	}
	packages, err := p.universe.Versions(name)
	if err != nil {
		return nil, err
	}
	var versions []*version
	for _, pkg := range packages {
		if pkg.Architecture != p.arch && pkg.Architecture != "all" {
			continue
		}
		v := &version{pkg: pkg, id: len(p.all)}
		p.all = append(p.all, v)
		versions = append(versions, v)
	}
	p.names[name] = versions
	p.elect(name)
	return versions, nil
}

// elect marks the version of a name that apt would call its candidate.
func (p *pool) elect(name string) {
	pin, pinned := p.pinned[name]
	found := false
	for i, v := range p.names[name] {
		v.candidate = !pinned && i == 0 || pinned && !found && v.pkg.Version == pin
		found = found || v.candidate
	}
}

// providing gives the versions whose Provides name the virtual package.
func (p *pool) providing(virtual string) ([]*version, error) {
	if known, ok := p.providers[virtual]; ok {
		return known, nil
	}
	packages, err := p.universe.Providers(virtual)
	if err != nil {
		return nil, err
	}
	var versions []*version
	for _, pkg := range packages {
		siblings, err := p.named(pkg.Name)
		if err != nil {
			return nil, err
		}
		for _, v := range siblings {
			if v.pkg.Version == pkg.Version && v.pkg.Architecture == pkg.Architecture && v.pkg.SHA256 == pkg.SHA256 {
				versions = append(versions, v)
			}
		}
	}
	p.providers[virtual] = versions
	return versions, nil
}

// provides parses the version's Provides field; one that is malformed provides nothing.
func (v *version) provides() []index.Group {
	if v.provided == nil {
		v.provided, _ = index.ParseRelations(v.pkg.Provides) // Build refuses malformed ones
	}
	return v.provided
}

// satisfying gives the versions that satisfy one alternative, those of its very name first.
func (p *pool) satisfying(r index.Relation) ([]*version, error) {
	switch r.Qualifier {
	case "", "any", "native", p.arch:
	default:
		return nil, nil // a foreign architecture, of which nothing is installed
	}
	named, err := p.named(r.Name)
	if err != nil {
		return nil, err
	}
	var found []*version
	for _, v := range named {
		if r.Holds(v.pkg.Version) && (r.Qualifier != "any" || v.pkg.MultiArch == "allowed") {
			found = append(found, v)
		}
	}
	providers, err := p.providing(r.Name)
	if err != nil {
		return nil, err
	}
	for _, v := range providers {
		if v.gives(r, p.arch) && !slices.Contains(found, v) {
			found = append(found, v)
		}
	}
	return found, nil
}

// gives says whether a Provides entry of v satisfies r: a versioned relation needs a
// versioned entry (Debian Policy 7.5).
func (v *version) gives(r index.Relation, arch string) bool {
	for _, g := range v.provides() {
		for _, e := range g {
			if e.Name != r.Name || r.Op != "" && (e.Op != "=" || !r.Holds(e.Version)) {
				continue
			}
			switch e.Qualifier {
			case "":
				if r.Qualifier != "any" || v.pkg.MultiArch == "allowed" {
					return true
				}
			case "any":
				if r.Qualifier == "any" {
					return true
				}
			case "native", arch:
				if r.Qualifier != "any" {
					return true
				}
			}
		}
	}
	return false
}

// choose gives the options of a group in the order of choice: apt's candidates first, one
// alternative after the other, then older versions in the same order. Within an alternative
// the order is apt's CompareProviders (apt-pkg/depcache.cc). Omitted names are apart; when
// the first choice is one of them there are no options: what was left out on purpose is not
// replaced by the next best.
func (p *pool) choose(g index.Group) (options []*version, omitted []string, err error) {
	var older []*version
	taken := make(map[*version]bool)
	omitsFirst := false
	for _, r := range g {
		found, err := p.satisfying(r)
		if err != nil {
			return nil, nil, err
		}
		if err := p.rank(found, r.Name); err != nil {
			return nil, nil, err
		}
		for _, v := range found {
			omitsFirst = omitsFirst || len(taken) == 0 && p.omit[v.pkg.Name]
			switch {
			case taken[v]:
			case p.omit[v.pkg.Name]:
				if !slices.Contains(omitted, v.pkg.Name) {
					omitted = append(omitted, v.pkg.Name)
				}
			case v.candidate:
				options = append(options, v)
			default:
				older = append(older, v)
			}
			taken[v] = true
		}
	}
	if omitsFirst {
		return nil, omitted, nil
	}
	return append(options, older...), omitted, nil
}

// rank sorts equally named alternatives in place, best first.
func (p *pool) rank(found []*version, target string) error {
	if len(found) < 2 {
		return nil
	}
	mention := make(map[string]int)
	for _, v := range found {
		siblings, err := p.named(v.pkg.Name)
		if err != nil {
			return err
		}
		first := v.pkg.Mention
		for _, s := range siblings {
			first = min(first, s.pkg.Mention)
		}
		mention[v.pkg.Name] = first
	}
	slices.SortStableFunc(found, func(a, b *version) int {
		if a.pkg.Name == b.pkg.Name {
			return index.CompareVersions(b.pkg.Version, a.pkg.Version)
		}
		return cmp.Or(
			first(a.pkg.Name == target, b.pkg.Name == target),
			first(a.pkg.Essential, b.pkg.Essential),
			first(a.pkg.Important, b.pkg.Important),
			cmp.Compare(priority(a.pkg), priority(b.pkg)),
			cmp.Compare(mention[b.pkg.Name], mention[a.pkg.Name]),
			strings.Compare(a.pkg.Name, b.pkg.Name),
		)
	})
	return nil
}

// first orders what is so before what is not.
func first(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return -1
	}
	return 1
}

// priority gives a number that grows as the priority falls (Debian Policy 2.5).
func priority(p *index.Package) int {
	switch p.Priority {
	case "required":
		return 1
	case "important":
		return 2
	case "standard":
		return 3
	case "optional":
		return 4
	}
	return 5
}

// readRelations fills needs and rivals of v. A malformed field makes the version one that
// cannot be installed, as what it needs is unknown.
func (p *pool) readRelations(v *version) error {
	if v.read {
		return nil
	}
	v.read = true
	for _, f := range [...]struct{ name, text string }{{"Pre-Depends", v.pkg.PreDepends}, {"Depends", v.pkg.Depends}} {
		groups, err := index.ParseRelations(f.text)
		if err != nil {
			v.broken = err
			return nil
		}
		for _, g := range groups {
			g = slices.DeleteFunc(g, func(r index.Relation) bool { return !r.For(p.arch) })
			if len(g) == 0 {
				continue
			}
			options, omitted, err := p.choose(g)
			if err != nil {
				return err
			}
			v.needs = append(v.needs, &need{v, f.name, g.String(), g, options, omitted})
		}
	}
	for _, f := range [...]struct{ name, text string }{{"Conflicts", v.pkg.Conflicts}, {"Breaks", v.pkg.Breaks}} {
		groups, err := index.ParseRelations(f.text)
		if err != nil {
			v.broken = err
			return nil
		}
		for _, g := range groups {
			if err := p.addRivals(v, f.name, g); err != nil {
				return err
			}
		}
	}
	return nil
}

// addRivals reads one relation of Conflicts or Breaks. A package is no rival of another
// version of itself: the two never meet (Debian Policy 7.4).
func (p *pool) addRivals(v *version, field string, g index.Group) error {
	for _, r := range g {
		if !r.For(p.arch) {
			continue
		}
		found, err := p.satisfying(r)
		if err != nil {
			return err
		}
		with := slices.DeleteFunc(found, func(o *version) bool { return o.pkg.Name == v.pkg.Name || p.omit[o.pkg.Name] })
		if len(with) > 0 {
			v.rivals = append(v.rivals, &rival{v, field, r.String(), with})
		}
	}
	return nil
}
