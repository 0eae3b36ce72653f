// Package resolve takes wanted packages and a Debian archive and gives the set of packages to
// install on an empty system, each with the reason it is in.
//
// The search is complete: when any set satisfies the wish, one is found, and when none does,
// the error says why none can. Among many sets it takes the one that apt would, as far as
// docs/resolver.md says.
package resolve

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"

	"plimsoll.dev/plimsoll/internal/debian/index"
	"plimsoll.dev/plimsoll/internal/fault"
)

// Universe is the archive that Resolve chooses from; *index.Universe and *index.Index are
// such. Both lookups give nothing for an unknown name.
type Universe interface {
	// Versions gives the packages of that name, best first.
	Versions(name string) ([]*index.Package, error)
	// Providers gives the packages whose Provides name the virtual package.
	Providers(virtual string) ([]*index.Package, error)
}

// lister is a Universe that can list its names, which serves hints alone.
type lister interface{ Names() iter.Seq[string] }

// Request is what to resolve.
type Request struct {
	Architecture string   // "amd64"; packages of it and of "all" are taken
	Packages     []string // "name", "name=1.2" or "name (>= 1.2)", each perhaps with ":any", ":native" or the architecture after the name
	Omit         []string // names never installed: a dependency whose first choice is one of them counts as satisfied
}

// Result is a set of packages that satisfies a Request, and what it left out.
type Result struct {
	Packages  []Choice   // by name
	Omissions []Omission // by package that needed one, then by relation
}

// Choice is one package and the first reason for it.
type Choice struct {
	Package *index.Package
	Why     Reason
}

// Reason says why a package is in: either it was requested, or another one needs it.
type Reason struct {
	Requested string // the request as written, or ""
	By        string // "name version" of the package that needs it, or ""
	Field     string // "Depends" or "Pre-Depends", or ""
	Relation  string // the relation as the field has it, with its alternatives, or ""
}

// String gives "requested" or "needed by git 1:2.47.3-0 through Depends "perl"".
func (r Reason) String() string {
	if r.By == "" {
		return "requested"
	}
	return fmt.Sprintf("needed by %s through %s %q", r.By, r.Field, r.Relation)
}

// Omission is a dependency that was let go because its first choice, or all that could
// satisfy it, is omitted.
type Omission struct {
	Packages []string // the omitted names that would have satisfied it, in order of choice
	By       string   // "name version" of the package that needs it
	Field    string   // "Depends" or "Pre-Depends"
	Relation string
}

// Resolve finds the set. A wish that cannot be met, a name that does not exist and a request
// that makes no sense are Failed, NotFound and Usage faults. It stops soon after ctx ends.
func Resolve(ctx context.Context, u Universe, req Request) (Result, error) {
	if req.Architecture == "" {
		return Result{}, fault.Newf(fault.Usage, "resolve packages", "", "no architecture is given")
	}
	p := newPool(u, req)
	s := newSolver(p)
	wants, err := readWants(p, req)
	if err != nil {
		return Result{}, err
	}
	for _, w := range wants {
		s.roots = append(s.roots, &need{field: "", text: w.text, options: w.options})
	}
	walk, err := s.solve(ctx)
	switch {
	case errors.Is(err, errUnsatisfiable):
		return Result{}, explain(s)
	case err != nil:
		return Result{}, fault.New(fault.KindOf(err), "resolve packages", strings.Join(req.Packages, " "), err)
	}
	return walk.result(), nil
}

// result gives what a finished walk marked.
func (w *walk) result() Result {
	var r Result
	for id, why := range w.why {
		v := w.s.pool.all[id]
		r.Packages = append(r.Packages, Choice{Package: v.pkg, Why: why})
		for _, n := range v.needs {
			if len(n.options) == 0 {
				r.Omissions = append(r.Omissions, Omission{n.omitted, v.pkg.String(), n.field, n.text})
			}
		}
	}
	slices.SortFunc(r.Packages, func(a, b Choice) int { return strings.Compare(a.Package.Name, b.Package.Name) })
	slices.SortFunc(r.Omissions, func(a, b Omission) int {
		return cmp.Or(strings.Compare(a.By, b.By), strings.Compare(a.Relation, b.Relation), strings.Compare(a.Field, b.Field))
	})
	return r
}
