package site

import (
	"context"

	"plimsoll.dev/plimsoll/internal/site/judge"
	"plimsoll.dev/plimsoll/internal/site/served"
)

// Serve serves the registry of the home, with its gate, until ctx ends; Ready of the options hears
// where. A home has one server at a time.
func (s *Site) Serve(ctx context.Context, o served.Options) error {
	judging := o.Judging
	o.Judging = func(j *judge.Judge) {
		s.judging.Store(j)
		if judging != nil {
			judging(j)
		}
	}
	defer s.judging.Store(nil)
	return served.Serve(ctx, s.Home, o)
}
