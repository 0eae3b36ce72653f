package resolve_test

import (
	"strings"
	"testing"

	"plimsoll.dev/plimsoll/internal/debian/index"
	"plimsoll.dev/plimsoll/internal/debian/resolve"
)

// check holds a result against the fields of its packages, by the plainest reading of Debian
// Policy 7 and with none of the resolver's code.
func check(t testing.TB, u resolve.Universe, arch string, request []string, r resolve.Result) {
	t.Helper()
	var set []*index.Package
	seen := make(map[string]bool)
	for _, c := range r.Packages {
		if seen[c.Package.Name] {
			t.Errorf("two versions of %s", c.Package.Name)
		}
		if c.Package.Architecture != arch && c.Package.Architecture != "all" {
			t.Errorf("%s is of architecture %s", c.Package, c.Package.Architecture)
		}
		seen[c.Package.Name] = true
		set = append(set, c.Package)
	}
	for _, complaint := range complaints(t, set, arch) {
		if !letGo(complaint, r.Omissions) {
			t.Error(complaint)
		}
	}
	for _, wish := range request {
		name, version, exact := strings.Cut(wish, "=")
		if strings.Contains(wish, "(") {
			name, exact = strings.Fields(wish)[0], false
		}
		name, _, _ = strings.Cut(name, ":")
		met := false
		for _, p := range set {
			met = met || p.Name == name && (!exact || p.Version == version) || !exact && provides(t, p, index.Relation{Name: name}, arch)
		}
		if !met {
			t.Errorf("%s was requested and is not in", wish)
		}
	}
}

// complaints gives what is wrong with a set: "name version Field relation".
func complaints(t testing.TB, set []*index.Package, arch string) []string {
	var wrong []string
	for _, p := range set {
		for field, text := range map[string]string{"Pre-Depends": p.PreDepends, "Depends": p.Depends} {
			for _, g := range relations(t, text) {
				met := false
				for _, r := range g {
					for _, q := range set {
						met = met || satisfies(t, q, r, arch)
					}
				}
				if !met {
					wrong = append(wrong, p.String()+" "+field+" "+g.String())
				}
			}
		}
		for field, text := range map[string]string{"Conflicts": p.Conflicts, "Breaks": p.Breaks} {
			for _, g := range relations(t, text) {
				for _, q := range set {
					if q.Name != p.Name && satisfies(t, q, g[0], arch) {
						wrong = append(wrong, p.String()+" "+field+" "+g.String()+": "+q.String())
					}
				}
			}
		}
	}
	return wrong
}

func relations(t testing.TB, text string) []index.Group {
	t.Helper()
	groups, err := index.ParseRelations(text)
	if err != nil {
		t.Fatal(err)
	}
	return groups
}

func satisfies(t testing.TB, p *index.Package, r index.Relation, arch string) bool {
	if r.Qualifier != "" && r.Qualifier != arch && r.Qualifier != "any" && r.Qualifier != "native" {
		return false
	}
	named := p.Name == r.Name && r.Holds(p.Version) && (r.Qualifier != "any" || p.MultiArch == "allowed")
	return named || provides(t, p, r, arch)
}

func provides(t testing.TB, p *index.Package, r index.Relation, arch string) bool {
	for _, g := range relations(t, p.Provides) {
		e := g[0]
		matches := e.Qualifier == "" && (r.Qualifier != "any" || p.MultiArch == "allowed") ||
			e.Qualifier == "any" && r.Qualifier == "any" || e.Qualifier == arch && r.Qualifier != "any"
		if matches && e.Name == r.Name && (r.Op == "" || e.Op == "=" && r.Holds(e.Version)) {
			return true
		}
	}
	return false
}

func letGo(complaint string, omissions []resolve.Omission) bool {
	for _, o := range omissions {
		if complaint == o.By+" "+o.Field+" "+o.Relation {
			return true
		}
	}
	return false
}
