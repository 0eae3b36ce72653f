package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// The conditions of resources (Kubernetes API conventions, "Typical status properties").
const (
	// ConditionReady says that what the resource declares is so.
	ConditionReady = "Ready"

	// ConditionSucceeded says how a Build or a Patch, which end, has ended; Unknown until then.
	ConditionSucceeded = "Succeeded"
)

// Labels and annotations that Plimsoll reads and sets.
const (
	// LabelTeam names who answers for an Image: builds are shared out fairly between teams, and
	// campaigns tell whom they touch. Default: the namespace. Whoever writes an Image, or an image's
	// configuration, chooses it: it is for sharing out and telling, not for what somebody may.
	LabelTeam = "plimsoll.dev/team"

	// LabelNamespace is, to the scopes and waves of campaigns, the namespace of the Image that has
	// published an image. Nobody sets it, and one that is set counts for nothing.
	LabelNamespace = "plimsoll.dev/namespace"

	LabelImage  = "plimsoll.dev/image"  // on a Build: the Image it is of
	LabelPatch  = "plimsoll.dev/patch"  // on a Build: the campaign that wanted it
	LabelReason = "plimsoll.dev/reason" // on a Build: the gravest of its reasons

	// AnnotationBuild asks for one more build whenever its value changes: the time, say.
	AnnotationBuild = "plimsoll.dev/build"

	// AnnotationMoved is on a Build that builds nothing: a campaign has let the tag name that digest,
	// and it tells the Image. AnnotationTakenBack beside it says that the tag named it before.
	AnnotationMoved     = "plimsoll.dev/moved"
	AnnotationTakenBack = "plimsoll.dev/taken-back"

	// AnnotationRepositories on a Namespace says which repositories its Images may publish to, and
	// be made from, in the control plane's own registry, beside those below the namespace's name:
	// "apps/**, legacy/shop". "*" stands for any part of a name, "**" for any number of parts.
	AnnotationRepositories = "plimsoll.dev/repositories"

	// Finalizer is on resources that hold something outside the cluster.
	Finalizer = "plimsoll.dev/finalizer"
)

// Status is what the status of every resource has.
type Status struct {
	// ObservedGeneration is the metadata.generation that the rest of the status speaks of.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// Conditions tell how things stand; Ready, or Succeeded, sums them up.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=16
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// LocalReference names a resource in the same namespace.
type LocalReference struct {
	// Name of the resource.
	Name ObjectName `json:"name"`
}

// ClusterReference names a resource that stands in no namespace.
type ClusterReference struct {
	// Name of the resource.
	Name ObjectName `json:"name"`
}

// Published is an image as it stands in the registry.
type Published struct {
	// Image is the tag with its registry: "registry.example.com/team/shop:1".
	// +optional
	Image string `json:"image,omitempty"`

	// Digest that the tag names: "sha256:…".
	// +optional
	Digest string `json:"digest,omitempty"`
}
