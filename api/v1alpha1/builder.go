package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// BuilderKind is the kind of Builder.
const BuilderKind = "Builder"

// Builder declares what turns source into images: a base to build on, bases to run on, and
// buildpacks in the order in which they are tried.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:scope=Cluster,categories=plimsoll
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Status",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="Digest",type=string,JSONPath=`.status.published.digest`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Tag",type=string,priority=1,JSONPath=`.status.published.image`
// +kubebuilder:printcolumn:name="Builds On",type=string,priority=1,JSONPath=`.spec.build.image`
// +kubebuilder:printcolumn:name="Message",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Ready")].message`
type Builder struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec BuilderSpec `json:"spec"`
	// +optional
	Status BuilderStatus `json:"status,omitempty,omitzero"`
}

// BuilderList is a list of Builders.
//
// +kubebuilder:object:root=true
type BuilderList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []Builder `json:"items"`
}

// BuilderSpec says what the builder image is made of. Relative paths are relative to the
// file of the spec; in a cluster, where no file is, they are below the folder of parts that the
// controllers ship with: "lifecycle", "buildpacks/go".
type BuilderSpec struct {
	// Tag is where a control plane publishes the builder. Default: the resource's name with the
	// tag "1". `plimsoll builder build` is told by -t.
	// +optional
	Tag Tag `json:"tag,omitempty"`

	// Description says for whom it is and what it builds.
	// +optional
	// +kubebuilder:validation:MaxLength=2048
	Description string `json:"description,omitempty"`

	// Build is the image that build steps run in. It says by CNB_USER_ID and CNB_GROUP_ID
	// in its environment as whom.
	Build BuildBase `json:"build"`

	// Run are the images that applications run on. The first is the default; the others
	// name the buildpacks that need them.
	// +listType=map
	// +listMapKey=image
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:XValidation:rule="!has(self[0].buildpacks) || size(self[0].buildpacks) == 0",message="the first is the default, for all buildpacks that no other names: take out its buildpacks"
	// +kubebuilder:validation:XValidation:rule="self.filter(r, !has(r.buildpacks) || size(r.buildpacks) == 0).size() <= 1",message="name the buildpacks that each but the first is for"
	Run []RunBase `json:"run"`

	// Lifecycle is that of Cloud Native Buildpacks, which runs the buildpacks.
	Lifecycle LifecycleSource `json:"lifecycle"`

	// Buildpacks that the order may name.
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=256
	Buildpacks []BuildpackSource `json:"buildpacks"`

	// Order are the groups of buildpacks, tried one after the other: the first whose
	// members all fit the source builds it.
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	Order []OrderGroup `json:"order"`

	// Architectures, by OCI's names ("amd64", "arm64"). Default: the machine's own.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=2
	Architectures []Architecture `json:"architectures,omitempty"`

	// Environment holds defaults of the build's variables, which a user may override.
	// +optional
	// +kubebuilder:validation:MaxProperties=256
	// +kubebuilder:validation:XValidation:rule="self.all(name, name.matches('^[A-Za-z_][A-Za-z0-9_]*$'))",message="want names of letters, digits and underscores"
	Environment map[string]string `json:"environment,omitempty"`
}

// BuildBase is the image that build steps run in.
type BuildBase struct {
	// Image is its REF.
	Image Ref `json:"image"`

	// Trust is the reason to take a base that plimsoll did not compose.
	// +optional
	Trust Reason `json:"trust,omitempty"`
}

// RunBase is an image that applications run on.
type RunBase struct {
	// Image is its REF.
	Image Ref `json:"image"`

	// Mirrors are REFs of the same image elsewhere.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=16
	Mirrors []Ref `json:"mirrors,omitempty"`

	// Buildpacks names, by id, those whose applications run on this image.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=64
	Buildpacks []BuildpackID `json:"buildpacks,omitempty"`

	// Trust is the reason to take a base that plimsoll did not compose.
	// +optional
	Trust Reason `json:"trust,omitempty"`
}

// LifecycleSource says where the lifecycle is: one of its fields.
//
// +kubebuilder:validation:XValidation:rule="has(self.path) != has(self.image)",message="want either a path or an image"
type LifecycleSource struct {
	// Path is a folder with lifecycle.toml and linux/ARCHITECTURE/{lifecycle,launcher}, or
	// an archive as its makers publish it, which is for one architecture.
	// +optional
	Path BelowPath `json:"path,omitempty"`

	// Image is the REF of an image that has the lifecycle in /cnb/lifecycle.
	// +optional
	Image Ref `json:"image,omitempty"`
}

// BuildpackSource says where a buildpack is: one of its fields.
//
// +kubebuilder:validation:XValidation:rule="has(self.path) != has(self.image)",message="want either a path or an image"
type BuildpackSource struct {
	// Path is a folder with buildpack.toml, an archive of one (.tgz, .tar), or a packaged
	// buildpack (.cnb). What is for one architecture lies in linux/ARCHITECTURE.
	// +optional
	Path BelowPath `json:"path,omitempty"`

	// Image is the REF of a packaged buildpack.
	// +optional
	Image Ref `json:"image,omitempty"`
}

// OrderGroup is a group of buildpacks that build together.
type OrderGroup struct {
	// Group are its members, in the order in which they build.
	// +listType=map
	// +listMapKey=id
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	Group []OrderEntry `json:"group"`
}

// OrderEntry is a member of a group.
type OrderEntry struct {
	// ID of the buildpack.
	ID BuildpackID `json:"id"`

	// Version of the buildpack. Default: the only one given.
	// +optional
	// +kubebuilder:validation:MaxLength=128
	// +kubebuilder:validation:XValidation:rule="self.matches('^[A-Za-z0-9][A-Za-z0-9.+_-]*$')",message="want a version, such as 1.2.3"
	Version string `json:"version,omitempty"`

	// Optional lets the group build without it where it does not fit the source.
	// +optional
	Optional bool `json:"optional,omitempty"`
}

// BuilderStatus says what the tag names now.
type BuilderStatus struct {
	Status `json:",inline"`

	// Published is the builder that the tag names.
	// +optional
	Published *Published `json:"published,omitempty"`

	// Run are the run images as they stand now.
	// +optional
	// +listType=atomic
	Run []RunStatus `json:"run,omitempty"`

	// Buildpacks in it, as "id@version".
	// +optional
	// +listType=atomic
	Buildpacks []string `json:"buildpacks,omitempty"`
}

// RunStatus is a run image.
type RunStatus struct {
	Published `json:",inline"`

	// Buildpacks whose applications run on it; none for the default.
	// +optional
	// +listType=atomic
	Buildpacks []string `json:"buildpacks,omitempty"`
}
