package override

import (
	"fmt"

	"plimsoll.dev/plimsoll/api/v1alpha1"
	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/fault"
)

// Violation is a package of an image that is below its floor.
type Violation struct {
	Override v1alpha1.DependencyOverride
	Package  artifact.Package
}

// Check gives the packages that a build put into the image and that are below their floors, in
// the order of the contents. What the base or the tools of a language bring is not a build's to
// mend.
func Check(holding Holding, contents artifact.Contents) []Violation {
	above := holding.above()
	var all []Violation
	for _, p := range contents.Packages {
		o, low := above(p)
		if low && artifact.RemedyOf(p, contents.InBase(p), o.Spec.Version) == artifact.RemedyOverride {
			all = append(all, Violation{o, p})
		}
	}
	return all
}

// Below gives what says of a package that it is below its floor, wherever it is.
func (h Holding) Below() func(artifact.Package) bool {
	above := h.above()
	return func(p artifact.Package) bool {
		_, low := above(p)
		return low
	}
}

// above gives what finds the floor that a package is below.
func (h Holding) above() func(artifact.Package) (v1alpha1.DependencyOverride, bool) {
	floors := map[string]v1alpha1.DependencyOverride{}
	for _, o := range h {
		floors[keyOf(o.Spec.Ecosystem, o.Spec.Package)] = o
	}
	return func(p artifact.Package) (o v1alpha1.DependencyOverride, low bool) {
		ecosystem, name, ok := p.AdvisoryKey()
		if ok {
			o, low = floors[ecosystem+" "+name]
		}
		return o, low && compare(ecosystem, p.Version, o.Spec.Version) < 0
	}
}

// Refuse gives an error when the image has packages below their floors.
func Refuse(image string, holding Holding, contents artifact.Contents) error {
	violations := Check(holding, contents)
	if len(violations) == 0 {
		return nil
	}
	v := violations[0]
	name, number := v.Package.AdvisoryName()
	why := fmt.Sprintf("%s %s is in it, and the override %s wants %s", name, number, v.Override.Name, v.Override.Spec.Version)
	if len(v.Package.Paths) > 0 {
		why += " (" + v.Package.Paths[0] + ")"
	}
	if more := len(violations) - 1; more > 0 {
		why += fmt.Sprintf(", and %d more are too low", more)
	}
	return fault.Newf(fault.Denied, "enforce overrides", image, why).
		WithHint("the buildpack did not raise it: update it in the source, or end the override for this image (docs/overrides.md)")
}
