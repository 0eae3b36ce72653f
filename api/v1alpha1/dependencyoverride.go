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
// +kubebuilder:printcolumn:name="Expires",type=string,priority=1,JSONPath=`.spec.expires`
// +kubebuilder:printcolumn:name="Reason",type=string,priority=1,JSONPath=`.spec.reason`
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
//
// +kubebuilder:validation:XValidation:rule="self.ecosystem != 'npm' || self.__package__.matches('^(@[a-z0-9~-][a-z0-9._~-]*/)?[a-z0-9~-][a-z0-9._~-]*$')",message="want a package of npm, such as lodash or @scope/name"
// +kubebuilder:validation:XValidation:rule="self.ecosystem != 'Go' || self.__package__.matches('^[A-Za-z0-9][A-Za-z0-9._~-]*(/[A-Za-z0-9._~-]+)*$')",message="want the path of a Go module, such as golang.org/x/net"
// +kubebuilder:validation:XValidation:rule="self.ecosystem != 'PyPI' || self.__package__.matches('^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$')",message="want a package of PyPI, such as requests"
// +kubebuilder:validation:XValidation:rule="self.ecosystem != 'Go' || self.version.startsWith('v')",message="a version of a Go module begins with v, such as v0.38.0"
// +kubebuilder:validation:XValidation:rule="self.ecosystem == oldSelf.ecosystem && self.__package__ == oldSelf.__package__",message="it is an override of this package: make another for another"
type DependencyOverrideSpec struct {
	// Ecosystem by OSV's name: npm, Go or PyPI.
	// +kubebuilder:validation:Enum=npm;Go;PyPI
	Ecosystem string `json:"ecosystem"`

	// Package by the ecosystem's name: "lodash", "@scope/name", "golang.org/x/net", "requests".
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	Package string `json:"package"`

	// Version is the floor: a build that would use a lower one uses this one. A version of
	// another major than the application's is refused unless Major is true.
	// +kubebuilder:validation:MaxLength=128
	// +kubebuilder:validation:XValidation:rule="self.matches('^v?[0-9][A-Za-z0-9.!+~_-]*$')",message="want one version, such as 4.17.21, not a range"
	Version string `json:"version"`

	// Major lets the override cross a major version.
	// +optional
	Major bool `json:"major,omitempty"`

	// Reason says why, for whoever finds another version than the lock file's.
	Reason Reason `json:"reason"`

	// Advisories that it answers: "CVE-2026-0001", "GHSA-…".
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=256
	Advisories []Word `json:"advisories,omitempty"`

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
	// +listType=set
	// +kubebuilder:validation:MaxItems=1000
	Repositories []RepositoryPattern `json:"repositories,omitempty"`

	// Except are patterns of repositories that are left out all the same.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=1000
	Except []RepositoryPattern `json:"except,omitempty"`
}

// DependencyOverrideStatus says whom it bears on.
type DependencyOverrideStatus struct {
	Status `json:",inline"`

	// Images that have a lower version of the dependency still.
	// +optional
	Images int64 `json:"images"`
}
