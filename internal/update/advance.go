package update

import (
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/util/intstr"

	"plimsoll.dev/plimsoll/api/v1alpha1"
	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/inventory/campaigns"
)

// situation is all that decides what a campaign does next.
type situation struct {
	campaigns.Tally
	windows []window
	frozen  []campaigns.Freeze
	now     time.Time
}

// advance brings a campaign as far as it can go now. It is a function of what is kept alone,
// so that any process may do it at any time.
func advance(c *campaigns.Campaign, s situation) {
	for range 4*len(c.Waves) + 4 { // no wave has more than four stages
		before := [2]any{c.Stage, c.Wave}
		if c.Ended.IsZero() {
			step(c, s)
		}
		if before == [2]any{c.Stage, c.Wave} {
			return
		}
	}
}

func step(c *campaigns.Campaign, s situation) {
	switch c.Stage {
	case campaigns.Unstarted:
		start(c, s)
	case campaigns.Started:
		work(c, s)
	case campaigns.Soaking:
		if !s.now.Before(c.Due) {
			nextWave(c)
			return
		}
		c.Phase, c.Why = v1alpha1.PatchWaiting, "wave "+c.Waves[c.Wave]+" soaks"
	case campaigns.Reverting:
		if s.Of(c.Wave, campaigns.Done, campaigns.Returning) == 0 {
			end(c, s.now, v1alpha1.PatchRolledBack)
			return
		}
		c.Phase, c.Due = v1alpha1.PatchRunning, time.Time{}
	}
}

// start starts a wave, as soon as it may.
func start(c *campaigns.Campaign, s situation) {
	if s.Of(c.Wave, campaigns.Planned) == 0 {
		if c.Wave+1 < len(c.Waves) {
			nextWave(c)
			return
		}
		end(c, s.now, v1alpha1.PatchDone)
		c.Why = ""
		return
	}
	if stopped(c, s) {
		return
	}
	if may, next := open(s.windows, s.now); !may {
		c.Phase, c.Due, c.Why = v1alpha1.PatchWaiting, next, "for a window"
		return
	}
	c.Phase, c.Stage, c.Due, c.Why = v1alpha1.PatchRunning, campaigns.Started, time.Time{}, ""
	if c.Started.IsZero() {
		c.Started = s.now
	}
}

// stopped says whether nothing may start, and notes why.
func stopped(c *campaigns.Campaign, s situation) bool {
	switch {
	case c.Paused:
		c.Phase, c.Due, c.Why = v1alpha1.PatchPaused, time.Time{}, "it was paused"
	case len(s.frozen) > 0:
		f := s.frozen[0]
		c.Phase, c.Due, c.Why = v1alpha1.PatchPaused, f.Until, fmt.Sprintf("%s froze everything: %s", f.Owner, f.Reason)
	default:
		return false
	}
	return true
}

// work looks after a wave whose images are worked on.
func work(c *campaigns.Campaign, s situation) {
	moving := s.Of(c.Wave, campaigns.Moving)
	switch {
	case failed(c, s.Tally) && moving == 0:
		c.Why = fmt.Sprintf("%d of %d images of wave %s failed", s.Of(c.Wave, campaigns.Failed), worked(c, s.Tally), c.Waves[c.Wave])
		if c.Spec.OnFailure == v1alpha1.FailureRollback {
			c.Stage, c.Due = campaigns.Reverting, time.Time{}
			return
		}
		end(c, s.now, v1alpha1.PatchHalted)
	case failed(c, s.Tally):
		// What is under way ends.
	case moving+s.Of(c.Wave, campaigns.Planned) == 0:
		c.Stage, c.Due, c.Why = campaigns.Soaking, s.now.Add(soak(c)), ""
		if s.Of(-1, campaigns.Planned) == 0 { // nobody waits for it to soak
			c.Wave, c.Stage = len(c.Waves)-1, campaigns.Unstarted
		}
	case stopped(c, s):
	default:
		c.Phase, c.Due, c.Why = v1alpha1.PatchRunning, time.Time{}, ""
	}
}

func nextWave(c *campaigns.Campaign) {
	c.Wave, c.Stage, c.Due, c.Why = min(c.Wave+1, len(c.Waves)-1), campaigns.Unstarted, time.Time{}, ""
}

func end(c *campaigns.Campaign, now time.Time, phase v1alpha1.PatchPhase) {
	c.Phase, c.Ended, c.Due = phase, now, time.Time{}
}

// soak gives how long to wait after the wave.
func soak(c *campaigns.Campaign) time.Duration {
	for _, w := range c.Spec.Waves {
		if w.Name == c.Waves[c.Wave] && w.Soak != nil {
			return w.Soak.Duration
		}
	}
	return 0
}

// worked gives how many images of the wave something is done with.
func worked(c *campaigns.Campaign, t campaigns.Tally) int64 {
	return t.Of(c.Wave, campaigns.Planned, campaigns.Moving, campaigns.Done, campaigns.Failed, campaigns.Returning, campaigns.RolledBack)
}

// failed says whether more images of the wave failed than may.
func failed(c *campaigns.Campaign, t campaigns.Tally) bool {
	if c.Spec.OnFailure == v1alpha1.FailureContinue {
		return false
	}
	most := 0
	if c.Spec.MaxFailures != nil {
		most, _ = intstr.GetScaledValueFromIntOrPercent(c.Spec.MaxFailures, int(worked(c, t)), false) // checked before
	}
	return t.Of(c.Wave, campaigns.Failed) > int64(most)
}

// mayClaim says whether items of the wave may be begun.
func mayClaim(c *campaigns.Campaign, t campaigns.Tally) bool {
	return c.Ended.IsZero() && c.Stage == campaigns.Started && !c.Paused && !failed(c, t)
}

// Bounds of the work at one campaign in all processes together.
const (
	mostSlots = 8
	someSlots = 4
)

// wanted gives how many more workers could begin something now.
func wanted(c *campaigns.Campaign, s situation) int {
	switch {
	case !c.Ended.IsZero():
	case c.Stage == campaigns.Reverting:
		return int(min(s.Of(c.Wave, campaigns.Done), mostSlots))
	case mayClaim(c, s.Tally) && len(s.frozen) == 0:
		return int(min(s.Ready, mostSlots))
	}
	return 0
}

// slotsOf gives how many workers there may be at a campaign.
func slotsOf(c *campaigns.Campaign) int {
	if c.Spec.Parallel > 0 {
		return min(int(c.Spec.Parallel), mostSlots)
	}
	return someSlots
}

// together gives how many items of a remedy one worker begins at once.
func (e *Engine) together(c *campaigns.Campaign, remedy artifact.Remedy) int {
	n := e.o.Builds
	if remedy == artifact.RemedyRebase {
		n = e.o.Rebases
	}
	if c.Spec.Parallel > 0 {
		n = min(n, max(1, int(c.Spec.Parallel)/slotsOf(c)))
	}
	return n
}
