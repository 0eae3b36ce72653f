package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// ImagePolicyKind is the kind of ImagePolicy.
const ImagePolicyKind = "ImagePolicy"

// ImagePolicy declares which images may be pulled, scheduled, given an identity and called.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:scope=Cluster,shortName=imgpol,categories=plimsoll
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Status",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="Registry",type=string,JSONPath=`.spec.gates.registry`
// +kubebuilder:printcolumn:name="Admission",type=string,JSONPath=`.spec.gates.admission`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Identity",type=string,priority=1,JSONPath=`.spec.gates.identity`
// +kubebuilder:printcolumn:name="Gateway",type=string,priority=1,JSONPath=`.spec.gates.gateway`
// +kubebuilder:printcolumn:name="Description",type=string,priority=1,JSONPath=`.spec.description`
// +kubebuilder:printcolumn:name="Message",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Ready")].message`
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
//
// +kubebuilder:validation:XValidation:rule="has(self.gates.registry) || has(self.gates.admission) || has(self.gates.identity) || has(self.gates.gateway) || self.rules.all(r, has(r.gates) && (has(r.gates.registry) || has(r.gates.admission) || has(r.gates.identity) || has(r.gates.gateway)))",message="neither the policy nor each of its rules names a gate: it would do nothing"
type ImagePolicySpec struct {
	// Description says what the policy is for.
	// +optional
	// +kubebuilder:validation:MaxLength=4096
	Description string `json:"description,omitempty"`

	// Scope says which images the policy covers. Default: all.
	// +optional
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
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=64
	MatchConditions []NamedExpression `json:"matchConditions,omitempty"`

	// Variables are evaluated at most once for an image, and read as variables.NAME. Each may
	// read those before it.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=64
	Variables []NamedExpression `json:"variables,omitempty"`

	// Rules that images must fulfil, all of them.
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=500
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
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=1000
	Repositories []RepositoryPattern `json:"repositories,omitempty"`

	// Except are patterns of repositories that are left out all the same.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=1000
	Except []RepositoryPattern `json:"except,omitempty"`

	// Labels selects by the labels of the image's configuration. An index and an artifact have
	// their annotations instead.
	// +optional
	Labels *metav1.LabelSelector `json:"labels,omitempty"`

	// Namespaces are patterns of Kubernetes namespaces. Where none is known a policy holds, and
	// an exception does not; likewise for environments.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=1000
	Namespaces []RepositoryPattern `json:"namespaces,omitempty"`

	// Environments are names that a gate goes by, such as "production".
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=256
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=256
	Environments []string `json:"environments,omitempty"`
}

// PolicyAction is deny, warn or audit.
//
// +kubebuilder:validation:Enum=deny;warn;audit
type PolicyAction string

// PolicyGates has an action for each gate; "" is none.
type PolicyGates struct {
	// Registry is the gate at which images are pulled.
	// +optional
	Registry PolicyAction `json:"registry,omitempty"`

	// Admission is the gate at which they are scheduled.
	// +optional
	Admission PolicyAction `json:"admission,omitempty"`

	// Identity is the gate at which what runs from them gets credentials.
	// +optional
	Identity PolicyAction `json:"identity,omitempty"`

	// Gateway is the gate at which what runs from them is called.
	// +optional
	Gateway PolicyAction `json:"gateway,omitempty"`
}

// NamedExpression is a CEL expression with a name.
type NamedExpression struct {
	// Name of the expression, by which others and messages know it.
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:XValidation:rule="self.matches('^[A-Za-z0-9_][A-Za-z0-9_-]*$')",message="want letters, digits and underscores, or dashes in the name of a condition"
	Name string `json:"name"`

	// Expression in CEL: docs/policy.md tells what it may read.
	Expression Expression `json:"expression"`
}

// PolicyRule is one condition that images must fulfil.
//
// +kubebuilder:validation:XValidation:rule="!(has(self.message) && has(self.messageExpression))",message="want message or messageExpression, not both"
// +kubebuilder:validation:XValidation:rule="!(has(self.remedy) && has(self.remedyExpression))",message="want remedy or remedyExpression, not both"
type PolicyRule struct {
	// Name of the rule, by which exceptions and verdicts know it.
	Name Label `json:"name"`

	// Title is what is wanted, in a few words.
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:XValidation:rule="self.matches('[^ \\t\\n]')",message="say what is wanted, in a few words"
	Title string `json:"title"`

	// Reason is why anybody should want it.
	Reason Reason `json:"reason"`

	// Expression gives true for an image that may pass. One that cannot be evaluated, because a
	// fact it reads is not known, does not pass.
	Expression Expression `json:"expression"`

	// Message says why an image does not pass. Default: the title.
	// +optional
	// +kubebuilder:validation:MaxLength=4096
	Message string `json:"message,omitempty"`

	// MessageExpression gives the message as text.
	// +optional
	MessageExpression Expression `json:"messageExpression,omitempty"`

	// Remedy says what to do about it, a command where there is one.
	// +optional
	// +kubebuilder:validation:MaxLength=4096
	Remedy string `json:"remedy,omitempty"`

	// RemedyExpression gives the remedy as text.
	// +optional
	RemedyExpression Expression `json:"remedyExpression,omitempty"`

	// Gates overrides the policy's, gate by gate.
	// +optional
	Gates PolicyGates `json:"gates,omitempty"`

	// Grace lets the rule only warn for a while where it would deny.
	// +optional
	Grace *PolicyGrace `json:"grace,omitempty"`

	// Controls names what the rule answers, by framework: "slsa", "nist-800-190", "cis".
	// +optional
	// +kubebuilder:validation:MaxProperties=64
	Controls map[string][]string `json:"controls,omitempty"`
}

// PolicyGrace lets a rule only warn for a while where it would deny.
type PolicyGrace struct {
	// Period in the form of Go's durations with days: "7d", "36h".
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="self.matches('^([0-9]{1,4}d)?([0-9]+([.][0-9]+)?(ms|s|m|h))*$') && self.matches('[1-9]')",message="want a time such as 7d or 36h"
	Period string `json:"period"`

	// Since gives the time from which the period counts, a CEL timestamp: of the oldest finding,
	// say. It may not depend on the time of the verdict, or the grace would never end. Where it
	// cannot be evaluated there is none.
	Since Expression `json:"since"`
}

// ImagePolicyStatus says whether it is in force.
type ImagePolicyStatus struct {
	Status `json:",inline"`
}
