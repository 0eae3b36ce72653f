package status

import (
	"plimsoll.dev/plimsoll/api/v1alpha1"
	"plimsoll.dev/plimsoll/internal/fault"
)

// The reasons of conditions. docs/reconcilers.md lists them; a test holds it against Reasons.
const (
	Published  = "Published"
	InForce    = "InForce"
	Synced     = "Synced"
	Imported   = "Imported"
	NotYetRun  = "NotYetRun"
	RunFailed  = "RunFailed"
	Expired    = "Expired"
	UpToDate   = "UpToDate"
	LookedUp   = "LookedUp"
	Suspended  = "Suspended"
	Queued     = "Queued"
	Building   = "Building"
	WaitsFor   = "WaitsForBase"
	TagTaken   = "TagTaken"
	NameTaken  = "NameTaken"
	SetBroken  = "SetBroken"
	Invalid    = "InvalidSpec"
	Refused    = "Refused"
	Missing    = "NotFound"
	Away       = "Unavailable"
	NotWorking = "Failed"
)

// OfError gives the reason of a condition that is false because of an error.
func OfError(err error) string {
	switch fault.KindOf(err) {
	case fault.Usage:
		return Invalid
	case fault.Denied:
		return Refused
	case fault.NotFound:
		return Missing
	case fault.Unavailable:
		return Away
	}
	return NotWorking
}

// Reason is a line of the table of reasons.
type Reason struct {
	Name    string
	Of      string // the condition's type
	Meaning string
}

// Reasons gives all of them, in the order of the constants.
func Reasons() []Reason {
	const ready, fresh = v1alpha1.ConditionReady, v1alpha1.ConditionFresh
	return []Reason{
		{Published, ready, "the tag names an image made from this spec"},
		{InForce, ready, "the home has it; what decides or builds goes by it"},
		{Synced, ready, "the feed was brought up to date"},
		{Imported, ready, "the last import brought all that is wanted"},
		{NotYetRun, ready, "declared; the first run has not ended yet"},
		{RunFailed, ready, "the last import did not bring all that is wanted: the message says why"},
		{Expired, ready, "its time is over: it is kept, and does nothing"},
		{UpToDate, fresh, "the last look went well, and what it found is in the image"},
		{LookedUp, fresh, "no BaseImage keeps what the message names: the registry is asked for it at an interval"},
		{Suspended, fresh, "`update.suspend` is true: nobody looks for changes"},
		{Queued, ready, "its turn to be built has not come yet"},
		{Building, "any", "it is being built, since the condition's last transition. What was published before stays"},
		{WaitsFor, ready, "a BaseImage that it stands on has no image yet, or nobody publishes what it stands on"},
		{TagTaken, ready, "an older resource publishes under this tag"},
		{NameTaken, ready, "the home has a file or an entry of this name that Plimsoll's control plane did not write"},
		{SetBroken, ready, "it is sound, but with the others of the home it cannot be used: the message says which one is wrong"},
		{Invalid, "any", "the spec is wrong: the message says where. It waits for another one; a base also for another archive"},
		{Refused, "any", "a signature, a rule or a registry said no. It is looked at again at the interval"},
		{Missing, "any", "what the spec names is not there"},
		{Away, "any", "what is asked did not answer. It is tried again, at growing intervals"},
		{NotWorking, "any", "the work failed here: a disk, a bug. It is tried again, at growing intervals"},
	}
}
