package resolve

import (
	"fmt"
	"slices"
	"strings"

	"plimsoll.dev/plimsoll/internal/debian/index"
	"plimsoll.dev/plimsoll/internal/fault"
)

// want is one wish of a request and what would satisfy it.
type want struct {
	text    string
	options []*version
}

func readWants(p *pool, req Request) ([]want, error) {
	relations := make([]index.Relation, len(req.Packages))
	for i, text := range req.Packages {
		r, err := parseWant(text)
		if err == nil {
			err = checkWant(p, text, r)
		}
		if err != nil {
			return nil, err
		}
		relations[i] = r
		if r.Op == "=" {
			p.pinned[r.Name] = r.Version
		}
	}
	wants := make([]want, len(relations))
	for i, r := range relations {
		options, err := wanted(p, req.Packages[i], r)
		if err != nil {
			return nil, err
		}
		wants[i] = want{req.Packages[i], options}
	}
	return wants, nil
}

// parseWant reads "name", "name=1.2" or "name (>= 1.2)".
func parseWant(text string) (index.Relation, error) {
	written := text
	if name, version, ok := strings.Cut(text, "="); ok && !strings.Contains(name, "(") {
		text = name + " (= " + version + ")"
	}
	r, err := index.ParseRelation(text)
	if err == nil && len(r.Arches) > 0 {
		err = fmt.Errorf("an architecture list has no meaning here")
	}
	if err != nil {
		return r, fault.New(fault.Usage, "read package request", written, err).
			WithHint(`write "name", "name=1.2" or "name (>= 1.2)"`)
	}
	return r, nil
}

func checkWant(p *pool, text string, r index.Relation) error {
	switch {
	case p.omit[r.Name]:
		return fault.Newf(fault.Usage, "resolve packages", text, "it is requested and omitted").
			WithHint("take it out of one of the two lists")
	case r.Qualifier != "" && r.Qualifier != "any" && r.Qualifier != "native" && r.Qualifier != p.arch:
		return fault.Newf(fault.Usage, "resolve packages", text,
			fmt.Sprintf("it is of architecture %s, and the set is for %s", r.Qualifier, p.arch)).
			WithHint(fmt.Sprintf("build a base for %s, or leave %q away", r.Qualifier, ":"+r.Qualifier))
	}
	return nil
}

// wanted gives the versions that satisfy a request. A virtual package stands for its
// provider when only one package provides it, as with apt-get; else the choice is the user's.
func wanted(p *pool, text string, r index.Relation) ([]*version, error) {
	versions, err := p.named(r.Name)
	if err != nil {
		return nil, err
	}
	r.Qualifier = ""
	if len(versions) > 0 {
		var options []*version
		for _, v := range versions {
			if r.Holds(v.pkg.Version) {
				options = append(options, v)
			}
		}
		if len(options) == 0 {
			return nil, fault.Newf(fault.NotFound, "resolve packages", text,
				"the archive has "+listVersions(versions))
		}
		// A pinned version comes before all others that hold too.
		slices.SortStableFunc(options, func(a, b *version) int { return first(a.candidate, b.candidate) })
		return options, nil
	}
	return wantedVirtual(p, text, r)
}

func wantedVirtual(p *pool, text string, r index.Relation) ([]*version, error) {
	options, _, err := p.choose(index.Group{r})
	if err != nil {
		return nil, err
	}
	var names []string
	for _, v := range options {
		if !slices.Contains(names, v.pkg.Name) {
			names = append(names, v.pkg.Name)
		}
	}
	switch len(names) {
	case 1:
		return options, nil
	case 0:
		e := fault.Newf(fault.NotFound, "resolve packages", text, "the archive has no package of that name for "+p.arch)
		if near := nearest(p.universe, r.Name); len(near) > 0 {
			e = e.WithHint("did you mean " + strings.Join(near, ", ") + "?")
		}
		return nil, e
	}
	return nil, fault.Newf(fault.Usage, "resolve packages", text, "it is a virtual package that several provide").
		WithHint("request one of " + strings.Join(names, ", "))
}

// listVersions gives "libfoo 1.2 (trixie), 1.3 (trixie-security)" for versions of one name.
func listVersions(versions []*version) string {
	parts := make([]string, len(versions))
	for i, v := range versions {
		parts[i] = v.pkg.Version + " (" + v.pkg.Suite + ")"
	}
	return versions[0].pkg.Name + " " + strings.Join(parts, ", ")
}
