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
// +kubebuilder:printcolumn:name="Digest",type=string,JSONPath=`.status.published.digest`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
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
// file of the spec.
type BuilderSpec struct {
	// Tag is where a control plane publishes the builder. Default: the resource's name with the
	// tag "1". `plimsoll builder build` is told by -t.
	// +optional
	Tag string `json:"tag,omitempty"`

	Description string `json:"description,omitempty"`

	// Build is the image that build steps run in. It says by CNB_USER_ID and CNB_GROUP_ID
	// in its environment as whom.
	Build BuildBase `json:"build"`

	// Run are the images that applications run on. The first is the default; the others
	// name the buildpacks that need them.
	Run []RunBase `json:"run"`

	Lifecycle LifecycleSource `json:"lifecycle"`

	Buildpacks []BuildpackSource `json:"buildpacks"`

	// Order are the groups of buildpacks, tried one after the other: the first whose
	// members all fit the source builds it.
	Order []OrderGroup `json:"order"`

	// Architectures, by OCI's names ("amd64", "arm64"). Default: the machine's own.
	Architectures []string `json:"architectures,omitempty"`

	// Environment holds defaults of the build's variables, which a user may override.
	Environment map[string]string `json:"environment,omitempty"`
}

// BuildBase is the image that build steps run in.
type BuildBase struct {
	Image string `json:"image"` // REF

	// Trust is the reason to take a base that plimsoll did not compose.
	Trust string `json:"trust,omitempty"`
}

// RunBase is an image that applications run on.
type RunBase struct {
	Image   string   `json:"image"`             // REF
	Mirrors []string `json:"mirrors,omitempty"` // REFs of the same image elsewhere

	// Buildpacks names, by id, those whose applications run on this image.
	Buildpacks []string `json:"buildpacks,omitempty"`

	// Trust is the reason to take a base that plimsoll did not compose.
	Trust string `json:"trust,omitempty"`
}

// LifecycleSource says where the lifecycle is: one of its fields.
type LifecycleSource struct {
	// Path is a folder with lifecycle.toml and linux/ARCHITECTURE/{lifecycle,launcher}, or
	// an archive as its makers publish it, which is for one architecture.
	Path string `json:"path,omitempty"`

	// Image is the REF of an image that has the lifecycle in /cnb/lifecycle.
	Image string `json:"image,omitempty"`
}

// BuildpackSource says where a buildpack is: one of its fields.
type BuildpackSource struct {
	// Path is a folder with buildpack.toml, an archive of one (.tgz, .tar), or a packaged
	// buildpack (.cnb). What is for one architecture lies in linux/ARCHITECTURE.
	Path string `json:"path,omitempty"`

	// Image is the REF of a packaged buildpack.
	Image string `json:"image,omitempty"`
}

// OrderGroup is a group of buildpacks that build together.
type OrderGroup struct {
	Group []OrderEntry `json:"group"`
}

// OrderEntry is a member of a group.
type OrderEntry struct {
	ID       string `json:"id"`
	Version  string `json:"version,omitempty"` // default: the only one given
	Optional bool   `json:"optional,omitempty"`
}

// BuilderStatus says what the tag names now.
type BuilderStatus struct {
	Status `json:",inline"`

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
