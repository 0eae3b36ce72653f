package build

import (
	"context"
	"io"

	"plimsoll.dev/plimsoll/api/v1alpha1"
	"plimsoll.dev/plimsoll/internal/controller/secrets"
)

// Worker does what Builds say. An error of kind Unavailable is tried again, any other is the end;
// what was done half may be done again: work is idempotent.
type Worker interface {
	// Build builds an image from source and publishes it. What steps print goes to log; step
	// hears of each step when it ends.
	Build(ctx context.Context, job Job, log io.Writer, step func(v1alpha1.BuildStep)) (Outcome, error)

	// Rebase moves each job's image onto its run image, and calls end once for each, in any
	// order and from any goroutine. end may block for a while.
	Rebase(ctx context.Context, jobs []Job, end func(i int, outcome Outcome, err error))
}

// Job is a Build with all that it needs. Nothing in it may be changed.
type Job struct {
	Image *v1alpha1.Image // as it is when the Build starts
	Build *v1alpha1.Build

	// Secrets that the Image's service account lets it use; of a rebase only the logins.
	Secrets secrets.Resolved

	// Overrides are all that there are: those count that hold for the Image.
	Overrides []v1alpha1.DependencyOverride

	// Force builds though nothing has changed: somebody asked.
	Force bool
}

// Outcome is what came of a Build.
type Outcome struct {
	Digest     string              // of what the tags name now
	Tags       []string            // that name it
	RunImage   *v1alpha1.Published // that it stands on: what the builder calls it, and its digest
	Buildpacks []string            // "id@version"
	Unchanged  bool                // it was there already
}
