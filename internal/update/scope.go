package update

import (
	"plimsoll.dev/plimsoll/api/v1alpha1"
	"plimsoll.dev/plimsoll/internal/fault"
)

// Scope gives what says whether a patch may bear on images of a repository. Where the scope asks for
// labels, which only the inventory knows, it is false of all.
func Scope(scope v1alpha1.PatchScope) (func(repository string) bool, error) {
	s, err := newSelector(scope.Repositories, scope.Except, scope.Labels)
	if err != nil {
		return nil, fault.New(fault.Usage, "read a patch", "scope", err)
	}
	return func(repository string) bool { return scope.Labels == nil && s.means(repository, nil) }, nil
}
