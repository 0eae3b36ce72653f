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
// +kubebuilder:printcolumn:name="Source",type=string,JSONPath=`.spec.source`
// +kubebuilder:printcolumn:name="To",type=string,JSONPath=`.spec.destination.repository`
// +kubebuilder:printcolumn:name="Tags",type=integer,JSONPath=`.status.tags`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
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
	Source string `json:"source"`

	// Credentials for the source. Default: those of the user's own registry client.
	Credentials *UpstreamCredentials `json:"credentials,omitempty"`

	Tags ImportTags `json:"tags"`

	// Platforms are those to take of an index, as "os/architecture[/variant]"; an image without an
	// index is taken as it is. Default: all, and the index stays as it is, byte for byte. With a choice it becomes another index, of which
	// what was signed of the whole no longer speaks.
	Platforms []string `json:"platforms,omitempty"`

	Destination ImportDestination `json:"destination"`

	// Schedule says when a registry that serves takes them in by itself. Default: on demand only.
	Schedule ImportSchedule `json:"schedule,omitempty"`

	// Verify says what must be signed in the source, before anything is copied. Default: nothing;
	// the site's own policy judges what came.
	Verify *UpstreamVerification `json:"verify,omitempty"`

	// Evidence says whether what is attached to an image comes along: its referrers, and what is
	// below its tags sha256-….sig, .att and .sbom. Default: true.
	Evidence *bool `json:"evidence,omitempty"`

	Limits ImportLimits `json:"limits,omitempty"`

	// Deletion says what becomes of our tag when the source has it no more: "Keep" or "Untag".
	// A tag that something else has moved meanwhile stays. Default: Keep.
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
type ImportTags struct {
	Names []string `json:"names,omitempty"` // exactly these; one that the source lacks is an error

	// Patterns are of whole tags: "*" stands for any characters, "?" for one, "[a-z]" for one of
	// a class.
	Patterns []string `json:"patterns,omitempty"`

	// Semver is a range of versions: ">=1.26 <2", "~1.27". A leading "v" does not matter. Versions
	// with a pre-release part, as in "1.2.3-alpine", are only in ranges whose bounds have one:
	// ">=1.2-0 <1.3-0".
	Semver string `json:"semver,omitempty"`

	Except []string `json:"except,omitempty"` // patterns of tags to leave out

	// Newest keeps that many tags of Patterns and Semver: the highest versions, then those that
	// are none in reverse order of their names. Default: all.
	Newest int `json:"newest,omitempty"`
}

// ImportDestination says under which name images are published here.
type ImportDestination struct {
	Repository string `json:"repository"` // in this registry, without a host: "approved/app"

	// Tag makes our tag of theirs: "{tag}" stands for theirs, "{digest}" for the first 12 digits
	// of the digest it names. Default: "{tag}".
	Tag string `json:"tag,omitempty"`
}

// ImportSchedule has one of its fields, or none.
type ImportSchedule struct {
	Cron  string `json:"cron,omitempty"`  // five fields, in UTC: "0 3 * * *"
	Every string `json:"every,omitempty"` // a duration of Go's of at least a minute: "6h"
}

// ImportLimits bound what one import may bring.
type ImportLimits struct {
	// Bytes of one image, or of one index with all its images, as they are sent: a quantity as
	// Kubernetes has them, "4Gi". Default: 16Gi.
	Bytes string `json:"bytes,omitempty"`

	// Tags of one import. More are an error, so that a pattern which is too wide takes in nothing.
	// Default: 100.
	Tags int `json:"tags,omitempty"`
}

// UpstreamCredentials log in to a registry outside.
type UpstreamCredentials struct {
	Username string `json:"username"`

	// Password says where the password or token is: "env://NAME", or the path of a file,
	// relative to this one's folder. It is read when it is needed, so that it may change.
	Password string `json:"password"`
}

// UpstreamVerification says who must have signed what of an image, and whom one believes.
type UpstreamVerification struct {
	// Keys are names of public keys of those who sign images: paths of files, relative to
	// this one's folder, env://NAME or URIs of key services.
	Keys []string `json:"keys,omitempty"`

	// AttestationKeys are those that sign attestations. Default: Keys.
	AttestationKeys []string `json:"attestationKeys,omitempty"`

	// Identities are those whom a certificate may name. They sign images and attestations.
	Identities []UpstreamIdentity `json:"identities,omitempty"`

	// Root is the path of a Sigstore trusted root, relative to this file's folder, that certificates are verified with.
	Root string `json:"root,omitempty"`

	// Want is what must be there: "signature", "spdx", "cyclonedx", "provenance", … or a predicate
	// type's URI. A signature is wanted of what the tag names: it speaks of all that is named in
	// there by digest. Anything else may be said of that, or of each image in it. Default:
	// signature.
	Want []string `json:"want,omitempty"`
}

// UpstreamIdentity is whom a certificate names: one of Issuer and IssuerRegexp, and one of Subject
// and SubjectRegexp.
type UpstreamIdentity struct {
	Issuer        string `json:"issuer,omitempty"`
	IssuerRegexp  string `json:"issuerRegexp,omitempty"`
	Subject       string `json:"subject,omitempty"`
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
