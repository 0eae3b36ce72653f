package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// BuilderKind is the kind of Builder.
const BuilderKind = "Builder"

// Builder declares what turns source into images: a base to build on, bases to run on, and
// buildpacks in the order in which they are tried.
type Builder struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec BuilderSpec `json:"spec"`
}

// BuilderSpec says what the builder image is made of. Relative paths are relative to the
// file of the spec.
type BuilderSpec struct {
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
