// Package override takes the DependencyOverrides of a home and gives those that hold for an
// image, what they change in its source, and what in the built image is below them all the same.
package override

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"time"

	"plimsoll.dev/plimsoll/api/v1alpha1"
	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/pattern"
	"plimsoll.dev/plimsoll/internal/vuln/version"
)

// Set is a home's overrides, checked. The zero Set has none.
type Set struct{ all []scoped }

// scoped is an override with what it is for.
type scoped struct {
	v1alpha1.DependencyOverride
	scope pattern.Scope
}

// Holding is what holds for one image at one time: for each package the highest of its floors,
// sorted by ecosystem and package.
type Holding []v1alpha1.DependencyOverride

// For gives what holds for the images of a repository, as oci.Reference names it
// ("team/shop", "registry.example.com/team/shop"), at that time.
func (s Set) For(repository string, now time.Time) Holding {
	highest := map[string]v1alpha1.DependencyOverride{}
	for _, o := range s.all {
		if !o.scope.Has(repository) || o.Spec.Expires != nil && !now.Before(o.Spec.Expires.Time) {
			continue
		}
		key := keyOf(o.Spec.Ecosystem, o.Spec.Package)
		if other, ok := highest[key]; !ok || prevails(o.Spec, other.Spec) {
			highest[key] = o.DependencyOverride
		}
	}
	var holding Holding
	for _, o := range highest {
		holding = append(holding, o)
	}
	slices.SortFunc(holding, func(a, b v1alpha1.DependencyOverride) int {
		return cmp.Or(cmp.Compare(a.Spec.Ecosystem, b.Spec.Ecosystem), cmp.Compare(a.Spec.Package, b.Spec.Package))
	})
	return holding
}

// All gives the overrides, sorted by name.
func (s Set) All() []v1alpha1.DependencyOverride {
	var all []v1alpha1.DependencyOverride
	for _, o := range s.all {
		all = append(all, o.DependencyOverride)
	}
	return all
}

// prevails says whether a takes the place of b, which is about the same package and was read
// before: the higher floor does, and of two that are equal the one that may cross majors.
func prevails(a, b v1alpha1.DependencyOverrideSpec) bool {
	order := compare(a.Ecosystem, a.Version, b.Version)
	return order > 0 || order == 0 && a.Major && !b.Major
}

// Digest changes exactly when other versions hold: not with names, reasons or scopes. Nothing
// has the digest "".
func (h Holding) Digest() string {
	if len(h) == 0 {
		return ""
	}
	sum := sha256.New()
	for _, o := range h {
		fmt.Fprintf(sum, "%q %q %q %t\n", o.Spec.Ecosystem, o.Spec.Package, o.Spec.Version, o.Spec.Major)
	}
	return "sha256:" + hex.EncodeToString(sum.Sum(nil))
}

// floor is how a buildpack is told of an override.
type floor struct {
	Name      string `json:"name"`
	Ecosystem string `json:"ecosystem"`
	Package   string `json:"package"`
	Version   string `json:"version"`
	Major     bool   `json:"major,omitempty"`
}

// Document gives the file from which buildpacks read what holds (docs/overrides.md, "For
// buildpacks").
func (h Holding) Document() ([]byte, error) {
	floors := []floor{}
	for _, o := range h {
		floors = append(floors, floor{o.Name, o.Spec.Ecosystem, o.Spec.Package, o.Spec.Version, o.Spec.Major})
	}
	return json.Marshal(floors)
}

// keyOf gives one key for all spellings of a package.
func keyOf(ecosystem, name string) string {
	return ecosystem + " " + artifact.AdvisorySpelling(ecosystem, name)
}

// compare gives -1 when a is older than b, 1 when it is newer, and 0 when they are equal or one
// cannot be read, as Go's "(devel)".
func compare(ecosystem, a, b string) int {
	if !numbered.MatchString(a) || !numbered.MatchString(b) {
		return 0
	}
	scheme := version.Of(ecosystem)
	left, err1 := scheme.Parse(a)
	right, err2 := scheme.Parse(b)
	if err1 != nil || err2 != nil {
		return 0
	}
	order, err := left.Compare(right)
	if err != nil {
		return 0
	}
	return order
}

var numbered = regexp.MustCompile(`^v?[0-9]`)
