package v1alpha1

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// ImageKind is the kind of Image.
const ImageKind = "Image"

// Image keeps a source built: whenever its commit, builder, base, overrides or settings change,
// a Build or a rebase follows, and the tag names what came of it.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=img,categories=plimsoll
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Latest",type=string,JSONPath=`.status.latestImage.digest`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.latestReason`
// +kubebuilder:printcolumn:name="Verdict",type=string,JSONPath=`.status.verdict.action`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Tag",type=string,priority=1,JSONPath=`.spec.tag`
type Image struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec ImageSpec `json:"spec"`
	// +optional
	Status ImageStatus `json:"status,omitempty"`
}

// ImageList is a list of Images.
//
// +kubebuilder:object:root=true
type ImageList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []Image `json:"items"`
}

// ImageSpec says what is built, with what, and where it is published.
type ImageSpec struct {
	// Tag is where the image is published: "registry.example.com/team/shop:1". Without a
	// registry it is in the store that Plimsoll serves. It cannot be changed: another tag is
	// another Image.
	Tag string `json:"tag"`

	// AdditionalTags are moved along with Tag; they are in its repository or in others.
	// +optional
	AdditionalTags []string `json:"additionalTags,omitempty"`

	// TaggingStrategy adds a tag that stays to each image: BuildNumber adds
	// "TAG-b12.20261123.115216" (number, date and time in UTC), None adds none.
	// +optional
	// +kubebuilder:validation:Enum=None;BuildNumber
	// +kubebuilder:default=None
	TaggingStrategy TaggingStrategy `json:"taggingStrategy,omitempty"`

	// Builder turns the source into the image.
	Builder ClusterReference `json:"builder"`

	Source ImageSource `json:"source"`

	// ServiceAccountName is whose secrets the build may use: registry credentials from its
	// imagePullSecrets, git and archive credentials and those of bindings and variables from its
	// secrets. A secret that it does not list is not read.
	// +optional
	// +kubebuilder:default=default
	ServiceAccountName string `json:"serviceAccountName,omitempty"`

	// +optional
	Build ImageBuild `json:"build,omitempty"`

	// +optional
	Cache ImageCache `json:"cache,omitempty"`

	// Architectures, by OCI's names ("amd64", "arm64"); several give an index. Default: that of
	// the machine that builds.
	// +optional
	// +listType=set
	Architectures []string `json:"architectures,omitempty"`

	// +optional
	Triggers ImageTriggers `json:"triggers,omitempty"`

	// +optional
	History ImageHistory `json:"history,omitempty"`

	// Suspend builds and rebases nothing while it is true.
	// +optional
	Suspend bool `json:"suspend,omitempty"`
}

// TaggingStrategy says which tags an image gets beside its own.
type TaggingStrategy string

// The tagging strategies.
const (
	TaggingNone        TaggingStrategy = "None"
	TaggingBuildNumber TaggingStrategy = "BuildNumber"
)

// ImageSource says where the source is: one of Git, Archive and Artifact.
type ImageSource struct {
	// +optional
	Git *GitSource `json:"git,omitempty"`
	// +optional
	Archive *ArchiveSource `json:"archive,omitempty"`
	// +optional
	Artifact *ArtifactSource `json:"artifact,omitempty"`

	// Subpath is the folder of the source that is built.
	// +optional
	Subpath string `json:"subpath,omitempty"`
}

// GitSource is a git repository.
type GitSource struct {
	// URL as `git clone` takes it: https, ssh, git or file. Credentials come from a secret of
	// the service account, never from here.
	URL string `json:"url"`

	// Revision is a branch, a tag or a commit. Default: the repository's default branch.
	// +optional
	Revision string `json:"revision,omitempty"`
}

// ArchiveSource is an archive of source files: .tar, .tar.gz, .zip and others.
type ArchiveSource struct {
	URL string `json:"url"`

	// Checksum that the archive must have: "sha256:…". Without one it is asked for changes.
	// +optional
	Checksum string `json:"checksum,omitempty"`
}

// ArtifactSource is an OCI artifact or image whose layers hold the source.
type ArtifactSource struct {
	Image string `json:"image"` // REF
}

// ImageBuild is what the user says of builds beside source and builder.
type ImageBuild struct {
	// Env is the environment of detect and build. What is taken from a secret never stands in
	// a Build, a log or an image.
	// +optional
	Env []corev1.EnvVar `json:"env,omitempty"`

	// Bindings are secrets that are given to the build as service bindings (servicebinding.io).
	// +optional
	Bindings []LocalReference `json:"bindings,omitempty"`

	// Buildpacks of the builder, "id" or "id@version", in the place of its order.
	// +optional
	Buildpacks []string `json:"buildpacks,omitempty"`

	// RunImage instead of the builder's choice: one that it names.
	// +optional
	RunImage string `json:"runImage,omitempty"`

	// Process is the type of the process that starts by default.
	// +optional
	Process string `json:"process,omitempty"`

	// Network of the build step: Host reaches what the executor reaches, None nothing.
	// +optional
	// +kubebuilder:validation:Enum=Host;None
	// +kubebuilder:default=Host
	Network BuildNetwork `json:"network,omitempty"`

	// Resources of each step; its limits are enforced wherever steps run.
	// +optional
	Resources corev1.ResourceRequirements `json:"resources,omitempty"`

	// Timeout of the whole build. Default: 1h.
	// +optional
	Timeout *metav1.Duration `json:"timeout,omitempty"`

	// Scheduling says on which nodes steps run that are pods.
	// +optional
	Scheduling BuildScheduling `json:"scheduling,omitempty"`
}

// BuildNetwork is Host or None.
type BuildNetwork string

// The networks of a build step.
const (
	NetworkHost BuildNetwork = "Host"
	NetworkNone BuildNetwork = "None"
)

// BuildScheduling is handed to the pods of steps as it is (Kubernetes, PodSpec).
type BuildScheduling struct {
	// +optional
	NodeSelector map[string]string `json:"nodeSelector,omitempty"`
	// +optional
	Tolerations []corev1.Toleration `json:"tolerations,omitempty"`
	// +optional
	Affinity *corev1.Affinity `json:"affinity,omitempty"`
	// +optional
	PriorityClassName string `json:"priorityClassName,omitempty"`
	// +optional
	RuntimeClassName *string `json:"runtimeClassName,omitempty"`
	// +optional
	SchedulerName string `json:"schedulerName,omitempty"`
}

// ImageCache says where is kept what buildpacks want to find again.
type ImageCache struct {
	// Image keeps it in the registry under this tag. Default: on the machine of the controllers.
	// +optional
	Image string `json:"image,omitempty"`

	// Disabled starts every build with nothing.
	// +optional
	Disabled bool `json:"disabled,omitempty"`
}

// ImageTriggers say how a change of the source is noticed.
type ImageTriggers struct {
	// Interval at which the source is asked for changes; webhooks are faster. A source that
	// does not answer is asked ever less often, at most every hour. Default: 5m.
	// +optional
	Interval *metav1.Duration `json:"interval,omitempty"`

	// Paths in git's ignore syntax: a commit that touches none of them builds nothing. Default:
	// what is in source.subpath.
	// +optional
	Paths []string `json:"paths,omitempty"`

	// WebhookSecret is the secret whose key "token" signs webhooks of GitHub, GitLab or Gitea.
	// Without one no webhook is heard for this Image.
	// +optional
	WebhookSecret *LocalReference `json:"webhookSecret,omitempty"`
}

// ImageHistory bounds the Builds that are kept.
type ImageHistory struct {
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:default=10
	Succeeded int32 `json:"succeeded,omitempty"`
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:default=10
	Failed int32 `json:"failed,omitempty"`
}

// ImageStatus says what the tag names now and why.
type ImageStatus struct {
	Status `json:",inline"`

	// LatestImage is what the last build or rebase that succeeded has published.
	// +optional
	LatestImage *Published `json:"latestImage,omitempty"`

	// LatestBuild names the last Build.
	// +optional
	LatestBuild string `json:"latestBuild,omitempty"`

	// LatestReason is the gravest reason of the last Build.
	// +optional
	LatestReason ReasonType `json:"latestReason,omitempty"`

	// Builds counts all Builds there ever were.
	// +optional
	Builds int64 `json:"builds,omitempty"`

	// Inputs are those of LatestImage: a difference to what is now is a reason to build.
	// +optional
	Inputs BuildInputs `json:"inputs,omitempty"`

	// Source is the newest of the source that is known, and when it was last asked.
	// +optional
	Source SourceStatus `json:"source,omitempty"`

	// Verdict on LatestImage at the registry's gate.
	// +optional
	Verdict *VerdictStatus `json:"verdict,omitempty"`

	// Trigger is the value of the annotation plimsoll.dev/build that was last obeyed.
	// +optional
	Trigger string `json:"trigger,omitempty"`
}

// SourceStatus is what is known of a source.
type SourceStatus struct {
	// Revision is exact: a commit's id, or the digest of an archive or artifact.
	// +optional
	Revision string `json:"revision,omitempty"`
}

// VerdictStatus is a verdict in short.
type VerdictStatus struct {
	// Action is allow, audit, warn or deny.
	Action string `json:"action"`

	// Reason says, for a verdict that is not "allow", the first rules that do not hold.
	// +optional
	Reason string `json:"reason,omitempty"`
}
