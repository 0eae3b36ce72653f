package update

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"plimsoll.dev/plimsoll/api/v1alpha1"
	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/inventory/campaigns"
)

// Change is something that may have made images stale.
type Change struct {
	Kind ChangeKind
	Name string // of what changed: a tag, a feed, a policy
}

// ChangeKind says what sort of thing changed.
type ChangeKind string

// The kinds of changes.
const (
	BasePublished   ChangeKind = "base published"
	BuilderChanged  ChangeKind = "builder changed"
	FeedSynced      ChangeKind = "feed synced"
	PolicyChanged   ChangeKind = "policy changed"
	OverrideChanged ChangeKind = "override changed"
	ImageChanged    ChangeKind = "image changed"
)

// bears says whether a change can make something stale that the target means. named gives the name by
// which the inventory knows a base.
func (c Change) bears(t v1alpha1.PatchTarget, named func(string) string) bool {
	weak := t.All || t.Exploited || len(t.Advisories) > 0 || len(t.Severities) > 0
	switch c.Kind {
	case BasePublished:
		changed := repositoryOf(named(c.Name))
		return weak || slices.ContainsFunc(t.Bases, func(base string) bool { return repositoryOf(named(base)) == changed })
	case BuilderChanged, FeedSynced, OverrideChanged:
		return weak
	}
	return true // a policy, or an image that is new
}

// Changed tells of a change. The automatic patches that it bears on are planned a little
// later, once for all changes until then.
func (e *Engine) Changed(ctx context.Context, change Change) error {
	patches, err := e.store.Patches(ctx)
	for _, p := range patches {
		if p.Spec.Automatic && !p.Spec.Paused && change.bears(p.Spec.Target, e.o.Plan.named) {
			err = errors.Join(err, e.tell(ctx, p.Name, fmt.Sprintf("%s: %s", change.Kind, change.Name), e.o.Settle))
		}
	}
	return err
}

func (e *Engine) tell(ctx context.Context, name, told string, in time.Duration) error {
	err := e.store.Tell(ctx, name, told, e.o.Now().Add(in))
	e.wake()
	return err
}

// planning is how long one process has to plan what is due, before another does.
const planning = 5 * time.Minute

// planDue plans the automatic patches for which something changed. A plan without anything to
// do, or with what was tried before with the same inputs alone, begins nothing: so neither a
// tag that moves again and again nor an image that cannot be remedied makes a loop.
func (e *Engine) planDue(ctx context.Context) error {
	for {
		p, due, err := e.store.TakeDue(ctx, e.o.Now().Add(planning))
		if err != nil || !due {
			return err
		}
		again, err := e.planOne(ctx, p)
		if err != nil {
			return err // it is due again
		}
		if again {
			if err := e.store.Tell(ctx, p.Name, p.Told, p.Due); err != nil {
				return err
			}
		}
		if err := e.store.Planned(ctx, p, e.o.Now().Add(max(e.o.Settle, time.Second))); err != nil {
			return err
		}
	}
}

// planOne plans an automatic patch. again says that it must be planned once more, when the
// campaign that is under way has ended.
func (e *Engine) planOne(ctx context.Context, p campaigns.Patch) (again bool, err error) {
	tried, err := e.store.Attempts(ctx, p.Name)
	if err != nil {
		return false, err
	}
	plan, err := e.plan(ctx, p.Spec, tried)
	if err != nil {
		return false, err
	}
	if plan.Radius.Images == plan.Radius.Remedies[artifact.RemedyNone] {
		return false, nil
	}
	c, created, err := e.begin(ctx, p.Name, p.Spec, plan, p.Told)
	if err != nil {
		return false, err
	}
	if created {
		e.o.Log.Info("campaign planned", "patch", p.Name, "run", c.Run, "why", p.Told, "images", plan.Radius.Images)
	}
	return !created && c.Plan != plan.Digest, nil
}
