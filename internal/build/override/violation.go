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
	floors := map[string]v1alpha1.DependencyOverride{}
	for _, o := range holding {
		floors[keyOf(o.Spec.Ecosystem, o.Spec.Package)] = o
	}
	var all []Violation
	for _, p := range contents.Packages {
		ecosystem, name, ok := p.AdvisoryKey()
		o, held := floors[ecosystem+" "+name]
		if !ok || !held || compare(ecosystem, p.Version, o.Spec.Version) >= 0 {
			continue
		}
		if artifact.RemedyOf(p, contents.InBase(p), o.Spec.Version) == artifact.RemedyOverride {
			all = append(all, Violation{o, p})
		}
	}
	return all
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
