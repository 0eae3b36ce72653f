package inventory

import (
	"fmt"
	"slices"
	"strings"

	"github.com/google/osv-scalibr/semantic"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/inventory/query"
)

// packageTerm translates a condition about the package p.
func (a *asking) packageTerm(e query.Expr, _ bool) (cond, error) {
	switch e := e.(type) {
	case query.Package:
		return a.packageNamed(e)
	case query.Affected:
		ids, _, err := a.affectedPackages(e)
		text, arg := a.tx.Ints("p.id", ids)
		return cond{text: text, args: []any{arg}}, err
	case query.Compare:
		return a.packageField(e)
	}
	return never, fmt.Errorf("no condition of packages: %T", e)
}

func (a *asking) packageField(c query.Compare) (cond, error) {
	value := c.Value.Text
	switch c.Field {
	case query.Name:
		return a.text("p.title", c.Op, value), nil
	case query.Type:
		return a.text("p.type", c.Op, value), nil
	case query.Arch:
		return a.text("p.arch", c.Op, value), nil
	case query.Distro:
		return a.text("p.distro", c.Op, value), nil
	case query.Source:
		return a.text("p.source", c.Op, value), nil
	case query.Licence:
		op, not := positive(c.Op)
		inner := a.text("l.licence", op, strings.ToLower(value))
		return cond{text: "p.id" + not + " IN (SELECT l.package FROM package_licences l WHERE " + inner.text + ")", args: inner.args}, nil
	}
	return never, fmt.Errorf("no field of packages: %s", c.Field)
}

// packageNamed finds packages by their name or that of their source package, and compares
// versions in the program, for no database knows how.
func (a *asking) packageNamed(e query.Package) (cond, error) {
	where, args := "(p.title = ? OR p.source = ?)", []any{clean(e.Name), clean(e.Name)}
	if e.Type != "" {
		where, args = where+" AND p.type = ?", append(args, e.Type)
	}
	if e.Op == "" {
		return cond{text: where, args: args}, nil
	}
	packages, err := readPackages(a.ctx, a.tx, where, args...)
	if err != nil {
		return never, err
	}
	packages = slices.DeleteFunc(packages, func(p Package) bool { return !versionHolds(p.Package, e) })
	var ids []int64
	for _, p := range packages {
		ids = append(ids, p.ID)
	}
	text, arg := a.tx.Ints("p.id", ids)
	return cond{text: text, args: []any{arg}}, nil
}

// versionHolds compares the package's own version when the name is its own, and else its
// source's. A version that cannot be read equals only itself and is in no order.
func versionHolds(p artifact.Package, e query.Package) bool {
	version := p.Version
	if query.Title(p.Type, p.Namespace, p.Name) != e.Name && p.SourceVersion != "" {
		version = p.SourceVersion
	}
	if version == e.Version {
		return e.Op.Holds(0)
	}
	parsed, err := semantic.Parse(e.Version, versionsOf(p))
	if err != nil {
		return e.Op == query.NotEqual
	}
	order, err := parsed.CompareStr(version)
	if err != nil {
		return e.Op == query.NotEqual
	}
	return e.Op.Holds(-order)
}

// versionsOf gives the ecosystem that says how versions are compared; for a type that has
// none, that of semantic versions.
func versionsOf(p artifact.Package) string {
	if ecosystem := p.Ecosystem(); ecosystem != "" {
		return ecosystem
	}
	switch p.Type {
	case "deb":
		return "Debian"
	case "apk":
		return "Alpine"
	case "rpm":
		return "Red Hat"
	}
	return "Bitnami"
}
