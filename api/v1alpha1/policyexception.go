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
// +kubebuilder:printcolumn:name="Status",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="Owner",type=string,JSONPath=`.spec.owner`
// +kubebuilder:printcolumn:name="Expires",type=string,JSONPath=`.spec.expires`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Rules",type=string,priority=1,JSONPath=`.spec.rules`
// +kubebuilder:printcolumn:name="Ticket",type=string,priority=1,JSONPath=`.spec.ticket`
// +kubebuilder:printcolumn:name="Message",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Ready")].message`
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
//
// +kubebuilder:validation:XValidation:rule="has(self.digests) && size(self.digests) > 0 || has(self.scope) && (has(self.scope.labels) || has(self.scope.repositories) && size(self.scope.repositories) > 0 || has(self.scope.namespaces) && size(self.scope.namespaces) > 0 || has(self.scope.environments) && size(self.scope.environments) > 0)",message="say for which images: scope.repositories, labels, namespaces or environments, or digests"
type PolicyExceptionSpec struct {
	// Owner is who answers for it: a person or a team.
	// +kubebuilder:validation:MaxLength=256
	// +kubebuilder:validation:XValidation:rule="self.matches('[^ \\t\\n]')",message="say who answers for it"
	Owner string `json:"owner"`

	// Reason says why.
	Reason Reason `json:"reason"`

	// Ticket is where it was decided.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	Ticket string `json:"ticket,omitempty"`

	// Expires is when it ends: no exception is for ever.
	Expires metav1.Time `json:"expires"`

	// Rules are "POLICY/RULE"; "*" stands for any name on either side.
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=256
	// +kubebuilder:validation:items:MaxLength=512
	// +kubebuilder:validation:items:XValidation:rule="self.matches('^[a-z0-9.*-]+/[a-z0-9*-]+$') && !self.contains('**')",message="want POLICY/RULE, such as baseline/no-critical or baseline/*"
	Rules []string `json:"rules"`

	// Scope says for which images. At least one of its fields, or Digests, must be given.
	// +optional
	Scope PolicyScope `json:"scope,omitempty"`

	// Digests are those of the images, where it is for these only.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=1000
	Digests []Digest `json:"digests,omitempty"`

	// Findings are the advisories that it lets pass, by name or alias: "CVE-2026-0001". Where
	// there are any, only these are set aside and each rule is asked again without them.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=1000
	Findings []Word `json:"findings,omitempty"`

	// Match is a CEL expression that must hold for the image. Default: it does.
	// +optional
	Match Expression `json:"match,omitempty"`
}

// PolicyExceptionStatus says whether it is in force.
type PolicyExceptionStatus struct {
	Status `json:",inline"`

	// Active says that it has not ended.
	// +optional
	Active bool `json:"active"`
}
