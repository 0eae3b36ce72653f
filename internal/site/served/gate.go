package served

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	godigest "github.com/opencontainers/go-digest"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/policy/verdicts"
	"plimsoll.dev/plimsoll/internal/registry"
	"plimsoll.dev/plimsoll/internal/registry/metrics"
	"plimsoll.dev/plimsoll/internal/site/judge"
)

// gate lets the registry ask for verdicts. It implements registry.Gate. Without a keeper there
// are no policies, and it lets all through, unless it is shut.
type gate struct {
	keeper  atomic.Pointer[verdicts.Keeper]
	shut    atomic.Pointer[error]           // why nothing is let through though nobody decides
	figures atomic.Pointer[metrics.Metrics] // counts what it says; nil counts nothing
}

// errLost says that a home has no policies any more: the registry must not open for it.
var errLost = errors.New("this registry had policies and cannot find them")

// shutFor lets nothing through while there is no keeper, for the reason; nil opens it.
func (g *gate) shutFor(why error) {
	if why == nil {
		g.shut.Store(nil)
		return
	}
	g.shut.Store(&why)
}

// whyShut gives why nothing is let through; nil where something is.
func (g *gate) whyShut() error {
	if why := g.shut.Load(); why != nil && g.keeper.Load() == nil {
		return *why
	}
	return nil
}

// Known gives what stands now.
func (g *gate) Known(repository string, manifest godigest.Digest) (registry.Judgement, bool) {
	keeper := g.keeper.Load()
	if keeper == nil {
		j, err := g.unjudged()
		return j, err == nil
	}
	since := time.Now()
	v, ok := keeper.Standing(verdicts.Image{Repository: repository, Digest: manifest.String()})
	if !ok {
		return registry.Judgement{}, false
	}
	return g.counted(judgement(v), since), true
}

// Judge gives what stands, and waits for it where that is nothing yet.
func (g *gate) Judge(ctx context.Context, repository string, manifest godigest.Digest) (registry.Judgement, error) {
	keeper := g.keeper.Load()
	if keeper == nil {
		return g.unjudged()
	}
	since := time.Now()
	v, err := keeper.Verdict(ctx, verdicts.Image{Repository: repository, Digest: manifest.String()})
	if err != nil {
		g.counted(registry.Judgement{Action: "error"}, since)
		return registry.Judgement{}, err
	}
	return g.counted(judgement(v), since), nil
}

// unjudged is what it says where nobody decides.
func (g *gate) unjudged() (registry.Judgement, error) {
	switch err := g.whyShut(); {
	case err == nil:
		return registry.Judgement{Action: artifact.ActionAllow}, nil
	case errors.Is(err, errLost):
		return registry.Judgement{Action: artifact.ActionDeny, Why: errLost.Error(), Remedy: "tell whoever runs the registry"}, nil
	default:
		return registry.Judgement{}, err
	}
}

// counted counts what it gives.
func (g *gate) counted(j registry.Judgement, since time.Time) registry.Judgement {
	if figures := g.figures.Load(); figures != nil {
		figures.Judged(string(j.Action), time.Since(since))
	}
	return j
}

// judgement is what a verdict comes to at the registry's gate.
func judgement(v artifact.Verdict) registry.Judgement {
	const here = artifact.GateRegistry
	j := registry.Judgement{Action: v.At(here)}
	if j.Action.Rank() < artifact.ActionWarn.Rank() {
		return j
	}
	j.Why, j.Remedy = judge.Reasons(v, here)
	for _, r := range v.Results {
		if !r.Passed && r.Excused == "" && r.Gates[here].Rank() >= artifact.ActionWarn.Rank() {
			j.Rules = append(j.Rules, r.Policy+"/"+r.Rule)
		}
	}
	return j
}
