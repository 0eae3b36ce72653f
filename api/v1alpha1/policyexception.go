package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// PolicyExceptionKind is the kind of PolicyException.
const PolicyExceptionKind = "PolicyException"

// PolicyException lets images pass rules that they do not fulfil, for a while.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:scope=Cluster,shortName=exception,categories=plimsoll
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Owner",type=string,JSONPath=`.spec.owner`
// +kubebuilder:printcolumn:name="Expires",type=date,JSONPath=`.spec.expires`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type PolicyException struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec PolicyExceptionSpec `json:"spec"`
	// +optional
	Status PolicyExceptionStatus `json:"status,omitempty,omitzero"`
}

// PolicyExceptionList is a list of PolicyExceptions.
//
// +kubebuilder:object:root=true
type PolicyExceptionList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []PolicyException `json:"items"`
}

// PolicyExceptionSpec says who answers for it, why, for what and until when. All of this is
// required: there is no exception without an end.
type PolicyExceptionSpec struct {
	Owner   string      `json:"owner"` // who answers for it: a person or a team
	Reason  string      `json:"reason"`
	Ticket  string      `json:"ticket,omitempty"` // where it was decided
	Expires metav1.Time `json:"expires"`

	// Rules are "POLICY/RULE"; "*" stands for any name on either side.
	Rules []string `json:"rules"`

	// Scope says for which images. At least one of its fields, or Digests, must be given.
	Scope PolicyScope `json:"scope,omitempty"`

	// Digests are those of the images, where it is for these only.
	Digests []string `json:"digests,omitempty"`

	// Findings are the advisories that it lets pass, by name or alias: "CVE-2026-0001". Where
	// there are any, only these are set aside and each rule is asked again without them.
	Findings []string `json:"findings,omitempty"`

	// Match is a CEL expression that must hold for the image. Default: it does.
	Match string `json:"match,omitempty"`
}

// PolicyExceptionStatus says whether it is in force.
type PolicyExceptionStatus struct {
	Status `json:",inline"`

	// Active says that it has not ended.
	// +optional
	Active bool `json:"active"`
}
