package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// DependencyOverrideKind is the kind of DependencyOverride.
const DependencyOverrideKind = "DependencyOverride"

// DependencyOverride is the lowest version of a dependency that any build may use, whatever the
// application's own lock file says. The application's repository is not touched; what was
// overridden stands in the image's provenance.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:scope=Cluster,shortName=override,categories=plimsoll
// +kubebuilder:printcolumn:name="Ecosystem",type=string,JSONPath=`.spec.ecosystem`
// +kubebuilder:printcolumn:name="Package",type=string,JSONPath=`.spec.package`
// +kubebuilder:printcolumn:name="Floor",type=string,JSONPath=`.spec.version`
// +kubebuilder:printcolumn:name="Images",type=integer,JSONPath=`.status.images`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type DependencyOverride struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec DependencyOverrideSpec `json:"spec"`
	// +optional
	Status DependencyOverrideStatus `json:"status,omitempty"`
}

// DependencyOverrideList is a list of DependencyOverrides.
//
// +kubebuilder:object:root=true
type DependencyOverrideList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []DependencyOverride `json:"items"`
}

// DependencyOverrideSpec says which dependency, from which version on, for whom and why.
type DependencyOverrideSpec struct {
	// Ecosystem by OSV's name: npm, Go or PyPI.
	// +kubebuilder:validation:Enum=npm;Go;PyPI
	Ecosystem string `json:"ecosystem"`

	// Package by the ecosystem's name: "lodash", "@scope/name", "golang.org/x/net", "requests".
	// +kubebuilder:validation:MinLength=1
	Package string `json:"package"`

	// Version is the floor: a build that would use a lower one uses this one. A version of
	// another major than the application's is refused unless Major is true.
	// +kubebuilder:validation:MinLength=1
	Version string `json:"version"`

	// Major lets the override cross a major version.
	// +optional
	Major bool `json:"major,omitempty"`

	// Reason says why, for whoever finds another version than the lock file's.
	// +kubebuilder:validation:MinLength=1
	Reason string `json:"reason"`

	// Advisories that it answers: "CVE-2026-0001", "GHSA-…".
	// +optional
	// +listType=set
	Advisories []string `json:"advisories,omitempty"`

	// Scope says for which images. Default: all.
	// +optional
	Scope OverrideScope `json:"scope,omitempty"`

	// Expires ends it.
	// +optional
	Expires *metav1.Time `json:"expires,omitempty"`
}

// OverrideScope says which images; what is left empty leaves none out.
type OverrideScope struct {
	// Repositories are patterns as in an ImagePolicy's scope.
	// +optional
	Repositories []string `json:"repositories,omitempty"`

	// Except are patterns of repositories that are left out all the same.
	// +optional
	Except []string `json:"except,omitempty"`
}

// DependencyOverrideStatus says whom it bears on.
type DependencyOverrideStatus struct {
	Status `json:",inline"`

	// Images that have a lower version of the dependency still.
	// +optional
	Images int64 `json:"images"`
}
