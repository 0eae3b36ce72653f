package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// ImageImportKind is the kind of ImageImport.
const ImageImportKind = "ImageImport"

// ImageImport declares which images of another registry are taken in, how, and under which name.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:scope=Cluster,categories=plimsoll
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Status",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="Source",type=string,JSONPath=`.spec.source`
// +kubebuilder:printcolumn:name="To",type=string,JSONPath=`.spec.destination.repository`
// +kubebuilder:printcolumn:name="Tags",type=integer,JSONPath=`.status.tags`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Ran",type=date,priority=1,JSONPath=`.status.ranAt`
// +kubebuilder:printcolumn:name="Message",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Ready")].message`
type ImageImport struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec ImageImportSpec `json:"spec"`
	// +optional
	Status ImageImportStatus `json:"status,omitempty,omitzero"`
}

// ImageImportList is a list of ImageImports.
//
// +kubebuilder:object:root=true
type ImageImportList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []ImageImport `json:"items"`
}

// ImageImportSpec says whence, what, whither and when.
type ImageImportSpec struct {
	// Source is the repository outside, with its registry: "registry.example.com/team/app".
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:XValidation:rule="self.matches('^([a-zA-Z0-9-]+[.:]|localhost/)[a-zA-Z0-9.:-]*(/[a-z0-9]+([._-]+[a-z0-9]+)*)+$|^localhost(/[a-z0-9]+([._-]+[a-z0-9]+)*)+$')",message="want a registry's host and a path, such as registry.example.com/team/app: no https:// before, no tag behind"
	Source string `json:"source"`

	// Credentials for the source. Default: those of the user's own registry client.
	// +optional
	Credentials *UpstreamCredentials `json:"credentials,omitempty"`

	// Tags says which of its tags.
	Tags ImportTags `json:"tags"`

	// Platforms are those to take of an index, as "os/architecture[/variant]"; an image without an
	// index is taken as it is. Default: all, and the index stays as it is, byte for byte. With a
	// choice it becomes another index, of which what was signed of the whole no longer speaks.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:items:MaxLength=64
	// +kubebuilder:validation:items:XValidation:rule="self.matches('^[a-z0-9]+/[a-z0-9]+(/[a-z0-9]+)?$')",message="want os/architecture, such as linux/amd64"
	Platforms []string `json:"platforms,omitempty"`

	// Destination says under which name they are published here.
	Destination ImportDestination `json:"destination"`

	// Schedule says when a registry that serves takes them in by itself. Default: on demand only.
	// +optional
	Schedule ImportSchedule `json:"schedule,omitempty"`

	// Verify says what must be signed in the source, before anything is copied. Default: nothing;
	// the site's own policy judges what came.
	// +optional
	Verify *UpstreamVerification `json:"verify,omitempty"`

	// Evidence says whether what is attached to an image comes along: its referrers, and what is
	// below its tags sha256-….sig, .att and .sbom.
	// +optional
	// +kubebuilder:default=true
	Evidence *bool `json:"evidence,omitempty"`

	// Limits bound what one import may bring.
	// +optional
	// +kubebuilder:default={}
	Limits ImportLimits `json:"limits,omitempty"`

	// Deletion says what becomes of our tag when the source has it no more: "Keep" or "Untag".
	// A tag that something else has moved meanwhile stays.
	// +optional
	// +kubebuilder:validation:Enum=Keep;Untag
	// +kubebuilder:default=Keep
	Deletion string `json:"deletion,omitempty"`
}

// The values of ImageImportSpec.Deletion.
const (
	DeletionKeep  = "Keep"
	DeletionUntag = "Untag"
)

// ImportTags chooses tags. A tag is taken that is named, or matches a pattern or the range, and
// is not left out; of these the newest, where a number of them is given. At least one of Names,
// Patterns and Semver must be given.
//
// +kubebuilder:validation:XValidation:rule="has(self.names) && size(self.names) > 0 || has(self.patterns) && size(self.patterns) > 0 || has(self.semver)",message="say which tags: names, patterns or semver"
type ImportTags struct {
	// Names are taken exactly; one that the source lacks is an error.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=1000
	// +kubebuilder:validation:items:MaxLength=128
	// +kubebuilder:validation:items:XValidation:rule="self.matches('^[a-zA-Z0-9_][a-zA-Z0-9._-]*$')",message="want a tag, such as 1.27 or latest"
	Names []string `json:"names,omitempty"`

	// Patterns are of whole tags: "*" stands for any characters, "?" for one, "[a-z]" for one of
	// a class.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=100
	// +kubebuilder:validation:items:MaxLength=128
	// +kubebuilder:validation:items:XValidation:rule="self.matches('^[^/ ]+$')",message="want a pattern of tags, such as 1.27* or v[0-9]*"
	Patterns []string `json:"patterns,omitempty"`

	// Semver is a range of versions: ">=1.26 <2", "~1.27". A leading "v" does not matter. Versions
	// with a pre-release part, as in "1.2.3-alpine", are only in ranges whose bounds have one:
	// ">=1.2-0 <1.3-0".
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	Semver string `json:"semver,omitempty"`

	// Except are patterns of tags to leave out.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=100
	// +kubebuilder:validation:items:MaxLength=128
	// +kubebuilder:validation:items:XValidation:rule="self.matches('^[^/ ]+$')",message="want a pattern of tags, such as *-alpine"
	Except []string `json:"except,omitempty"`

	// Newest keeps that many tags of Patterns and Semver: the highest versions, then those that
	// are none in reverse order of their names. Default: all.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Newest int `json:"newest,omitempty"`
}

// ImportDestination says under which name images are published here.
type ImportDestination struct {
	// Repository in this registry, without a host: "approved/app".
	// +kubebuilder:validation:MaxLength=255
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z0-9]+([_-]+[a-z0-9]+)*(/[a-z0-9]+([._-]+[a-z0-9]+)*)*$')",message="want a repository of this registry, such as approved/app: no host, and no dot in its first part"
	Repository string `json:"repository"`

	// Tag makes our tag of theirs: "{tag}" stands for theirs, "{digest}" for the first 12 digits
	// of the digest it names.
	// +optional
	// +kubebuilder:default="{tag}"
	// +kubebuilder:validation:MaxLength=128
	// +kubebuilder:validation:XValidation:rule="self.matches('^([a-zA-Z0-9_]|[{]tag[}]|[{]digest[}])([a-zA-Z0-9._-]|[{]tag[}]|[{]digest[}])*$')",message="want a tag in which {tag} and {digest} stand for theirs, such as {tag}-approved"
	Tag string `json:"tag,omitempty"`
}

// ImportSchedule has one of its fields, or none.
//
// +kubebuilder:validation:XValidation:rule="!(has(self.cron) && has(self.every))",message="want cron or every, not both"
type ImportSchedule struct {
	// Cron is when, in five fields and UTC: "0 3 * * *".
	// +optional
	// +kubebuilder:validation:MaxLength=256
	// +kubebuilder:validation:XValidation:rule="self.matches('^[^ =@]+( +[^ =@]+){4}$')",message="want minute, hour, day, month and weekday, such as 0 3 * * *"
	Cron string `json:"cron,omitempty"`

	// Every is how often, as a duration of Go's of at least a minute: "6h".
	// +optional
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:XValidation:rule="self.matches('^([0-9]+([.][0-9]+)?(ms|s|m|h))+$') && duration(self) >= duration('1m')",message="want a time of at least 1m, such as 6h"
	Every string `json:"every,omitempty"`
}

// ImportLimits bound what one import may bring.
type ImportLimits struct {
	// Bytes of one image, or of one index with all its images, as they are sent: a quantity as
	// Kubernetes has them, "4Gi".
	// +optional
	// +kubebuilder:default="16Gi"
	// +kubebuilder:validation:MaxLength=16
	// +kubebuilder:validation:XValidation:rule="self.matches('^[0-9]{1,12}([KMGT]i|[kMGT])?$') && !self.matches('^0+([KMGT]i|[kMGT])?$')",message="want a size, such as 4Gi"
	Bytes string `json:"bytes,omitempty"`

	// Tags of one import. More are an error, so that a pattern which is too wide takes in nothing.
	// +optional
	// +kubebuilder:default=100
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=100000
	Tags int `json:"tags,omitempty"`
}

// UpstreamCredentials log in to a registry outside.
type UpstreamCredentials struct {
	// Username at the source.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	Username string `json:"username"`

	// Password says where the password or token is, never what it is: "env://NAME", or the path
	// of a file, relative to this one's folder; in a cluster, where no file is, of the
	// environment of the controllers and below the folder of secrets that they are given. It is
	// read when it is needed, so that it may change.
	// +kubebuilder:validation:MaxLength=1024
	// +kubebuilder:validation:XValidation:rule="self.matches('^env://[A-Za-z_][A-Za-z0-9_]*$') || self.matches('^[^/:]+(/[^/:]+)*$') && !self.matches('(^|/)[.][.](/|$)')",message="say where the password is: env://NAME, or a path without a slash in front and without .. in it"
	Password string `json:"password"`
}

// UpstreamVerification says who must have signed what of an image, and whom one believes.
//
// +kubebuilder:validation:XValidation:rule="has(self.keys) && size(self.keys) > 0 || has(self.identities) && size(self.identities) > 0",message="say who signs images: keys or identities"
type UpstreamVerification struct {
	// Keys are names of public keys of those who sign images: paths of files, relative to
	// this one's folder, env://NAME or URIs of key services.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=1024
	// +kubebuilder:validation:items:XValidation:rule="!self.startsWith('/') && !self.matches('(^|/)[.][.](/|$)')",message="want a path without a slash in front and without .. in it, env://NAME, or the address of a key service"
	Keys []string `json:"keys,omitempty"`

	// AttestationKeys are those that sign attestations. Default: Keys.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=1024
	// +kubebuilder:validation:items:XValidation:rule="!self.startsWith('/') && !self.matches('(^|/)[.][.](/|$)')",message="want a path without a slash in front and without .. in it, env://NAME, or the address of a key service"
	AttestationKeys []string `json:"attestationKeys,omitempty"`

	// Identities are those whom a certificate may name. They sign images and attestations.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=32
	Identities []UpstreamIdentity `json:"identities,omitempty"`

	// Root is the path of a Sigstore trusted root, relative to this file's folder, that
	// certificates are verified with.
	// +optional
	Root BelowPath `json:"root,omitempty"`

	// Want is what must be there: "signature", "spdx", "cyclonedx", "provenance", … or a predicate
	// type's URI. A signature is wanted of what the tag names: it speaks of all that is named in
	// there by digest. Anything else may be said of that, or of each image in it. Default:
	// signature.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=32
	Want []Word `json:"want,omitempty"`
}

// UpstreamIdentity is whom a certificate names: one of Issuer and IssuerRegexp, and one of Subject
// and SubjectRegexp.
//
// +kubebuilder:validation:XValidation:rule="has(self.issuer) != has(self.issuerRegexp) && has(self.subject) != has(self.subjectRegexp)",message="want one of issuer and issuerRegexp, and one of subject and subjectRegexp"
type UpstreamIdentity struct {
	// Issuer that vouched for the subject: "https://accounts.example.com".
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	Issuer string `json:"issuer,omitempty"`

	// IssuerRegexp is a regular expression of issuers.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	IssuerRegexp string `json:"issuerRegexp,omitempty"`

	// Subject is who signed: an address of mail, or of a workflow.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	Subject string `json:"subject,omitempty"`

	// SubjectRegexp is a regular expression of subjects.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	SubjectRegexp string `json:"subjectRegexp,omitempty"`
}

// ImageImportStatus says how the last import went.
type ImageImportStatus struct {
	Status `json:",inline"`

	// Tags that are held.
	// +optional
	Tags int64 `json:"tags,omitempty"`

	// RanAt is when the last import ended.
	// +optional
	RanAt *metav1.Time `json:"ranAt,omitempty"`
}
