package update

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"

	"k8s.io/apimachinery/pkg/util/intstr"

	"plimsoll.dev/plimsoll/api/v1alpha1"
	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/inventory/campaigns"
)

// Plan finds what a campaign of the spec would do. Nothing is kept of it.
func (e *Engine) Plan(ctx context.Context, spec v1alpha1.PatchSpec) (*Plan, error) {
	if err := e.check(spec); err != nil {
		return nil, err
	}
	return e.plan(ctx, spec, nil)
}

func (e *Engine) plan(ctx context.Context, spec v1alpha1.PatchSpec, tried map[[16]byte]bool) (*Plan, error) {
	o := e.o.Plan
	o.Tried = tried
	if e.o.Inputs != nil {
		var err error
		if o.Inputs, err = e.o.Inputs(ctx); err != nil {
			return nil, err
		}
	}
	return NewPlan(ctx, e.inv, spec, o)
}

// maxTests bounds the tests of a campaign.
const maxTests = 100

// check refuses a spec that cannot be worked off.
func (e *Engine) check(spec v1alpha1.PatchSpec) error {
	if _, err := newPlanner(spec, PlanOptions{}); err != nil {
		return err
	}
	if _, err := newWindows(spec.Windows); err != nil {
		return err
	}
	bad := func(which, why string) *fault.Error { return fault.Newf(fault.Usage, "plan a patch", which, why) }
	if spec.MaxFailures != nil {
		if n, err := intstr.GetScaledValueFromIntOrPercent(spec.MaxFailures, 100, false); err != nil || n < 0 {
			return bad("maxFailures", "want a number or a percentage, got "+spec.MaxFailures.String())
		}
	}
	switch spec.OnFailure {
	case "", v1alpha1.FailureHalt, v1alpha1.FailureRollback, v1alpha1.FailureContinue:
	default:
		return bad("onFailure", fmt.Sprintf("want Halt, Rollback or Continue, got %q", spec.OnFailure))
	}
	if len(spec.Tests) > maxTests {
		return bad("tests", fmt.Sprintf("want at most %d", maxTests))
	}
	for _, test := range spec.Tests {
		if (len(test.Command) > 0) == (test.HTTP != nil) {
			return bad("test "+test.Name, "want one of command and http")
		}
		if _, err := newSelector(test.Images, nil, nil); err != nil {
			return fault.New(fault.Usage, "plan a patch", "test "+test.Name, err)
		}
	}
	if len(spec.Tests) > 0 && e.o.Remedier != nil && e.o.Tester == nil {
		return bad("tests", "nothing here can run tests").WithHint("install bubblewrap (Debian: apt-get install bubblewrap)")
	}
	return nil
}

// Apply begins a campaign: it keeps the patch and its plan, and whoever runs an engine on the
// database works it off. The same plan again is the campaign that is there; one that has not
// started is replaced.
func (e *Engine) Apply(ctx context.Context, name string, spec v1alpha1.PatchSpec) (campaigns.Campaign, error) {
	plan, err := e.Plan(ctx, spec)
	if err != nil {
		return campaigns.Campaign{}, err
	}
	return e.ApplyPlan(ctx, name, spec, plan)
}

// ApplyPlan is Apply of a plan that somebody has looked at.
func (e *Engine) ApplyPlan(ctx context.Context, name string, spec v1alpha1.PatchSpec, plan *Plan) (campaigns.Campaign, error) {
	if name == "" || len(name) > 253 {
		return campaigns.Campaign{}, fault.Newf(fault.Usage, "apply the patch", name, "it needs a name of up to 253 characters")
	}
	if err := e.store.Declare(ctx, name, spec); err != nil {
		return campaigns.Campaign{}, err
	}
	c, created, err := e.begin(ctx, name, spec, plan, "")
	if err == nil && !created && c.Plan != plan.Digest {
		err = fault.Newf(fault.Failed, "apply the patch", name, fmt.Sprintf("its run %d is under way", c.Run)).
			WithHint("`plimsoll patch status " + name + "` shows it; give this one another name, or wait")
	}
	return c, err
}

func (e *Engine) begin(ctx context.Context, name string, spec v1alpha1.PatchSpec, plan *Plan, told string) (campaigns.Campaign, bool, error) {
	radius, err := json.Marshal(plan.Radius)
	if err != nil {
		return campaigns.Campaign{}, false, err
	}
	c, created, err := e.store.Create(ctx, campaigns.Campaign{
		Patch: name, Spec: spec, Told: told, Plan: plan.Digest, Radius: radius, Waves: plan.Waves(), Paused: spec.Paused,
	}, plan.Items)
	e.wake()
	return c, created, err
}

// Ensure makes what is kept of a patch what its spec says: what a reconciler calls. It begins
// the campaign of a patch that is new, or that means other images than before; other settings
// hold for the campaign that is under way. An automatic patch is planned when something
// changes, and now.
func (e *Engine) Ensure(ctx context.Context, name string, spec v1alpha1.PatchSpec) error {
	if err := e.check(spec); err != nil {
		return err
	}
	runs, err := e.store.Runs(ctx, name)
	if err != nil {
		return err
	}
	if err := e.store.Declare(ctx, name, spec); err != nil {
		return err
	}
	if len(runs) > 0 && means(runs[0].Spec) == means(spec) {
		return e.adjust(ctx, runs[0], spec)
	}
	if len(runs) > 0 && runs[0].Ended.IsZero() && !runs[0].Started.IsZero() {
		return fault.Newf(fault.Unavailable, "apply the patch", name, fmt.Sprintf("its run %d is under way, and it means other images now", runs[0].Run)).
			WithHint("the new run begins when that one has ended")
	}
	if spec.Automatic {
		return e.tell(ctx, name, "the patch was declared", 0)
	}
	_, err = e.Apply(ctx, name, spec)
	return err
}

// means gives a text of what decides which images are meant, and in which waves.
func means(spec v1alpha1.PatchSpec) string {
	text, _ := json.Marshal([]any{spec.Target, spec.Scope, spec.Waves, spec.Automatic}) // it is plain data
	return string(text)
}

// adjust gives a campaign that goes on the settings that can change meanwhile.
func (e *Engine) adjust(ctx context.Context, c campaigns.Campaign, spec v1alpha1.PatchSpec) error {
	if !c.Ended.IsZero() || reflect.DeepEqual(c.Spec, spec) && c.Paused == spec.Paused {
		return nil
	}
	_, err := e.store.Update(ctx, c.ID, func(c *campaigns.Campaign, _ campaigns.Tally) error {
		c.Spec, c.Paused = spec, spec.Paused
		return nil
	})
	e.wake()
	return err
}

// Pause begins nothing more of a campaign; what is under way ends. Resume goes on.
func (e *Engine) Pause(ctx context.Context, name string) error  { return e.pause(ctx, name, true) }
func (e *Engine) Resume(ctx context.Context, name string) error { return e.pause(ctx, name, false) }

func (e *Engine) pause(ctx context.Context, name string, paused bool) error {
	c, err := e.store.Latest(ctx, name)
	if err != nil {
		return err
	}
	if !c.Ended.IsZero() {
		return fault.Newf(fault.Failed, "pause or resume the patch", name, "it has ended: "+string(c.Phase))
	}
	_, err = e.store.Update(ctx, c.ID, func(c *campaigns.Campaign, _ campaigns.Tally) error {
		c.Paused = paused
		return nil
	})
	e.wake()
	return err
}

// Remove forgets a patch and its campaigns, once nothing of them is under way: until then it
// is paused, and the error is of kind Unavailable.
func (e *Engine) Remove(ctx context.Context, name string) error {
	runs, err := e.store.Runs(ctx, name)
	if err != nil {
		return err
	}
	for _, c := range runs {
		if !c.Ended.IsZero() {
			break
		}
		if err := e.pause(ctx, name, true); err != nil {
			return err
		}
		if err := e.store.Reclaim(ctx, c.ID); err != nil {
			return err
		}
		t, err := e.store.Tally(ctx, c)
		if err != nil {
			return err
		}
		if n := t.Of(-1, campaigns.Moving, campaigns.Returning); n > 0 {
			return fault.Newf(fault.Unavailable, "remove the patch", name, fmt.Sprintf("%d images are worked on", n)).WithHint("it is paused; try again when they are done")
		}
	}
	return e.store.Remove(ctx, name)
}
