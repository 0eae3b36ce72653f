package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// PatchKind is the kind of Patch.
const PatchKind = "Patch"

// Patch is a campaign: what is to be fixed, in which order and with which tests, how far it is,
// and the proof that it is done.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:scope=Cluster,shortName=campaign,categories=plimsoll
// +kubebuilder:printcolumn:name="Phase",type=string,JSONPath=`.status.phase`
// +kubebuilder:printcolumn:name="Images",type=integer,JSONPath=`.status.images.total`
// +kubebuilder:printcolumn:name="Done",type=integer,JSONPath=`.status.images.done`
// +kubebuilder:printcolumn:name="Failed",type=integer,JSONPath=`.status.images.failed`
// +kubebuilder:printcolumn:name="No Fix",type=integer,JSONPath=`.status.images.unfixable`
// +kubebuilder:printcolumn:name="Wave",type=string,JSONPath=`.status.wave`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Estimated",type=string,priority=1,JSONPath=`.status.estimatedAt`
// +kubebuilder:printcolumn:name="Report",type=string,priority=1,JSONPath=`.status.report`
// +kubebuilder:validation:XValidation:rule="self.metadata.name.size() <= 63",message="want a name of at most 63 letters: it stands in the labels of Builds"
type Patch struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec PatchSpec `json:"spec"`
	// +optional
	Status PatchStatus `json:"status,omitempty"`
}

// PatchList is a list of Patches.
//
// +kubebuilder:object:root=true
type PatchList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []Patch `json:"items"`
}

// PatchSpec says what is to be fixed and how.
//
// +kubebuilder:validation:XValidation:rule="self.target == oldSelf.target",message="what a campaign fixes never changes: make another Patch"
type PatchSpec struct {
	// Target says what is to be fixed.
	Target PatchTarget `json:"target"`

	// Scope says in which images. Default: all that are known.
	// +optional
	Scope PatchScope `json:"scope,omitempty"`

	// Waves are taken one after the other; an image is in the first that takes it, and what none
	// takes is in a last one. Default: one wave with all.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=32
	Waves []PatchWave `json:"waves,omitempty"`

	// Windows are when waves may start. Default: always.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=32
	Windows []PatchWindow `json:"windows,omitempty"`

	// Tests that every image must pass before its tag is moved.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=32
	Tests []ImageTest `json:"tests,omitempty"`

	// OnFailure says what follows when more images of a wave fail than MaxFailures: Halt stops,
	// Rollback also moves the tags of the wave back, Continue goes on.
	// +optional
	// +kubebuilder:validation:Enum=Halt;Rollback;Continue
	// +kubebuilder:default=Halt
	OnFailure FailureAction `json:"onFailure,omitempty"`

	// MaxFailures of one wave: a number or a percentage of its images. Default: 0.
	// +optional
	// +kubebuilder:validation:XIntOrString
	// +kubebuilder:validation:MaxLength=8
	// +kubebuilder:validation:XValidation:rule="type(self) == string ? string(self).matches('^(100|[0-9]{1,2})%$') : int(self) >= 0",message="want a number, or a percentage such as 5%"
	MaxFailures *intstr.IntOrString `json:"maxFailures,omitempty"`

	// Parallel bounds the images that are worked on at a time. Default: as many as the machine
	// bears.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000
	Parallel int32 `json:"parallel,omitempty"`

	// Paused starts nothing more while it is true; what is under way ends.
	// +optional
	Paused bool `json:"paused,omitempty"`

	// Automatic makes it stand: it runs again whenever something becomes stale that its target
	// means. Without it a campaign runs once.
	// +optional
	Automatic bool `json:"automatic,omitempty"`
}

// PatchTarget says what is to be fixed: at least one of its fields.
//
// +kubebuilder:validation:XValidation:rule="has(self.advisories) && size(self.advisories) > 0 || has(self.severities) && size(self.severities) > 0 || has(self.bases) && size(self.bases) > 0 || has(self.exploited) && self.exploited || has(self.all) && self.all",message="say what is to be fixed: advisories, severities, exploited, bases or all"
type PatchTarget struct {
	// Advisories by name or alias: "CVE-2026-0001".
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=1000
	Advisories []Word `json:"advisories,omitempty"`

	// Severities of findings that have a fix: critical, high, medium, low.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=4
	// +kubebuilder:validation:items:Enum=critical;high;medium;low
	Severities []string `json:"severities,omitempty"`

	// Exploited means all that is known to be exploited.
	// +optional
	Exploited bool `json:"exploited,omitempty"`

	// Bases are the tags of bases of which newer ones stand.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=256
	Bases []Ref `json:"bases,omitempty"`

	// All means whatever is stale.
	// +optional
	All bool `json:"all,omitempty"`
}

// PatchScope says which images; what is left empty leaves none out.
type PatchScope struct {
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

	// Labels of the images: those of their configuration, and upon them those of the Image that
	// publishes one, with its namespace as plimsoll.dev/namespace.
	// +optional
	Labels *metav1.LabelSelector `json:"labels,omitempty"`
}

// PatchWave is a share of the images.
type PatchWave struct {
	// Name of the wave.
	Name Label `json:"name"`

	// Repositories are patterns as in an ImagePolicy's scope.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=100
	Repositories []RepositoryPattern `json:"repositories,omitempty"`

	// Labels select by the labels of the images, as in the scope.
	// +optional
	Labels *metav1.LabelSelector `json:"labels,omitempty"`

	// Share of what those leave: a number of images or a percentage of all of the campaign.
	// Default: all.
	// +optional
	// +kubebuilder:validation:XIntOrString
	// +kubebuilder:validation:MaxLength=8
	// +kubebuilder:validation:XValidation:rule="type(self) == string ? string(self).matches('^(100|[1-9][0-9]?)%$') : int(self) >= 1",message="want a number of images, or a percentage such as 10%"
	Share *intstr.IntOrString `json:"share,omitempty"`

	// Soak is how long the next wave waits after the end of this one.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:XValidation:rule="self.matches('^([0-9]+([.][0-9]+)?(ms|s|m|h))+$') && duration(self) >= duration('0s')",message="want a time, such as 30m or 24h"
	Soak *metav1.Duration `json:"soak,omitempty"`
}

// PatchWindow is a time that comes again.
type PatchWindow struct {
	// Start in cron's five fields: "0 22 * * 1-5".
	// +kubebuilder:validation:MaxLength=256
	// +kubebuilder:validation:XValidation:rule="self.matches('^[^ =@]+( +[^ =@]+){4}$')",message="want minute, hour, day, month and weekday, such as 0 22 * * 1-5"
	Start string `json:"start"`

	// Duration of the window.
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:XValidation:rule="self.matches('^([0-9]+([.][0-9]+)?(ms|s|m|h))+$') && duration(self) >= duration('1m')",message="want a time of at least 1m, such as 6h"
	Duration metav1.Duration `json:"duration"`

	// TimeZone by its name in the IANA database.
	// +optional
	// +kubebuilder:default=UTC
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:XValidation:rule="self.matches('^[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+)*$')",message="want a zone of the IANA database, such as Europe/Berlin"
	TimeZone string `json:"timeZone,omitempty"`
}

// ImageTest runs an image in the sandbox: one of Command and HTTP.
//
// +kubebuilder:validation:XValidation:rule="has(self.command) != has(self.http)",message="want either a command or http"
type ImageTest struct {
	// Name of the test.
	Name Label `json:"name"`

	// Command that must end with 0, in the image's root filesystem.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MaxLength=4096
	Command []string `json:"command,omitempty"`

	// HTTP request that the image's own program must answer.
	// +optional
	HTTP *HTTPCheck `json:"http,omitempty"`

	// Images are patterns of the repositories it is for. Default: all.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=100
	Images []RepositoryPattern `json:"images,omitempty"`

	// Timeout of the test.
	// +optional
	// +kubebuilder:default="1m"
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:XValidation:rule="self.matches('^([0-9]+([.][0-9]+)?(ms|s|m|h))+$') && duration(self) >= duration('1s')",message="want a time of at least 1s, such as 30s or 5m"
	Timeout *metav1.Duration `json:"timeout,omitempty"`
}

// HTTPCheck is a GET.
type HTTPCheck struct {
	// Path with its query.
	// +optional
	// +kubebuilder:default=/
	// +kubebuilder:validation:MaxLength=2048
	// +kubebuilder:validation:XValidation:rule="self.matches('^/[^ \\t\\n]*$')",message="want a path, such as /healthz"
	Path string `json:"path,omitempty"`

	// Port that the program listens on; it is told by PORT in its environment.
	// +optional
	// +kubebuilder:default=8080
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=65535
	Port int32 `json:"port,omitempty"`

	// Status that is wanted. Default: any from 200 to 399.
	// +optional
	// +kubebuilder:validation:Minimum=100
	// +kubebuilder:validation:Maximum=599
	Status int32 `json:"status,omitempty"`

	// Contains is text that the body must have.
	// +optional
	// +kubebuilder:validation:MaxLength=4096
	Contains string `json:"contains,omitempty"`
}

// FailureAction is Halt, Rollback or Continue.
type FailureAction string

// What follows when too many images of a wave fail.
const (
	FailureHalt     FailureAction = "Halt"
	FailureRollback FailureAction = "Rollback"
	FailureContinue FailureAction = "Continue"
)

// PatchPhase says how far a Patch is.
type PatchPhase string

// The phases of a Patch.
const (
	PatchPlanned    PatchPhase = "Planned"    // the plan stands, nothing has moved
	PatchWaiting    PatchPhase = "Waiting"    // for a window, or until a wave has soaked
	PatchRunning    PatchPhase = "Running"    // a wave is under way
	PatchPaused     PatchPhase = "Paused"     // by spec.paused or a freeze
	PatchHalted     PatchPhase = "Halted"     // too many images failed
	PatchRolledBack PatchPhase = "RolledBack" // and the wave's tags are back where they were
	PatchDone       PatchPhase = "Done"
)

// PatchStatus says how far it is.
type PatchStatus struct {
	Status `json:",inline"`

	// Phase is Planned, Waiting, Running, Paused, Halted, RolledBack or Done.
	// +optional
	Phase PatchPhase `json:"phase,omitempty"`

	// Images counts them.
	// +optional
	Images PatchCounts `json:"images,omitempty"`

	// Wave that is under way or waited for.
	// +optional
	Wave string `json:"wave,omitempty"`

	// Run counts the campaigns of an automatic Patch.
	// +optional
	Run int64 `json:"run,omitempty"`

	// StartedAt is when its first wave began.
	// +optional
	StartedAt *metav1.Time `json:"startedAt,omitempty"`

	// CompletedAt is when its last wave ended.
	// +optional
	CompletedAt *metav1.Time `json:"completedAt,omitempty"`

	// EstimatedAt is when it will be done at the pace so far.
	// +optional
	EstimatedAt *metav1.Time `json:"estimatedAt,omitempty"`

	// Report is the digest of the signed report: `plimsoll patch report NAME`.
	// +optional
	Report string `json:"report,omitempty"`
}

// PatchCounts count images.
type PatchCounts struct {
	// Total of the campaign.
	// +optional
	Total int64 `json:"total"`

	// Rebase counts those that move onto a newer base.
	// +optional
	Rebase int64 `json:"rebase"`

	// Rebuild counts those that are built again.
	// +optional
	Rebuild int64 `json:"rebuild"`

	// Override counts those that are built again with another version of a dependency.
	// +optional
	Override int64 `json:"override"`

	// Unfixable images have a finding that nothing fixes yet.
	// +optional
	Unfixable int64 `json:"unfixable"`

	// Done are in order now.
	// +optional
	Done int64 `json:"done"`

	// Failed did not build, or did not pass their tests.
	// +optional
	Failed int64 `json:"failed"`
}
