package mirror

import "time"

// After a run that failed it is tried again soon, then less and less soon.
const (
	retryFirst = time.Minute
	retryMost  = 6 * time.Hour
)

// next gives when an import is to run after its last run: by its schedule, or earlier when that
// failed. Zero: on demand only. One that never ran could have long ago.
func (i *Import) next(s *State) time.Time {
	if i.schedule == nil {
		return time.Time{}
	}
	due := i.schedule.Next(s.Finished)
	if s.Failures == 0 {
		return due
	}
	retry := s.Finished.Add(min(retryFirst<<min(s.Failures-1, 20), retryMost))
	if due.IsZero() || retry.Before(due) {
		return retry
	}
	return due
}
