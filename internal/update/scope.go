package update

import (
	"maps"

	"plimsoll.dev/plimsoll/api/v1alpha1"
	"plimsoll.dev/plimsoll/internal/fault"
)

// Scope says on which images a patch may bear. The zero Scope is all.
type Scope struct{ selector selector }

// NewScope reads a scope. Its error is of kind Usage.
func NewScope(scope v1alpha1.PatchScope) (Scope, error) {
	s, err := newSelector(scope.Repositories, scope.Except, scope.Labels)
	if err != nil {
		return Scope{}, fault.New(fault.Usage, "read a patch", "scope", err)
	}
	return Scope{s}, nil
}

// Has says whether images of the repository with those labels are in the scope: own are those of
// their configuration, asked for only where labels decide, and above those that are put upon them.
func (s Scope) Has(repository string, own func() map[string]string, above map[string]string) bool {
	if !s.selector.scope.Has(repository) || s.selector.labels == nil {
		return s.selector.means(repository, nil)
	}
	all := map[string]string{}
	maps.Copy(all, own())
	delete(all, v1alpha1.LabelNamespace) // which is not the image's to say
	maps.Copy(all, above)
	return s.selector.means(repository, all)
}
