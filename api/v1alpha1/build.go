package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// BuildKind is the kind of Build.
const BuildKind = "Build"

// Build is one build of an Image, with its reasons, steps and result; or a rebase that has failed, or that
// a campaign wanted: others stand in the Image's status. Its spec never changes.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:categories=plimsoll
// +kubebuilder:printcolumn:name="Image",type=string,JSONPath=`.spec.image.name`
// +kubebuilder:printcolumn:name="Method",type=string,JSONPath=`.spec.method`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.metadata.labels.plimsoll\.dev/reason`
// +kubebuilder:printcolumn:name="Phase",type=string,JSONPath=`.status.phase`
// +kubebuilder:printcolumn:name="Digest",type=string,JSONPath=`.status.digest`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Priority",type=string,priority=1,JSONPath=`.spec.priority`
// +kubebuilder:printcolumn:name="Attempts",type=integer,priority=1,JSONPath=`.status.attempts`
// +kubebuilder:printcolumn:name="Completed",type=date,priority=1,JSONPath=`.status.completedAt`
// +kubebuilder:printcolumn:name="Message",type=string,priority=1,JSONPath=`.status.message`
// +kubebuilder:selectablefield:JSONPath=`.spec.image.name`
// +kubebuilder:selectablefield:JSONPath=`.status.phase`
type Build struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec BuildSpec `json:"spec"`
	// Status of a Build that nobody has written to yet is that it waits: of rebases, of which there are
	// thousands at a time, nothing is written before their end.
	// +optional
	// +kubebuilder:default={phase: Queued, message: "it waits for its turn"}
	Status BuildStatus `json:"status,omitempty"`
}

// BuildList is a list of Builds.
//
// +kubebuilder:object:root=true
type BuildList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []Build `json:"items"`
}

// BuildSpec is what an Image wanted at one time.
//
// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="a Build never changes: ask for another with kubectl annotate image NAME plimsoll.dev/build=\"$(date)\" --overwrite"
type BuildSpec struct {
	// Image that it is of. What the Image says of tags, settings and secrets is read from
	// there: the generation that was meant stands in Inputs.
	Image LocalReference `json:"image"`

	// Number counts the builds and rebases of the Image, from 1.
	// +kubebuilder:validation:Minimum=1
	Number int64 `json:"number"`

	// Method is Build, from source, or Rebase, of what the tag names.
	// +kubebuilder:validation:Enum=Build;Rebase
	Method BuildMethod `json:"method"`

	// Priority orders those that wait: Security before Commit before Routine.
	// +kubebuilder:validation:Enum=Security;Commit;Routine
	Priority BuildPriority `json:"priority"`

	// Reasons are the differences that caused it.
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	Reasons []BuildReason `json:"reasons"`

	// Inputs are all that decides what comes out.
	Inputs BuildInputs `json:"inputs"`
}

// BuildMethod is Build or Rebase.
type BuildMethod string

// The methods.
const (
	MethodBuild  BuildMethod = "Build"
	MethodRebase BuildMethod = "Rebase"
)

// BuildPriority is Security, Commit or Routine.
type BuildPriority string

// The priorities, most urgent first.
const (
	PrioritySecurity BuildPriority = "Security"
	PriorityCommit   BuildPriority = "Commit"
	PriorityRoutine  BuildPriority = "Routine"
)

// BuildInputs are all that decides what comes out of a build. What is "" is not known yet.
type BuildInputs struct {
	// Source revision: a commit's id, or a digest.
	// +optional
	// +kubebuilder:validation:MaxLength=512
	Source string `json:"source,omitempty"`

	// Builder is the digest of the builder image.
	// +optional
	// +kubebuilder:validation:MaxLength=512
	Builder string `json:"builder,omitempty"`

	// RunImage is the run image's tag.
	// +optional
	// +kubebuilder:validation:MaxLength=512
	RunImage string `json:"runImage,omitempty"`
	// RunDigest is what that tag named.
	// +optional
	// +kubebuilder:validation:MaxLength=512
	RunDigest string `json:"runDigest,omitempty"`

	// Settings is a digest of all settings in the Image's spec that bear on what is built.
	// +optional
	// +kubebuilder:validation:MaxLength=512
	Settings string `json:"settings,omitempty"`

	// Overrides is a digest of the DependencyOverrides that hold for the Image.
	// +optional
	// +kubebuilder:validation:MaxLength=512
	Overrides string `json:"overrides,omitempty"`
}

// ReasonType says what kind of change caused a Build.
type ReasonType string

// The reasons, gravest first.
const (
	ReasonAdvisory  ReasonType = "ADVISORY"  // an override that an advisory asked for, or a campaign for one
	ReasonBase      ReasonType = "BASE"      // the run image is another now
	ReasonBuildpack ReasonType = "BUILDPACK" // the builder is
	ReasonConfig    ReasonType = "CONFIG"    // the Image's spec is
	ReasonCommit    ReasonType = "COMMIT"    // the source is
	ReasonTrigger   ReasonType = "TRIGGER"   // somebody asked
)

// BuildReason is one difference.
type BuildReason struct {
	// Type says what kind of change it was.
	// +kubebuilder:validation:Enum=ADVISORY;BASE;BUILDPACK;CONFIG;COMMIT;TRIGGER
	Type ReasonType `json:"type"`

	// Was is what it was before: a commit, a digest, a setting.
	// +optional
	// +kubebuilder:validation:MaxLength=262144
	Was string `json:"was,omitempty"`

	// Is is what it is now: of a trigger, the annotation's value, which may be as long as that.
	// +optional
	// +kubebuilder:validation:MaxLength=262144
	Is string `json:"is,omitempty"`

	// Detail says it in words, or as the lines that differ.
	// +optional
	// +kubebuilder:validation:MaxLength=16384
	Detail string `json:"detail,omitempty"`
}

// BuildPhase says how far a Build is.
type BuildPhase string

// The phases of a Build.
const (
	BuildQueued    BuildPhase = "Queued"
	BuildRunning   BuildPhase = "Running"
	BuildSucceeded BuildPhase = "Succeeded"
	BuildFailed    BuildPhase = "Failed"
	BuildCanceled  BuildPhase = "Canceled"
)

// Ended says that nothing more will happen.
func (p BuildPhase) Ended() bool {
	return p == BuildSucceeded || p == BuildFailed || p == BuildCanceled
}

// BuildStatus says how far it is and what came of it.
type BuildStatus struct {
	Status `json:",inline"`

	// Phase is Queued, Running, Succeeded, Failed or Canceled.
	// +optional
	// +kubebuilder:validation:Enum=Queued;Running;Succeeded;Failed;Canceled
	Phase BuildPhase `json:"phase,omitempty"`

	// Attempts counts starts: what fails because a registry or the archive is away starts again.
	// +optional
	Attempts int32 `json:"attempts,omitempty"`

	// RetryAt is when the next attempt is due.
	// +optional
	RetryAt *metav1.Time `json:"retryAt,omitempty"`

	// StartedAt is when the last attempt began.
	// +optional
	StartedAt *metav1.Time `json:"startedAt,omitempty"`

	// CompletedAt is when it ended.
	// +optional
	CompletedAt *metav1.Time `json:"completedAt,omitempty"`

	// Steps that have ended, in their order.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=256
	Steps []BuildStep `json:"steps,omitempty"`

	// Tags that were moved.
	// +optional
	// +listType=atomic
	Tags []string `json:"tags,omitempty"`

	// Digest is what they name now.
	// +optional
	Digest string `json:"digest,omitempty"`

	// RunImage that it runs on.
	// +optional
	RunImage *Published `json:"runImage,omitempty"`

	// Buildpacks that it was built with, as "id@version".
	// +optional
	// +listType=atomic
	Buildpacks []string `json:"buildpacks,omitempty"`

	// Unchanged says that all that was there was already made from just these inputs.
	// +optional
	Unchanged bool `json:"unchanged,omitempty"`

	// Message is an error in a line, with what to do about it; below it stand the last lines that the
	// step printed which failed. Of a Build that waits it says what for.
	// +optional
	Message string `json:"message,omitempty"`
}

// BuildStep is a step that has ended.
type BuildStep struct {
	// Name of the step.
	Name string `json:"name"`

	// Architecture that it was for.
	// +optional
	Architecture string `json:"architecture,omitempty"`

	// Duration of the step.
	Duration metav1.Duration `json:"duration"`

	// Text says what came of it.
	// +optional
	Text string `json:"text,omitempty"`
}
