package served

import (
	"context"
	"time"

	"plimsoll.dev/plimsoll/internal/registry/audit"
)

// recordWithin is how long verdicts wait for the audit log, which goes on trying by itself.
const recordWithin = 5 * time.Second

// policiesTaken writes down which policies decide from now on: whoever edits their files needs no
// registry for it, so nothing else of the log tells.
func (u *upkeep) policiesTaken(ctx context.Context, digest, why string) {
	ctx, cancel := context.WithTimeout(ctx, recordWithin)
	defer cancel()
	entry := audit.Entry{Action: audit.ActionPolicies, Outcome: audit.Done, Principal: "machine", Digest: digest, Why: why}
	if err := u.audit.Append(ctx, entry); err != nil {
		u.log.Error("it is not in the audit log yet that other policies decide", "error", err)
	}
}
