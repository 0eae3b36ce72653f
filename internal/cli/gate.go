package cli

import (
	"context"
	"sync/atomic"

	godigest "github.com/opencontainers/go-digest"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/policy/verdicts"
	"plimsoll.dev/plimsoll/internal/registry"
)

// gate lets the registry ask for verdicts. It implements registry.Gate. Without a keeper there
// are no policies, and it lets all through.
type gate struct {
	keeper atomic.Pointer[verdicts.Keeper]
}

// Known gives what stands now.
func (g *gate) Known(repository string, manifest godigest.Digest) (registry.Judgement, bool) {
	keeper := g.keeper.Load()
	if keeper == nil {
		return registry.Judgement{Action: artifact.ActionAllow}, true
	}
	v, ok := keeper.Standing(verdicts.Image{Repository: repository, Digest: manifest.String()})
	if !ok {
		return registry.Judgement{}, false
	}
	return judgement(v), true
}

// Judge gives what stands, and waits for it where that is nothing yet.
func (g *gate) Judge(ctx context.Context, repository string, manifest godigest.Digest) (registry.Judgement, error) {
	keeper := g.keeper.Load()
	if keeper == nil {
		return registry.Judgement{Action: artifact.ActionAllow}, nil
	}
	v, err := keeper.Verdict(ctx, verdicts.Image{Repository: repository, Digest: manifest.String()})
	if err != nil {
		return registry.Judgement{}, err
	}
	return judgement(v), nil
}

// judgement is what a verdict comes to at the registry's gate.
func judgement(v artifact.Verdict) registry.Judgement {
	const here = artifact.GateRegistry
	j := registry.Judgement{Action: v.At(here)}
	if j.Action.Rank() < artifact.ActionWarn.Rank() {
		return j
	}
	j.Why, j.Remedy = reasons(v, here)
	for _, r := range v.Results {
		if !r.Passed && r.Excused == "" && r.Gates[here].Rank() >= artifact.ActionWarn.Rank() {
			j.Rules = append(j.Rules, r.Policy+"/"+r.Rule)
		}
	}
	return j
}
