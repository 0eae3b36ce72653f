package attest

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/fault"
)

// Report says what was verified of an image.
type Report struct {
	Image    string    `json:"image"`    // digest
	Verified bool      `json:"verified"` // nothing that was wanted is missing
	Checks   []Check   `json:"checks"`   // of each thing that is attached
	Missing  []Missing `json:"missing,omitempty"`
}

// Check is what became of one thing that is attached.
type Check struct {
	Predicate string     `json:"predicate,omitempty"`
	Forms     []Form     `json:"forms"`
	Manifest  string     `json:"manifest"`
	Verified  bool       `json:"verified"`
	By        string     `json:"by,omitempty"`       // the key's name, or the identity
	Issuer    string     `json:"issuer,omitempty"`   // who vouches for the identity, a URL; "" for a key
	SignedAt  *time.Time `json:"signedAt,omitempty"` // by a trusted log or timestamp authority
	Why       string     `json:"why,omitempty"`      // why it is not verified
	Says      string     `json:"says,omitempty"`     // what it comes to, in a few words; Verify leaves it to its caller

	evidence artifact.Evidence
}

// Missing is what was wanted and is not there, or not verified.
type Missing struct {
	Predicate string `json:"predicate"`
	Why       string `json:"why"`
}

// Evidence gives the claim as it was signed, if it is verified and there was a statement.
func (c Check) Evidence() (artifact.Evidence, bool) {
	return c.evidence, c.Verified && c.evidence.Subject != ""
}

// Evidence gives the claims that are verified, each as it was signed.
func (r Report) Evidence() []artifact.Evidence {
	var out []artifact.Evidence
	for _, c := range r.Checks {
		if e, ok := c.Evidence(); ok {
			out = append(out, e)
		}
	}
	return out
}

// Err gives nil for a verified image, else an error of kind Denied that says what is
// missing. ref names the image to the user.
func (r Report) Err(ref string) error {
	if r.Verified {
		return nil
	}
	var why []string
	for _, m := range r.Missing {
		why = append(why, m.Predicate+": "+m.Why)
	}
	return fault.Newf(fault.Denied, "verify image", ref, strings.Join(why, "; ")).
		WithHint("check that the keys and identities are those that the image should be signed with")
}

// lacks says why the image is not vouched for by that type, or "".
func (r Report) lacks(predicate string, threshold int) string {
	var by, why []string
	for _, c := range r.Checks {
		switch {
		case c.Predicate != predicate:
		case !c.Verified:
			why = append(why, c.Why)
		case !slices.Contains(by, c.By):
			by = append(by, c.By)
		}
	}
	switch {
	case len(by) >= threshold:
		return ""
	case len(by) > 0:
		return fmt.Sprintf("%d of the %d that must vouch for it do: %s", len(by), threshold, strings.Join(by, ", "))
	case len(why) > 0:
		return strings.Join(slices.Compact(why), "; ")
	}
	return "there is none"
}
