package campaigns

import (
	"time"

	"plimsoll.dev/plimsoll/artifact"
)

// State is how far an item of a campaign is.
type State string

// The states of an item.
const (
	Planned    State = "planned"
	Moving     State = "moving"     // somebody works on it
	Done       State = "done"       // its tag names what came of it
	Failed     State = "failed"     // its tag names what it named before
	Skipped    State = "skipped"    // there was nothing to do, or nothing can be done
	Returning  State = "returning"  // its tag is to name again what it named before
	RolledBack State = "rolledback" // it does
)

// Item is one reference of a campaign, and what is to become of it.
type Item struct {
	Number    int64  `json:"number"`         // its place in the running order, from 1
	Reference string `json:"reference"`      // a tag with its repository
	From      string `json:"from"`           // the digest of the image that was planned for; of several platforms the first
	Team      string `json:"team,omitempty"` // who answers for it
	Wave      int    `json:"wave"`           // from 0

	Remedy    artifact.Remedy   `json:"remedy"`
	Base      *Rebase           `json:"base,omitempty"`
	Overrides []Override        `json:"overrides,omitempty"`
	Severity  artifact.Severity `json:"severity,omitempty"` // the worst that it fixes
	Fixes     []Cause           `json:"fixes,omitempty"`
	Leaves    []Cause           `json:"leaves,omitempty"` // what is meant and not fixed by it
	Why       string            `json:"why,omitempty"`    // why nothing is done

	// Attempt is a hash over what is tried: the same image, remedy and inputs have the same.
	Attempt [16]byte `json:"-"`

	Progress
}

// Progress is what became of an item so far.
type Progress struct {
	State    State     `json:"state,omitempty"` // "" in a plan
	Before   string    `json:"before,omitempty"`
	After    string    `json:"after,omitempty"` // the candidate, and in the end what the tag names
	Tested   []string  `json:"tested,omitempty"`
	Bytes    int64     `json:"bytes,omitempty"` // that went to the registry
	Attempts int       `json:"attempts,omitempty"`
	Error    string    `json:"error,omitempty"`
	Started  time.Time `json:"started,omitzero"`
	Ended    time.Time `json:"ended,omitzero"`
	Retry    time.Time `json:"retry,omitzero"` // not before
}

// Rebase is the base that an image is moved onto.
type Rebase struct {
	Name string `json:"name"`
	From string `json:"from,omitempty"` // the digest it stands on
	To   string `json:"to,omitempty"`   // what the name names now
}

// Override is the lowest version of a dependency that a build may use.
type Override struct {
	Ecosystem  string   `json:"ecosystem"` // npm, Go or PyPI
	Package    string   `json:"package"`
	Version    string   `json:"version"`
	Advisories []string `json:"advisories,omitempty"`
}

// Cause is an advisory that concerns a package of the image.
type Cause struct {
	Advisory string            `json:"advisory"`
	Severity artifact.Severity `json:"severity"`
	Package  string            `json:"package"`
	Version  string            `json:"version"`
	Fixed    string            `json:"fixed,omitempty"`
	Why      string            `json:"why,omitempty"` // of one that stays
}
