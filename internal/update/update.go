// Package update takes what changed and gives a plan, and from the plan a campaign: waves of
// images that are remedied, tested, released, and proven afterwards.
//
// A plan is read from the inventory and moves nothing. A campaign is rows in the inventory's
// database, worked off by jobs: any process may end at any time, and any other goes on. What
// moves images is not here: an engine is given a Remedier.
package update

import (
	"plimsoll.dev/plimsoll/internal/inventory/campaigns"
)

// What campaigns are of, as the database keeps it.
type (
	Item     = campaigns.Item
	Rebase   = campaigns.Rebase
	Override = campaigns.Override
	Cause    = campaigns.Cause
)
