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
// +kubebuilder:printcolumn:name="Status",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="Latest",type=string,JSONPath=`.status.latestImage.digest`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.latestReason`
// +kubebuilder:printcolumn:name="Verdict",type=string,JSONPath=`.status.verdict.action`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Tag",type=string,priority=1,JSONPath=`.spec.tag`
// +kubebuilder:printcolumn:name="Builder",type=string,priority=1,JSONPath=`.spec.builder.name`
// +kubebuilder:printcolumn:name="Source",type=string,priority=1,JSONPath=`.status.source.revision`
// +kubebuilder:printcolumn:name="Suspended",type=boolean,priority=1,JSONPath=`.spec.suspend`
// +kubebuilder:printcolumn:name="Message",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Ready")].message`
// +kubebuilder:selectablefield:JSONPath=`.spec.builder.name`
// +kubebuilder:validation:XValidation:rule="self.metadata.name.size() <= 52",message="want a name of at most 52 letters: those of its Builds are longer, and stand in labels"
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
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="it cannot be changed, for what runs names it: make another Image, and delete this one when nothing runs from it"
	Tag Tag `json:"tag"`

	// AdditionalTags are moved along with Tag; they are in its repository or in others.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=32
	AdditionalTags []Tag `json:"additionalTags,omitempty"`

	// TaggingStrategy adds a tag that stays to each image: BuildNumber adds
	// "TAG-b12.20261123.115216" (number, date and time in UTC), None adds none.
	// +optional
	// +kubebuilder:validation:Enum=None;BuildNumber
	// +kubebuilder:default=None
	TaggingStrategy TaggingStrategy `json:"taggingStrategy,omitempty"`

	// Builder turns the source into the image.
	Builder ClusterReference `json:"builder"`

	// Source says where it is: git, archive or artifact.
	Source ImageSource `json:"source"`

	// ServiceAccountName is whose secrets the build may use: registry credentials from its
	// imagePullSecrets, git and archive credentials and those of bindings and variables from its
	// secrets. A secret that it does not list is not read.
	// +optional
	// +kubebuilder:default=default
	ServiceAccountName ObjectName `json:"serviceAccountName,omitempty"`

	// Build says what builds are given beside source and builder.
	// +optional
	// +kubebuilder:default={}
	Build ImageBuild `json:"build,omitempty"`

	// Cache says where is kept what buildpacks want to find again.
	// +optional
	Cache ImageCache `json:"cache,omitempty"`

	// Architectures, by OCI's names ("amd64", "arm64"); several give an index. Default: that of
	// the machine that builds.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=2
	Architectures []Architecture `json:"architectures,omitempty"`

	// Triggers say how a change of the source is noticed.
	// +optional
	Triggers ImageTriggers `json:"triggers,omitempty"`

	// History bounds the Builds that are kept.
	// +optional
	// +kubebuilder:default={}
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
//
// +kubebuilder:validation:XValidation:rule="[has(self.git),has(self.archive),has(self.artifact)].exists_one(x, x)",message="want one of git, archive and artifact"
type ImageSource struct {
	// Git is a repository, at a branch, a tag or a commit.
	// +optional
	Git *GitSource `json:"git,omitempty"`
	// Archive is a file that is downloaded and unpacked.
	// +optional
	Archive *ArchiveSource `json:"archive,omitempty"`
	// Artifact is an OCI artifact or an image, from a registry.
	// +optional
	Artifact *ArtifactSource `json:"artifact,omitempty"`

	// Subpath is the folder of the source that is built.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	// +kubebuilder:validation:XValidation:rule="self == '' || self.matches('^[^/]') && !self.matches('(^|/)[.][.](/|$)')",message="want a folder of the source, such as services/shop: no slash in front, no .. in it"
	Subpath string `json:"subpath,omitempty"`
}

// GitSource is a git repository.
type GitSource struct {
	// URL as `git clone` takes it: https, ssh or file. Credentials come from a secret of
	// the service account, never from here.
	// +kubebuilder:validation:MaxLength=2048
	// +kubebuilder:validation:XValidation:rule="self.matches('^((https?|ssh)://[^/ \\t\\n-][^ \\t\\n]*|file:///[^ \\t\\n]+|[A-Za-z0-9_.]+@[A-Za-z0-9][A-Za-z0-9.-]*:[^ \\t\\n]+)$')",message="want an address as git clone takes it, such as https://git.example.com/team/shop.git or git@git.example.com:team/shop.git"
	// +kubebuilder:validation:XValidation:rule="!self.matches('^https?://[^/]*@') && !self.matches('^[a-z]+://[^/@]*:[^/@]*@')",message="take the login out of the address: put it into a secret, and list that in the service account"
	// +kubebuilder:validation:XValidation:rule="!self.contains('#')",message="put the branch, tag or commit into revision, and the folder into subpath"
	URL string `json:"url"`

	// Revision is a branch, a tag or a commit. Default: the repository's default branch.
	// +optional
	// +kubebuilder:validation:MaxLength=256
	// +kubebuilder:validation:XValidation:rule="self == '' || self.matches('^[^- ~^:?*[\\t\\n][^ ~^:?*[\\t\\n]*$') && !self.contains('..')",message="want a branch, a tag or a commit, such as main or v1.2.0"
	Revision string `json:"revision,omitempty"`
}

// ArchiveSource is an archive of source files: .tar, .tar.gz, .zip and others.
type ArchiveSource struct {
	// URL of the archive: https or http. Credentials come from a secret of the service account,
	// never from here.
	// +kubebuilder:validation:MaxLength=2048
	// +kubebuilder:validation:XValidation:rule="self.matches('^https?://[^/ \\t\\n][^ \\t\\n]*$')",message="want an https address, such as https://files.example.com/shop-1.2.tar.gz"
	// +kubebuilder:validation:XValidation:rule="!self.matches('^https?://[^/]*@')",message="take the login out of the address: put it into a secret, and list that in the service account"
	URL string `json:"url"`

	// Checksum that the archive must have: "sha256:…". Without one it is asked for changes.
	// +optional
	Checksum Digest `json:"checksum,omitempty"`
}

// ArtifactSource is an OCI artifact or image whose layers hold the source.
type ArtifactSource struct {
	// Image is its REF: a tag is asked for changes, a digest stays.
	Image Ref `json:"image"`
}

// ImageBuild is what the user says of builds beside source and builder.
type ImageBuild struct {
	// Env is the environment of detect and build. What is taken from a secret never stands in
	// a Build, a log or an image.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=256
	Env []corev1.EnvVar `json:"env,omitempty"`

	// Bindings are secrets that are given to the build as service bindings (servicebinding.io).
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=32
	Bindings []LocalReference `json:"bindings,omitempty"`

	// Buildpacks of the builder, "id" or "id@version", in the place of its order.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MaxLength=384
	// +kubebuilder:validation:items:XValidation:rule="self.matches('^[A-Za-z0-9-][A-Za-z0-9./-]*(@[A-Za-z0-9][A-Za-z0-9.+_-]*)?$')",message="want a buildpack of the builder, such as plimsoll/go or plimsoll/go@0.1.0"
	Buildpacks []string `json:"buildpacks,omitempty"`

	// RunImage instead of the builder's choice: one that it names.
	// +optional
	RunImage Ref `json:"runImage,omitempty"`

	// Process is the type of the process that starts by default.
	// +optional
	// +kubebuilder:validation:MaxLength=128
	// +kubebuilder:validation:XValidation:rule="self.matches('^[A-Za-z0-9._-]*$')",message="want a type of process, such as web"
	Process string `json:"process,omitempty"`

	// Network of the build step: Host reaches what the executor reaches, None nothing.
	// +optional
	// +kubebuilder:validation:Enum=Host;None
	// +kubebuilder:default=Host
	Network BuildNetwork `json:"network,omitempty"`

	// Resources of each step; its limits are enforced wherever steps run.
	// +optional
	Resources corev1.ResourceRequirements `json:"resources,omitempty"`

	// Timeout of the whole build.
	// +optional
	// +kubebuilder:default="1h"
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:XValidation:rule="self.matches('^([0-9]+([.][0-9]+)?(ms|s|m|h))+$') && duration(self) >= duration('1m')",message="want a time of at least 1m, such as 1h or 90m"
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
	// NodeSelector are labels that a node must have.
	// +optional
	// +mapType=atomic
	// +kubebuilder:validation:MaxProperties=64
	NodeSelector map[string]string `json:"nodeSelector,omitempty"`
	// Tolerations of taints that a node may have.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=64
	Tolerations []corev1.Toleration `json:"tolerations,omitempty"`
	// Affinity to nodes and other pods.
	// +optional
	Affinity *corev1.Affinity `json:"affinity,omitempty"`
	// PriorityClassName is a PriorityClass of the cluster.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	PriorityClassName string `json:"priorityClassName,omitempty"`
	// RuntimeClassName is a RuntimeClass of the cluster: one whose containers are virtual machines, say.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	RuntimeClassName *string `json:"runtimeClassName,omitempty"`
	// SchedulerName is the scheduler that is to place the pods.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	SchedulerName string `json:"schedulerName,omitempty"`
}

// ImageCache says where is kept what buildpacks want to find again.
//
// +kubebuilder:validation:XValidation:rule="!(has(self.disabled) && self.disabled && has(self.image))",message="want an image for the cache, or none at all: take out image or disabled"
type ImageCache struct {
	// Image keeps it in the registry under this tag. Default: on the machine of the controllers.
	// +optional
	Image Tag `json:"image,omitempty"`

	// Disabled starts every build with nothing.
	// +optional
	Disabled bool `json:"disabled,omitempty"`
}

// ImageTriggers say how a change of the source is noticed.
type ImageTriggers struct {
	// Interval at which the source is asked for changes; webhooks are faster. A source that
	// does not answer is asked ever less often, at most every hour. Default: 5m.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:XValidation:rule="self.matches('^([0-9]+([.][0-9]+)?(ms|s|m|h))+$') && duration(self) >= duration('1s')",message="want a time of at least 1s, such as 5m or 1h"
	Interval *metav1.Duration `json:"interval,omitempty"`

	// Paths in git's ignore syntax: a commit that touches none of them builds nothing. Default:
	// what is in source.subpath.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=256
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=1024
	Paths []string `json:"paths,omitempty"`

	// WebhookSecret is the secret whose key "token" signs webhooks of GitHub, GitLab or Gitea.
	// Without one no webhook is heard for this Image.
	// +optional
	WebhookSecret *LocalReference `json:"webhookSecret,omitempty"`
}

// ImageHistory bounds the Builds that are kept.
type ImageHistory struct {
	// Succeeded Builds to keep, and rebases in the status.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000
	// +kubebuilder:default=10
	Succeeded int32 `json:"succeeded,omitempty"`
	// Failed Builds to keep, those that were canceled included.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000
	// +kubebuilder:default=10
	Failed int32 `json:"failed,omitempty"`
}

// ImageStatus says what the tag names now and why.
type ImageStatus struct {
	Status `json:",inline"`

	// LatestImage is what the last build or rebase that succeeded has published.
	// +optional
	LatestImage *Published `json:"latestImage,omitempty"`

	// LatestBuild names the last Build, or what stands in Rebases as "NAME-r12", after its number.
	// +optional
	LatestBuild string `json:"latestBuild,omitempty"`

	// LatestReason is the gravest reason of the last build or rebase.
	// +optional
	LatestReason ReasonType `json:"latestReason,omitempty"`

	// Builds counts all builds and rebases there ever were.
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

	// Rebases are the last ones that went well, oldest first: as many as spec.history.succeeded, at most
	// 100. A base is fixed under thousands of Images at once, so that there is no Build of each: one that
	// fails has a Build, named as LatestBuild is, and so have those of a campaign, with its label.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=100
	Rebases []ImageRebase `json:"rebases,omitempty"`
}

// MaxRebases is how many an Image's status holds at most.
const MaxRebases = 100

// ImageRebase is a rebase that went well: the image was put on another run image, and nothing of it was
// built again.
type ImageRebase struct {
	// Number counts it among the Image's builds and rebases.
	// +kubebuilder:validation:Minimum=1
	Number int64 `json:"number"`

	// Digest is what the tag named then.
	Digest string `json:"digest"`

	// RunImage is the tag of the run image.
	// +optional
	RunImage string `json:"runImage,omitempty"`
	// RunDigest is what it was put on.
	// +optional
	RunDigest string `json:"runDigest,omitempty"`

	// Reasons are the differences that caused it. Which packages changed is told of the last one only.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=64
	Reasons []BuildReason `json:"reasons,omitempty"`

	// CompletedAt is when the tag named it.
	// +optional
	CompletedAt *metav1.Time `json:"completedAt,omitempty"`

	// Unchanged says that it stood there already.
	// +optional
	Unchanged bool `json:"unchanged,omitempty"`
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
