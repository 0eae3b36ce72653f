package artifact

import "time"

// Gate is a place where a verdict is enforced.
type Gate string

// The gates.
const (
	GateRegistry  Gate = "registry"  // may it be pulled
	GateAdmission Gate = "admission" // may it be scheduled
	GateIdentity  Gate = "identity"  // may it get credentials
	GateGateway   Gate = "gateway"   // may it be called
)

// Gates gives all of them, in the order in which an image meets them.
func Gates() []Gate { return []Gate{GateRegistry, GateAdmission, GateIdentity, GateGateway} }

// Action is what a gate does.
type Action string

// The actions, the mildest first.
const (
	ActionAllow Action = "allow"
	ActionAudit Action = "audit" // it is noted
	ActionWarn  Action = "warn"  // whoever asks is told
	ActionDeny  Action = "deny"
)

// Rank gives 0 for the mildest. What is no action ranks as a denial.
func (a Action) Rank() int {
	switch a {
	case ActionAllow:
		return 0
	case ActionAudit:
		return 1
	case ActionWarn:
		return 2
	}
	return 3
}

// Verdict is what the policies say of one manifest in one repository, at every gate.
type Verdict struct {
	Repository string `json:"repository"`
	Image      string `json:"image"` // digest

	// Gates has an action for each gate for which a policy covers the image. One that is
	// missing is covered by nothing: a gate that is closed by default stays closed.
	Gates map[Gate]Action `json:"gates"`

	Results    []Result         `json:"results"` // of each rule that applies, in the order of the policies
	Exceptions []ExceptionInUse `json:"exceptions,omitempty"`

	Decided time.Time  `json:"decided"`
	Until   *time.Time `json:"until,omitempty"` // when time alone may change it; nil: never

	Policies string `json:"policies"` // "sha256:…" of the policies and exceptions
	Facts    string `json:"facts"`    // "sha256:…" of the facts
}

// At gives the action at a gate. Nothing that covers the image is a denial.
func (v Verdict) At(gate Gate) Action {
	if action, ok := v.Gates[gate]; ok {
		return action
	}
	return ActionDeny
}

// Result is what one rule came to.
type Result struct {
	Policy   string              `json:"policy"`
	Rule     string              `json:"rule"`
	Title    string              `json:"title,omitempty"`
	Passed   bool                `json:"passed"`
	Why      string              `json:"why,omitempty"`      // one line, when it did not pass
	Missing  bool                `json:"missing,omitempty"`  // it did not pass because a fact is not known
	Remedy   string              `json:"remedy,omitempty"`   // a command, or what else to do; one line
	Gates    map[Gate]Action     `json:"gates,omitempty"`    // what it does at each gate now, when it did not pass
	Deadline *time.Time          `json:"deadline,omitempty"` // from when on it denies where it only warns now
	Excused  string              `json:"excused,omitempty"`  // the name of the exception that excuses it
	Controls map[string][]string `json:"controls,omitempty"` // of "slsa", "nist-800-190", "cis": those it answers
}

// ExceptionInUse is an exception without which the verdict would be another.
type ExceptionInUse struct {
	Name    string    `json:"name"`
	Owner   string    `json:"owner"`
	Reason  string    `json:"reason"`
	Expires time.Time `json:"expires"`
	Rules   []string  `json:"rules"` // "policy/rule" that it excuses
}
