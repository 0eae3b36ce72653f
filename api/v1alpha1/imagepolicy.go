package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// ImagePolicyKind is the kind of ImagePolicy.
const ImagePolicyKind = "ImagePolicy"

// ImagePolicy declares which images may be pulled, scheduled, given an identity and called.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:scope=Cluster,categories=plimsoll
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Registry",type=string,JSONPath=`.spec.gates.registry`
// +kubebuilder:printcolumn:name="Admission",type=string,JSONPath=`.spec.gates.admission`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type ImagePolicy struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec ImagePolicySpec `json:"spec"`
	// +optional
	Status ImagePolicyStatus `json:"status,omitempty,omitzero"`
}

// ImagePolicyList is a list of ImagePolicys.
//
// +kubebuilder:object:root=true
type ImagePolicyList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []ImagePolicy `json:"items"`
}

// ImagePolicySpec says for which images which rules hold, and what follows where they do not.
type ImagePolicySpec struct {
	Description string `json:"description,omitempty"`

	// Scope says which images the policy covers. Default: all.
	Scope PolicyScope `json:"scope,omitempty"`

	// Gates says what a rule that does not hold does at each gate: deny, warn or audit. The
	// policy says nothing at a gate that is not named.
	Gates PolicyGates `json:"gates"`

	// Parameters are values that expressions read as params.NAME: text, numbers, true or
	// false, and lists of these. An expression is checked against their types.
	// +optional
	// +kubebuilder:validation:Schemaless
	// +kubebuilder:validation:Type=object
	// +kubebuilder:pruning:PreserveUnknownFields
	Parameters PolicyParameters `json:"parameters,omitempty"`

	// MatchConditions must all hold for the policy to cover an image. One that cannot be
	// evaluated holds: a fact that is missing never takes an image out of a policy.
	MatchConditions []NamedExpression `json:"matchConditions,omitempty"`

	// Variables are evaluated at most once for an image, and read as variables.NAME. Each may
	// read those before it.
	Variables []NamedExpression `json:"variables,omitempty"`

	Rules []PolicyRule `json:"rules"`
}

// PolicyParameters are values by name.
type PolicyParameters map[string]any

// DeepCopy gives a copy that shares nothing with it.
func (p PolicyParameters) DeepCopy() PolicyParameters {
	if p == nil {
		return nil
	}
	return copyValue(map[string]any(p)).(map[string]any)
}

// DeepCopyInto makes out such a copy.
func (p PolicyParameters) DeepCopyInto(out *PolicyParameters) { *out = p.DeepCopy() }

// copyValue copies what JSON can say; all else is immutable.
func copyValue(v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := make(map[string]any, len(v))
		for name, each := range v {
			out[name] = copyValue(each)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, each := range v {
			out[i] = copyValue(each)
		}
		return out
	}
	return v
}

// PolicyScope says which images; what is left empty leaves none out.
type PolicyScope struct {
	// Repositories are patterns of "registry/path", or "path" in the local store: "*" stands
	// for a part of one path segment, "**" for any number of segments.
	Repositories []string `json:"repositories,omitempty"`

	// Except are patterns of repositories that are left out all the same.
	Except []string `json:"except,omitempty"`

	// Labels selects by the labels of the image's configuration. An index and an artifact have
	// their annotations instead.
	Labels *metav1.LabelSelector `json:"labels,omitempty"`

	// Namespaces are patterns of Kubernetes namespaces. Where none is known a policy holds, and
	// an exception does not; likewise for environments.
	Namespaces []string `json:"namespaces,omitempty"`

	// Environments are names that a gate goes by, such as "production".
	Environments []string `json:"environments,omitempty"`
}

// PolicyAction is deny, warn or audit.
type PolicyAction string

// PolicyGates has an action for each gate; "" is none.
type PolicyGates struct {
	Registry  PolicyAction `json:"registry,omitempty"`
	Admission PolicyAction `json:"admission,omitempty"`
	Identity  PolicyAction `json:"identity,omitempty"`
	Gateway   PolicyAction `json:"gateway,omitempty"`
}

// NamedExpression is a CEL expression with a name.
type NamedExpression struct {
	Name       string `json:"name"`
	Expression string `json:"expression"`
}

// PolicyRule is one condition that images must fulfil.
type PolicyRule struct {
	Name   string `json:"name"`   // a DNS label, unique in the policy
	Title  string `json:"title"`  // what is wanted, in a few words
	Reason string `json:"reason"` // why anybody should want it

	// Expression gives true for an image that may pass. One that cannot be evaluated, because a
	// fact it reads is not known, does not pass.
	Expression string `json:"expression"`

	// Message says why an image does not pass; MessageExpression gives it as text. Default: the
	// title.
	Message           string `json:"message,omitempty"`
	MessageExpression string `json:"messageExpression,omitempty"`

	// Remedy says what to do about it, a command where there is one; RemedyExpression gives it
	// as text.
	Remedy           string `json:"remedy,omitempty"`
	RemedyExpression string `json:"remedyExpression,omitempty"`

	// Gates overrides the policy's, gate by gate.
	Gates PolicyGates `json:"gates,omitempty"`

	Grace *PolicyGrace `json:"grace,omitempty"`

	// Controls names what the rule answers, by framework: "slsa", "nist-800-190", "cis".
	Controls map[string][]string `json:"controls,omitempty"`
}

// PolicyGrace lets a rule only warn for a while where it would deny.
type PolicyGrace struct {
	// Period in the form of Go's durations with days: "7d", "36h".
	Period string `json:"period"`

	// Since gives the time from which the period counts, a CEL timestamp: of the oldest finding,
	// say. It may not depend on the time of the verdict, or the grace would never end. Where it
	// cannot be evaluated there is none.
	Since string `json:"since"`
}

// ImagePolicyStatus says whether it is in force.
type ImagePolicyStatus struct {
	Status `json:",inline"`
}
